"""Mutants: plans that differ from a given one in one place.

`mutants(plan)` knows them all by kind, and builds them one at a time, so that a sample of a large campaign is cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hal.interface.dtypes import ReduceOp
from hal.plan.ends import other_ends
from hal.plan.model import (
    Acquire,
    Barrier,
    BufferKind,
    Flush,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    Release,
    Signal,
    Span,
    Sync,
    Wait,
)
from hal.plan.text import describe, path_text

Path = tuple[int, ...]
Body = tuple[Instruction, ...]
Site = tuple[int, int, Path]
"""Rank, block, and the path of an instruction there."""

ORDERING = (Signal, Wait, Sync, Acquire, Release, Flush, Barrier)
"""What orders: each is removed and moved."""


@dataclass(frozen=True)
class Mutant:
    """A change that was not made yet. Two of the same plan and key are the same."""

    kind: str
    text: str
    make: Callable[[], Plan]
    sites: tuple[Site, ...] = ()
    """The instructions that it changes, by their places in the original."""


def mutants(plan: Plan) -> Iterator[Mutant]:
    """Every mutant of a plan, in a fixed order."""
    for rank, part in enumerate(plan.ranks):
        for number, block in enumerate(part.blocks):
            yield from _of_body(plan, rank, number, block, ())
            for index, instruction in enumerate(block):
                if isinstance(instruction, Loop):
                    yield from _of_body(plan, rank, number, instruction.body, (index,))
    yield from _pairs(plan)
    yield from _semaphores(plan)


def _of_body(plan: Plan, rank: int, block: int, body: Body, outer: Path) -> Iterator[Mutant]:
    def at(index: int) -> Site:
        return rank, block, (*outer, index)

    def named(index: int) -> str:
        text = describe(body[index], plan.ranks[rank].channels)
        return f"rank {rank}, block {block}, instruction {path_text((*outer, index))} ({text})"

    def mutant(kind: str, text: str, new: Callable[[], Body], *places: int) -> Mutant:
        return Mutant(kind, text, lambda: _with_body(plan, rank, block, outer, new()), tuple(map(at, places)))

    for i, each in enumerate(body):
        name = _name(each)
        if not (isinstance(each, Loop) or (outer and len(body) == 1)):
            yield mutant(f"remove {name}", f"{named(i)} removed", lambda i=i: _without(body, i), i)
        if isinstance(each, ORDERING):
            for to in sorted({0, i - 3, i - 2, i + 2, i + 3, len(body) - 1} - {i - 1, i, i + 1}):
                if 0 <= to < len(body):
                    yield mutant(f"move {name}", f"{named(i)} moved to {to}", lambda i=i, to=to: _moved(body, i, to), i)
            if outer:
                for end in (0, 1):
                    yield Mutant(
                        f"move {name}",
                        f"{named(i)} moved {'behind' if end else 'before'} its loop",
                        lambda i=i, end=end: _out_of_loop(plan, rank, block, outer, i, end),
                        (at(i),),
                    )
        if i + 1 < len(body) and each != body[i + 1]:
            yield mutant(
                "swap neighbours", f"{named(i)} and the next swapped", lambda i=i: _moved(body, i, i + 1), i, i + 1
            )
        for kind, text, changed in _changes(plan, rank, each):
            yield mutant(kind, f"{named(i)}: {text}", lambda i=i, new=changed: (*body[:i], new, *body[i + 1 :]), i)


def _changes(plan: Plan, rank: int, each: Instruction) -> Iterator[tuple[str, str, Instruction]]:
    """Changes of fields of one instruction."""
    match each:
        case Move():
            for field in ("dst", "src"):
                spans = getattr(each, field)
                for k, span in enumerate(spans):
                    for kind, text, new in _span_changes(plan, rank, span):
                        changed: Any = {field: (*spans[:k], new, *spans[k + 1 :])}
                        yield kind, f"{field}[{k}] {text}", replace(each, **changed)
                    if len(spans) > 1:
                        less: Any = {field: (*spans[:k], *spans[k + 1 :])}
                        yield "drop operand", f"without {field}[{k}]", replace(each, **less)
            for op in (None, ReduceOp.MAX, ReduceOp.SUM):
                if op is not each.op:
                    yield "change op", f"op {op.label if op is not None else 'of the call'}", replace(each, op=op)
            yield "change op", f"final {not each.final}", replace(each, final=not each.final)
            yield from _part_changes(each)
        case Post():
            for field in ("dst", "src"):
                for kind, text, new in _span_changes(plan, rank, getattr(each, field)):
                    changed = {field: new}
                    yield kind, f"{field} {text}", replace(each, **changed)
            for flag in ("signal", "flush"):
                changed = {flag: not getattr(each, flag)}
                yield f"change {flag}", f"{flag} {not getattr(each, flag)}", replace(each, **changed)
            for channel in _others(plan, rank, each.channel):
                yield "change peer", f"channel {channel}", replace(each, channel=channel)
            yield from _part_changes(each)
        case Signal() | Wait():
            name = _name(each)
            yield f"relax {name}", f"relaxed {not each.relaxed}", replace(each, relaxed=not each.relaxed)
            for k, channel in enumerate(each.channels):
                if len(each.channels) > 1:
                    yield f"remove {name}", f"without channel {channel}", _one_less(each, k)
                for other in _others(plan, rank, channel):
                    channels = (*each.channels[:k], other, *each.channels[k + 1 :])
                    yield "change peer", f"channel {other} for {channel}", replace(each, channels=channels)
        case Flush():
            for channel in _others(plan, rank, each.channel):
                yield "change peer", f"channel {channel}", replace(each, channel=channel)
        case Barrier():
            yield "change barrier", f"number {each.id + 1}", replace(each, id=each.id + 1)
            for blocks in (each.blocks - 1, each.blocks + 1):
                yield "change barrier", f"of {blocks} blocks", replace(each, blocks=blocks)
        case Acquire(semaphore=semaphore) | Release(semaphore=semaphore):
            for other in range(len(plan.ranks[rank].semaphores)):
                if other != semaphore:
                    yield "change semaphore", f"semaphore {other}", replace(each, semaphore=other)
        case Loop():
            for slots in sorted({0, each.slots - 1, each.slots + 1} - {each.slots, -1}):
                yield "change size", f"{slots} slots", replace(each, slots=slots)
            yield "change size", f"unit {2 * each.unit}", replace(each, unit=2 * each.unit)


def _span_changes(plan: Plan, rank: int, span: Span) -> Iterator[tuple[str, str, Span]]:
    for step in (-1, 1):
        yield "change offset", f"from {span.index} to {span.index + step}", replace(span, index=span.index + step)
        if span.size + step > 0:
            yield "change size", f"{span.size + step} chunks", replace(span, size=span.size + step)
    if span.switch is None:
        owner = rank if span.peer is None else span.peer
        for other in sorted({(owner + 1) % plan.size, (owner - 1) % plan.size, rank} - {owner}):
            peer = None if other == rank else other
            yield "change peer", f"of rank {other}", replace(span, peer=peer)
    for buffer in BufferKind:
        if buffer is not span.buffer:
            yield "change buffer", f"in {buffer.value}", replace(span, buffer=buffer, packet=False)
    if span.buffer is BufferKind.SCRATCH:
        yield "change buffer", "plain" if span.packet else "in packets", replace(span, packet=not span.packet)


def _part_changes(each: Move | Post) -> Iterator[tuple[str, str, Instruction]]:
    if each.parts > 1:
        yield "change size", f"part {(each.part + 1) % each.parts}", replace(each, part=(each.part + 1) % each.parts)
        yield "change size", f"{each.parts + 1} parts", replace(each, parts=each.parts + 1)


def _pairs(plan: Plan) -> Iterator[Mutant]:
    """A signal and a wait for it removed together, so that their numbers still agree: the first and last of each."""
    ends = other_ends(plan)
    found: dict[tuple[str, int, int, object], list[tuple[Site, int]]] = {}
    for rank, part in enumerate(plan.ranks):
        for number, block in enumerate(part.blocks):
            for path, loop, each in _sites(block):
                unit = loop.unit if loop else None
                for k, channel in enumerate(each.channels if isinstance(each, Signal | Wait) else ()):
                    end = (rank, channel) if isinstance(each, Wait) else ends[rank, channel]
                    found.setdefault((_name(each), *end, unit), []).append(((rank, number, path), k))
    for (name, rank, channel, unit), waits in found.items():
        signals = found.get(("signal", rank, channel, unit))
        if name != "wait" or not signals:
            continue
        for i, j in sorted({(0, 0), (-1, -1), (0, -1), (-1, 0)}):
            (site, k), (other, m) = waits[i], signals[j]
            yield Mutant(
                "remove signal and wait",
                f"wait at {_site(site)} on channel {channel} and its signal at {_site(other)} removed",
                lambda site=site, k=k, other=other, m=m: _less(_less(plan, site, k), other, m),
                (site, other),
            )


def _semaphores(plan: Plan) -> Iterator[Mutant]:
    for rank, part in enumerate(plan.ranks):
        for index, initial in enumerate(part.semaphores):
            for value in sorted({initial - 1, initial + 1} - {-1}):
                values = (*part.semaphores[:index], value, *part.semaphores[index + 1 :])
                ranks = (*plan.ranks[:rank], replace(part, semaphores=values), *plan.ranks[rank + 1 :])
                yield Mutant(
                    "change semaphore",
                    f"rank {rank}, semaphore {index} begins with {value}",
                    lambda ranks=ranks: replace(plan, ranks=ranks),
                )


# -- how plans are changed


def _name(instruction: Instruction) -> str:
    return type(instruction).__name__.lower()


def _site(site: Site) -> str:
    rank, block, path = site
    return f"rank {rank}, block {block}, instruction {path_text(path)}"


def _sites(block: Body) -> Iterator[tuple[Path, Loop | None, Instruction]]:
    for index, each in enumerate(block):
        if isinstance(each, Loop):
            for inner, instruction in enumerate(each.body):
                yield (index, inner), each, instruction
        else:
            yield (index,), None, each


def _others(plan: Plan, rank: int, channel: int) -> Iterator[int]:
    """The next channel of the same kind, cyclically."""
    channels = plan.ranks[rank].channels
    same = [c for c, each in enumerate(channels) if each.kind is channels[channel].kind]
    return (c for c in [same[(same.index(channel) + 1) % len(same)]] if c != channel)


def _one_less(each: Signal | Wait, k: int) -> Instruction:
    return replace(each, channels=(*each.channels[:k], *each.channels[k + 1 :]))


def _less(plan: Plan, site: Site, k: int) -> Plan:
    """Without the k-th channel of a signal or wait, which becomes a sync where it was the only one."""
    rank, block, path = site
    body = _body(plan, rank, block, path[:-1])
    each = body[path[-1]]
    assert isinstance(each, Signal | Wait)
    new = _one_less(each, k) if len(each.channels) > 1 else Sync()
    return _with_body(plan, rank, block, path[:-1], (*body[: path[-1]], new, *body[path[-1] + 1 :]))


def _without(body: Sequence[Instruction], i: int) -> Body:
    return (*body[:i], *body[i + 1 :])


def _moved(body: Body, i: int, to: int) -> Body:
    rest = _without(body, i)
    return (*rest[:to], body[i], *rest[to:])


def _body(plan: Plan, rank: int, block: int, outer: Path) -> Body:
    body = plan.ranks[rank].blocks[block]
    for index in outer:
        loop = body[index]
        assert isinstance(loop, Loop)
        body = loop.body
    return body


def _with_body(plan: Plan, rank: int, block: int, outer: Path, body: Body) -> Plan:
    part = plan.ranks[rank]
    if outer:
        whole = part.blocks[block]
        loop = whole[outer[0]]
        assert isinstance(loop, Loop)
        body = (*whole[: outer[0]], replace(loop, body=body), *whole[outer[0] + 1 :])
    blocks = (*part.blocks[:block], body, *part.blocks[block + 1 :])
    return replace(plan, ranks=(*plan.ranks[:rank], replace(part, blocks=blocks), *plan.ranks[rank + 1 :]))


def _out_of_loop(plan: Plan, rank: int, block: int, outer: Path, i: int, end: int) -> Plan:
    body = _body(plan, rank, block, outer)
    whole = _with_body(plan, rank, block, outer, _without(body, i)).ranks[rank].blocks[block]
    place = outer[0] + end
    return _with_body(plan, rank, block, (), (*whole[:place], body[i], *whole[place:]))
