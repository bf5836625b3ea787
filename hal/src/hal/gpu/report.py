"""What a failed launch says: errors that all ranks raise alike, from what each rank left in its control block."""

from __future__ import annotations

import time
from typing import Any

from hal.device import group as shared
from hal.gpu.lane import Failed, Lane
from hal.interface.errors import HalError, PeerFailure, StallTimeout, UsageError
from hal.plan.model import Plan
from hal.runtime import stall
from hal.runtime.disagreement import disagreement as disagreeing
from hal.runtime.stall import Failure

_PATIENCE = 0.5


def disagreement(lane: Lane, launch: int) -> UsageError:
    """The error for ranks that call different things."""
    calls = shared.calls(lane.control(), lane.size, launch)
    return disagreeing(calls, lane.ranks, lane.ranks[lane.rank])


def failure(lane: Lane, failed: Failed, plan: Plan | None, operation: str) -> HalError:
    """The error for a lane that has failed, by itself or with its parent, and where each rank stood."""
    ranks = lane.parent.ranks if failed.outer and lane.parent is not None else lane.ranks
    who: dict[str, Any] = {"rank": lane.ranks[lane.rank], "operation": operation}
    about = ranks[failed.member]
    if failed.kind == Failure.ABORTED:
        return PeerFailure(f"the communicator was aborted by rank {about}", peer=about, **who)
    report = "\n  ".join(_stands(lane, plan, failed.launch))
    if failed.kind == Failure.PEER_DIED:
        return PeerFailure(f"rank {about} has died or left the group\n  {report}", peer=about, **who)
    return StallTimeout(f"a deadline passed on rank {about} while it waited for others\n  {report}", **who)


def _stands(lane: Lane, plan: Plan | None, launch: int) -> list[str]:
    entered = shared.calls(lane.control(), lane.size, launch)
    end = time.monotonic() + _PATIENCE
    lines = []
    for member in range(lane.size):
        name = f"rank {lane.ranks[member]}"
        if not lane.alive(member):
            lines.append(f"{name}: its process has ended")
            continue
        entries = shared.report(lane.control(member), lane.size, launch)
        while not entries and entered[member] is not None and time.monotonic() < end:
            time.sleep(0.005)
            entries = shared.report(lane.control(member), lane.size, launch)
        if entries:
            lines += stall.lines(plan, member, lane.ranks, entries)
        elif entered[member] is None:
            lines.append(f"{name}: has not entered this call")
        else:
            lines.append(f"{name}: has left this call, or does not answer")
    return lines
