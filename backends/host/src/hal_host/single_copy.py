"""Plain memory that other processes reach: the kernel copies from one to the other (`process_vm_readv`, `_writev`).

Shared memory takes a copy in and a copy out; this takes one, and costs a call into the kernel and a look at the pages.
Ranks that are threads of one process reach each other's anyway. The plan is that for mapped buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

from hal.interface.dtypes import DType
from hal.interface.executor import Call, Membership
from hal.plan.collective import Collective
from hal.plan.lower import uses_switches, walk
from hal.plan.memo import once_per_plan
from hal.plan.model import BufferKind, Move, Plan, Post, Span
from hal_host import _native
from hal_host.segment import Handle

FROM = {
    Collective.BROADCAST: 1,
    Collective.GATHER: 2,
    Collective.SCATTER: 2,
    Collective.ALL_TO_ALL: 1,
    Collective.ALL_GATHER: 4,
    Collective.SEND_RECV: 16,
}
"""From how many times `least` on it is faster, of what a rank gives to another."""


def agree(membership: Membership, handles: Sequence[Handle], least: int) -> int | None:
    """From how many bytes on plain memory is reached: the most that a member has set (`least`), and None where one has
    set 0 or the kernel does not let it. Collective."""
    able = all(_native.readable(each.pid, each.base + each.offset) for each in handles)
    said = membership.exchange(str(least if able else 0).encode())
    sizes = [int(size) for size in said]
    return max(sizes) if all(sizes) else None


def serves(call: Call, mapped: Plan, least: int | None) -> bool:
    """Whether plain memory is reached in such a call, by the plan for mapped buffers."""
    times = FROM.get(Collective(call.collective))
    if least is None or times is None:
        return False
    return call.count * DType(call.dtype).itemsize >= times * least and _copies(mapped)


@once_per_plan
def _copies(plan: Plan) -> bool:
    """Whether every instruction that reaches buffers of other ranks is a copy, from them or to them."""
    instructions = [i for rank in plan.ranks for block in rank.blocks for i in walk(block)]
    reaching = [i for i in instructions if isinstance(i, Move) and any(map(_is_foreign, (*i.src, *i.dst)))]
    posts = any(isinstance(i, Post) for i in instructions)
    both = any(all(any(map(_is_foreign, spans)) for spans in (move.src, move.dst)) for move in reaching)
    return not (posts or both or uses_switches(plan)) and all(len(move.src) == 1 for move in reaching)


def _is_foreign(span: Span) -> bool:
    return span.peer is not None and span.buffer is not BufferKind.SCRATCH
