"""Plain memory that other processes read: the kernel copies from one process to the other (`process_vm_readv`).

Shared memory takes a copy in and a copy out; this takes one, and costs a call into the kernel and a look at the pages.
Ranks that are threads of one process just read. A plan made for mapped buffers serves where it writes to no buffer of
another rank.
"""

from __future__ import annotations

from collections.abc import Sequence

from hal.interface.dtypes import DType
from hal.interface.executor import Call, Membership
from hal.plan.collective import Collective
from hal.plan.lower import uses_switches, walk
from hal.plan.memo import once_per_plan
from hal.plan.model import BufferKind, Move, Plan, Post
from hal_host import _native
from hal_host.segment import Handle


def agree(membership: Membership, handles: Sequence[Handle], least: int) -> int | None:
    """From how many bytes on plain memory is read: the most that a member has set (`least`), and None where one has
    set 0 or the kernel does not let it. Collective."""
    able = all(_native.readable(each.pid, each.base + each.offset) for each in handles)
    said = membership.exchange(str(least if able else 0).encode())
    sizes = [int(size) for size in said]
    return max(sizes) if all(sizes) else None


def serves(call: Call, mapped: Plan, least: int | None) -> bool:
    """Whether plain memory is read in such a call, by the plan for mapped buffers.

    A message goes through scratch: there the sender copies one piece in while the receiver copies another out.
    """
    if call.collective is Collective.SEND_RECV:
        return False
    return least is not None and call.count * DType(call.dtype).itemsize >= least and not _writes_others(mapped)


@once_per_plan
def _writes_others(plan: Plan) -> bool:
    instructions = [i for rank in plan.ranks for block in rank.blocks for i in walk(block)]
    return (
        uses_switches(plan)
        or any(isinstance(i, Post) for i in instructions)
        or any(
            span.peer is not None and span.buffer is not BufferKind.SCRATCH
            for i in instructions
            if isinstance(i, Move)
            for span in i.dst
        )
    )
