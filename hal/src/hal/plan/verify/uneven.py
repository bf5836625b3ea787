"""What must hold beside, so that a plan proven for equal counts is right where the counts of ranks differ too.

In a variable-count call every block has a length of its own (`Layout.explicit`), and there are too many ways in which
lengths can differ to try them. But the element at a given place of a block meets the same instructions whatever the
lengths, as long as its block is long enough: shorter blocks take moves away. So a plan that is right where all blocks
are equally long goes wrong by a move that is taken away while another one still needs what it stored, and that is
decided in one execution at equal lengths:

* Each block is one chunk, and operands of a move are the same blocks, in the same order, whatever their buffers
  (`unequal_operands`).
* What is read in scratch was stored there for the same blocks, from the same place on, and in the same piece of a loop
  (`LengthsMemory`). Then it is there whenever it is read, and whatever else is stored in between with one set of
  lengths is so with equal ones. Input and output need no such rule: there each block has its own place.
* Loops of a unit run as many pieces as their longest operand has, which may now be any of them. So all of them are
  of the same number of blocks, which end in the same piece where lengths are equal; ranges in loops do not overlap
  without being the same; and loops of several units go through the same blocks. Then a call of different lengths has
  the same signals as one in which all lengths are the longest, and fewer accesses between them (`unlike_loops`).
* Blocks outside of loops may have data where those inside have none: that is a layout of its own (`idle_loops`).
* Moves in parts are refused, since where a part ends depends on the length of the whole.

Input and output share memory block by block. In an all_to_all they would not, and it is not called in place with
variable counts.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

from hal.plan.collective import Collective
from hal.plan.findings import Code, Finding, Where
from hal.plan.layout import Extent, Layout
from hal.plan.model import BufferKind, Loop, Move, Plan, Post, Span
from hal.plan.text import Path, describe, numbered
from hal.plan.verify.memory import Access, Memory
from hal.plan.verify.shadow import Segment
from hal.plan.verify.steps import SCRATCH, Operand, Program, Step
from hal.plan.verify.value import Value

Block = tuple[int, ...]
"""Whose block: of one rank, in an all_to_all of a sender for a receiver."""

FORMS = (
    Collective.ALL_GATHER,
    Collective.REDUCE_SCATTER,
    Collective.GATHER,
    Collective.SCATTER,
    Collective.ALL_TO_ALL,
)
"""The collectives that have a form of variable counts."""


def unfit(plan: Plan) -> Iterator[Finding]:
    """Findings for what no variable-count call can run, and for what is not examined for such calls."""
    collective = Collective.of(plan.collective).uniform
    if collective not in FORMS:
        yield _finding(f"{plan.collective} has no form of variable counts")
    elif plan.even or plan.split > 1:
        shape = "are all equally long" if plan.even else f"are cut into {plan.split} chunks each"
        yield _finding(f"blocks {shape}: in a call of variable counts each is one chunk of a length of its own")
    elif plan.aliased and collective is Collective.ALL_TO_ALL:
        yield _finding("input and output share memory, which they cannot where blocks lie at different places in them")
    else:
        yield from unequal_operands(plan)
        yield from unlike_loops(plan)


def unequal_operands(plan: Plan) -> Iterator[Finding]:
    """Findings for moves of operands that are not the same blocks, and for moves in parts."""
    for rank, block, path, each in _moves(plan):
        if each.parts > 1:
            wrong = "a move in parts, which end elsewhere at other counts, is not examined"
        elif len(found := {_blocks(plan, owner, span) for owner, span in _data(plan, rank, each)}) > 1:
            wrong = f"operands are {' and '.join(sorted(map(_named, found)))}, which may differ in length"
        else:
            continue
        place = Where(rank, block, path, describe(each, plan.ranks[rank].channels), each.source)
        yield _finding(wrong, place)


def unlike_loops(plan: Plan) -> Iterator[Finding]:
    """Findings for loops whose operands may end in different pieces, or go through a block in different pieces."""
    ranges: defaultdict[int, set[tuple[Block, ...]]] = defaultdict(set)
    places: defaultdict[BufferKind, set[tuple[int, int]]] = defaultdict(set)
    for unit, rank, each in _looped(plan):
        for owner, span in _data(plan, rank, each):
            ranges[unit].add(_blocks(plan, owner, span))
            places[span.buffer].add((span.index, span.index + span.size))
    for unit, found in ranges.items():
        if len({len(blocks) for blocks in found}) > 1:
            yield _finding(f"loops of unit {unit} go through operands of different numbers of blocks")
    for kind, spans in places.items():
        if any(second[0] < first[1] for first, second in itertools.pairwise(sorted(spans))):
            yield _finding(f"loops go through ranges of {kind.value} that overlap without being the same")
    if len({frozenset(found) for found in ranges.values()}) > 1:
        yield _finding("loops of different units go through different blocks, so that their pieces are not tied")


def idle_loops(plan: Plan, length: int) -> Layout | None:
    """The layout where loops have no piece and all other blocks are of `length` bytes; None where there are no others.

    The plan is one in which `unfit` finds nothing.
    """
    looped = {
        block
        for _, rank, each in _looped(plan)
        for owner, span in _data(plan, rank, each)
        for block in _blocks(plan, owner, span)
    }
    every = {
        block
        for rank, _, _, each in _moves(plan)
        for owner, span in _data(plan, rank, each)
        for block in _blocks(plan, owner, span)
    }
    if not looped or not every - looped:
        return None

    def extents(kind: BufferKind, rank: int, chunks: int) -> tuple[Extent, ...]:
        lengths = [0 if _block(plan, rank, kind, index) in looped else length for index in range(chunks)]
        return tuple(zip(itertools.accumulate(lengths, initial=0), lengths, strict=False))

    return Layout.explicit(
        plan,
        tuple(extents(BufferKind.INPUT, r, part.input_chunks) for r, part in enumerate(plan.ranks)),
        tuple(extents(BufferKind.OUTPUT, r, part.output_chunks) for r, part in enumerate(plan.ranks)),
        1,
    )


class LengthsMemory(Memory):
    """Memory that finds reads of scratch which would see something else if blocks differed in length."""

    def _made(self, who: Access, sources: Sequence[Operand], pieces: Sequence[Segment], op: str, final: bool) -> Value:
        for operand, segment in zip(sources, pieces, strict=False):
            if operand[0] & 3 >= SCRATCH and segment.step >= 0:
                self._follow(who, operand, segment)
        return super()._made(who, sources, pieces, op, final)

    def _follow(self, who: Access, operand: Operand, segment: Segment) -> None:
        program = self.program
        piece, number = divmod(who.step, len(program.steps))
        earlier, writing = divmod(segment.step, len(program.steps))
        reader, writer = program.steps[number], program.steps[writing]
        read, stored = _lengths(program, reader), _lengths(program, writer)
        if read != stored:
            what = f"{self._range(operand, segment)} are read for {_named(read)} and stored for {_named(stored)}"
            self._find(Code.UNEVEN_COUNTS, f"{what}, which may differ in length", segment.step, who.step)
        elif not _in_place_of(operand, reader, piece, writer) or _ring(reader) != _ring(writer):
            what = f"{self._range(operand, segment)} are read from another place on than they are stored"
            self._find(Code.UNEVEN_COUNTS, what, segment.step, who.step)
        elif _ring(reader) and piece != earlier:
            what = f"{self._range(operand, segment)} are read in another piece than they are stored in"
            self._find(Code.UNEVEN_COUNTS, what, segment.step, who.step)


# -- blocks


def _block(plan: Plan, owner: int, kind: BufferKind, index: int) -> Block:
    """Whose block a chunk of `owner`'s input or output is."""
    match Collective.of(plan.collective).uniform:
        case Collective.ALL_TO_ALL:
            return (owner, index) if kind is BufferKind.INPUT else (index, owner)
        case Collective.ALL_GATHER | Collective.GATHER:
            return (owner,) if kind is BufferKind.INPUT else (index,)
        case _:
            return (index,) if kind is BufferKind.INPUT else (owner,)


def _blocks(plan: Plan, owner: int, span: Span) -> tuple[Block, ...]:
    return tuple(_block(plan, owner, span.buffer, i) for i in range(span.index, span.index + span.size))


def _named(blocks: tuple[Block, ...]) -> str:
    names = [f"of rank {b[0]}" if len(b) == 1 else f"from rank {b[0]} to {b[1]}" for b in blocks]
    return f"the block{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _lengths(program: Program, step: Step) -> tuple[Block, ...]:
    """The blocks that a move in such a plan is of: those of any of its input or output operands."""
    assert isinstance(step.instruction, Move | Post)
    rank = program.blocks[step.block].rank
    owner, span = next(_data(program.plan, rank, step.instruction))
    return _blocks(program.plan, owner, span)


def _in_place_of(operand: Operand, reader: Step, piece: int, writer: Step) -> bool:
    """Whether an operand of the reader, in that piece, begins where the writer has a destination."""
    assert writer.transfer is not None
    loop = reader.loop
    ahead = 0 if loop is None else (piece % loop.slots if loop.slots else piece) * loop.unit
    return (operand[0], operand[1] - ahead) in writer.transfer.targets


def _ring(step: Step) -> tuple[int, int] | None:
    """Unit and slots of the ring that scratch is for a step; None where it is as long as the data."""
    loop = step.loop
    return None if loop is None or not loop.slots else (loop.unit, loop.slots)


# -- walking


def _moves(plan: Plan) -> Iterator[tuple[int, int, Path, Move | Post]]:
    for rank, part in enumerate(plan.ranks):
        for number, block in enumerate(part.blocks):
            for path, each in numbered(block):
                if isinstance(each, Move | Post):
                    yield rank, number, path, each


def _looped(plan: Plan) -> Iterator[tuple[int, int, Move | Post]]:
    """The moves inside loops, each with the unit of its loop and its rank."""
    for rank, part in enumerate(plan.ranks):
        for loop in (each for block in part.blocks for each in block if isinstance(each, Loop)):
            for each in loop.body:
                if isinstance(each, Move | Post):
                    yield loop.unit, rank, each


def _data(plan: Plan, rank: int, each: Move | Post) -> Iterator[tuple[int, Span]]:
    """The operands in input and output of an instruction of `rank`, with the ranks in whose memory they lie."""
    channels = plan.ranks[rank].channels
    if isinstance(each, Post):
        operands = [(rank, each.src), (channels[each.channel].peer, each.dst)]
    else:
        operands = [
            (owner, span)
            for span in (*each.src, *each.dst)
            for owner in (
                channels[span.switch].peers if span.switch is not None else (rank if span.peer is None else span.peer,)
            )
        ]
    return ((owner, span) for owner, span in operands if span.buffer is not BufferKind.SCRATCH)


def _finding(message: str, *where: Where) -> Finding:
    return Finding(Code.UNEVEN_COUNTS, message, where)
