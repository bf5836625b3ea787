"""What a failed launch says: the errors that all ranks raise alike, built from what each rank left in shared memory."""

from __future__ import annotations

from typing import Any

from hal.interface.errors import HalError, PeerFailure, StallTimeout, UsageError
from hal.plan.model import Plan
from hal.runtime import stall
from hal.runtime.disagreement import disagreement as disagreeing
from hal.runtime.stall import Entry, Failure, Waiting
from hal_host import _native

__all__ = ["Failure", "disagreement", "failure"]


def disagreement(lane: _native.Lane, ranks: tuple[int, ...]) -> UsageError:
    """The error for ranks that call different things."""
    return disagreeing(lane.calls(lane.launch), ranks, ranks[lane.rank])


def failure(
    lane: _native.Lane,
    plan: Plan | None,
    ranks: tuple[int, ...],
    operation: str,
    parent: tuple[_native.Lane, tuple[int, ...]] | None = None,
) -> HalError:
    """The error for a lane that has failed, by itself or with its parent, and where each rank stood."""
    kind, member, launch = lane.failure()
    failed = ranks
    if kind == Failure.NONE and parent is not None:
        (kind, member, _), failed, launch = parent[0].failure(), parent[1], lane.launch
    who: dict[str, Any] = {"rank": ranks[lane.rank], "operation": operation}
    if kind == Failure.ABORTED:
        return PeerFailure(f"the communicator was aborted by rank {failed[member]}", peer=failed[member], **who)
    if kind == Failure.MISMATCH:
        calls = lane.calls(launch)
        what = "ranks disagreed on a message between two of them"
        if len({call for call in calls if call is not None}) > 1:  # else it was on a pair's lane
            what = disagreeing(calls, ranks, who["rank"]).message
        late = f"rank {failed[member]} had gone on when it found out: this communicator can be used no more"
        return UsageError(f"{what}\n  {late}", **who)
    report = "\n  ".join(_stands(lane, plan, ranks, launch))
    if kind == Failure.UNREACHABLE:
        what = f"the kernel cannot copy between the memory of rank {failed[member]} and another's (host.single_copy)"
        return PeerFailure(what, peer=failed[member], **who)
    if kind == Failure.PEER_DIED:
        what = f"rank {failed[member]} has died or left the group\n  {report}"
        return PeerFailure(what, peer=failed[member], **who)
    what = f"a deadline passed on rank {failed[member]} while it waited for others\n  {report}"
    return StallTimeout(what, **who)


def _stands(lane: _native.Lane, plan: Plan | None, ranks: tuple[int, ...], launch: int) -> list[str]:
    lines = []
    for member, (state, entries) in enumerate(lane.reports(launch)):
        name = f"rank {ranks[member]}"
        match state:
            case "dead":
                lines.append(f"{name}: its process has ended")
            case "lost":
                lines.append(f"{name}: the connection to it has failed, or was closed there")
            case "absent":
                lines.append(f"{name}: has not entered this call")
            case "silent":
                lines.append(f"{name}: has left this call, or does not answer")
            case _ if not entries:
                lines.append(f"{name}: waits for all ranks to arrive")
            case _:
                left = [Entry(Waiting(waiting), *rest) for waiting, *rest in entries]
                lines += stall.lines(plan, member, ranks, left)
    return lines
