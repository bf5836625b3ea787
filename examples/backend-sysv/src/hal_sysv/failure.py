"""What a call that has failed raises: the same on all ranks, in the words of `hal.runtime.stall`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from hal.device import group
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import PeerFailure, StallTimeout, UsageError, WorldError
from hal.interface.executor import Call
from hal.plan.collective import Collective
from hal.plan.model import Plan
from hal.runtime import stall
from hal.runtime.stall import Failure
from hal_sysv.shared import Part, Shared

REPORT_TIME = 0.3
"""Seconds that the others have for saying where they stand."""


@dataclass(frozen=True)
class Seat:
    """A rank's place in an executor, and how it reads the memory of the others."""

    shared: Shared
    members: Sequence[int]
    """Its members, by their ranks in the group."""
    parts: Sequence[Part]
    rank: int

    @property
    def world(self) -> list[int]:
        """The members by their ranks in the job."""
        return [self.shared.world[member] for member in self.members]

    def control(self, member: int) -> bytes:
        """The control block of a member, as it is now."""
        nbytes = group.control_bytes(len(self.members))
        return bytes(self.shared.segments[self.members[member]].view(self.parts[member].control, nbytes))

    def launches(self, member: int) -> int:
        """How many launches a member has ended; known also of one that is dead."""
        return self.shared.segments[self.members[member]].word(self.parts[member].local).value

    def left(self, member: int) -> bool:
        """Whether a member has closed its executor."""
        return bool(self.shared.segments[self.members[member]].word(self.parts[member].left).value)

    def missing(self, launch: int) -> int | None:
        """A member that is dead or has left without having done its part of a launch."""
        for member, rank in enumerate(self.members):
            gone = self.left(member) or not self.shared.lives(rank)
            if gone and member != self.rank and self.launches(member) < launch:
                return member
        return None


def error_of(seat: Seat, cause: tuple[Failure, int], call: Call, plan: Plan, launch: int) -> WorldError:
    """The error of a group that has failed. `cause` names a rank of the group."""
    failure, rank = cause
    shared, name = seat.shared, Collective(call.collective).label
    about = shared.world[rank]
    if failure is Failure.STALL:
        lines = "".join(f"\n  {line}" for line in _report(seat, plan, launch))
        return StallTimeout(
            f"a deadline passed on rank {about} while it waited for others{lines}", rank=shared.own, operation=name
        )
    if failure is Failure.ABORTED:
        what = f"rank {about} has aborted the group"
    else:
        what = f"rank {about} {'has left the group' if shared.lives(rank) else 'has died: its process has ended'}"
    return PeerFailure(what, rank=shared.own, peer=about, operation=name)


def _report(seat: Seat, plan: Plan, launch: int) -> list[str]:
    everybody = range(len(seat.members))
    entered = [call is not None for call in group.calls(seat.control(seat.rank), len(seat.members), launch)]
    wanted = {member for member in everybody if entered[member]}
    end = time.monotonic() + REPORT_TIME
    while True:
        found = {member: group.report(seat.control(member), len(seat.members), launch) for member in wanted}
        if all(found.values()) or time.monotonic() >= end:
            break
        time.sleep(0.005)
    lines = []
    for member, rank in zip(everybody, seat.world, strict=True):
        if not seat.shared.lives(seat.members[member]):
            lines.append(f"rank {rank}: its process has ended")
        elif not entered[member]:
            lines.append(f"rank {rank}: has not entered this call")
        elif found[member]:
            lines += stall.lines(plan, member, seat.world, found[member])
        else:
            lines.append(f"rank {rank}: has left this call, or does not answer")
    return lines


def disagreement(seat: Seat, call: Call, launch: int) -> UsageError:
    """The error of ranks that call different things."""
    said: dict[str, list[int]] = {}
    for member, key in enumerate(group.calls(seat.control(seat.rank), len(seat.members), launch)):
        said.setdefault(_text(key), []).append(seat.world[member])
    lines = "".join(
        f"\n  rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}: {text}" for text, ranks in said.items()
    )
    name = Collective(call.collective).label
    return UsageError(f"ranks disagree on what they call{lines}", rank=seat.shared.own, operation=name)


def _text(key: tuple[int, int, int, int, int, int] | None) -> str:
    if key is None:
        return "has not entered this call"
    collective, dtype, op, root, count, plan = key
    rooted = f", root {root}" if root >= 0 else ""
    reduced = f", op {ReduceOp(op).label}" if Collective(collective).reduces else ""
    name = Collective(collective).label
    return f"{name}({count} elements of {DType(dtype).label}{reduced}{rooted}), plan {plan:016x}"
