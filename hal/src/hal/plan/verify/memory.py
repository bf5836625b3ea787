"""The memory of all ranks in one sharing of input and output, and what a move does to it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hal.plan.findings import Code, Finding
from hal.plan.layout import needed
from hal.plan.verify.shadow import NOTHING, Past, Segment, Shadow
from hal.plan.verify.steps import INPUT, OUTPUT, PACKETS, SCRATCH, Operand, Program
from hal.plan.verify.value import Value, combined, contribution

Clock = NDArray[np.int32]

NAMES = {INPUT: "input", OUTPUT: "output", SCRATCH: "scratch", PACKETS: "packets in scratch"}

FORMS = (SCRATCH, PACKETS)

MOST_FINDINGS = 100


@dataclass(slots=True)
class Access:
    """Who accesses memory: the block (or port), its epoch, the step, and the two clocks it has seen."""

    block: int
    epoch: int
    step: int
    """The step in its piece (`Program.instance`)."""
    seen: Clock
    """What has been made visible to it (acquired)."""
    passed: Clock
    """What has happened before it, visible or not."""
    rank: int
    """Whose block it is."""


class Memory:
    """All buffers. With `in_place`, input and output share memory as in-place calls have it (`hal.reference.run`)."""

    def __init__(self, program: Program, in_place: bool, *, races: bool) -> None:
        self.program = program
        self.in_place = in_place
        self.races = races
        self.findings: list[Finding] = []
        plan, layout = program.plan, program.layout
        self.table: list[tuple[Shadow, int]] = []
        """For each buffer (`4 * rank + kind`) its shadow, and where in it the buffer begins."""
        for rank, part in enumerate(plan.ranks):
            inputs, outputs = needed(layout.inputs[rank]), needed(layout.outputs[rank])
            places = layout.shared(plan, rank) if in_place else None
            cuts = [offset for offset, _ in layout.inputs[rank]], [offset for offset, _ in layout.outputs[rank]]
            if places is None:
                data = [(Shadow(inputs, cuts[0]), 0), (Shadow(outputs, cuts[1]), 0)]
            else:
                moved = [place + cut for place, part_cuts in zip(places, cuts, strict=True) for cut in part_cuts]
                both = Shadow(max(places[0] + inputs, places[1] + outputs), moved)
                data = [(both, places[0]), (both, places[1])]
            first = data[INPUT][1]
            if inputs:
                for segment in data[INPUT][0].cover(first, first + inputs):
                    segment.value = contribution(rank, segment.start - first)
            size = part.scratch_chunks * layout.scratch_chunk
            chunks = range(0, size, layout.scratch_chunk or 1)
            self.table += [*data, *((Shadow(size, chunks if form in program.forms else ()), 0) for form in FORMS)]

    @property
    def sharing(self) -> str:
        """The word by which findings name the sharing, where it is worth naming."""
        return "in place" if self.in_place and not self.program.plan.aliased else ""

    def cover(self, operand: Operand, length: int) -> list[Segment]:
        """The segments of an operand."""
        shadow, shift = self.table[operand[0]]
        start = operand[1] + shift
        return shadow.cover(start, start + length)

    def move(
        self, who: Access, sources: Sequence[Operand], targets: Sequence[Operand], length: int, op: str, final: bool
    ) -> None:
        """Reduce the sources into all targets, and check every access. Packets among the sources are there."""
        rows = [self.cover(operand, length) for operand in (*sources, *targets)]
        if any(len(row) > 1 for row in rows):
            rows = self._aligned((*sources, *targets), length, rows)
            if self.races:
                self._self_overlap(who, sources, targets, length)
        elif self.races and self.in_place:
            self._self_overlap(who, sources, targets, length)
        count = len(sources)
        if self.races:
            for operand, row in zip(sources, rows, strict=False):
                if operand[0] & 3 != PACKETS:
                    for segment in row:
                        self._read(who, operand, segment)
        packets = any(operand[0] & 3 == PACKETS for operand in (*sources, *targets))
        for pieces in zip(*rows, strict=True):
            past = self._past(who, sources, pieces) if packets else NOTHING
            made = self._made(who, sources, pieces, op, final)
            for operand, segment in zip(targets, pieces[count:], strict=True):
                if not self.races:
                    segment.writer, segment.step = who.block, who.step
                elif operand[0] & 3 == PACKETS:
                    self._write_packets(who, operand, segment, past)
                else:
                    self._write(who, operand, segment, past)
                segment.value = made

    def _made(self, who: Access, sources: Sequence[Operand], pieces: Sequence[Segment], op: str, final: bool) -> Value:
        """What a move stores to one range of its destinations."""
        values = []
        for operand, segment in zip(sources, pieces, strict=False):
            if segment.value is None:
                self._unwritten(who, operand, segment)
                # what follows from it is not worth a finding of its own
                return Value("unknown", (), 0)
            values.append(segment.value)
        return combined(values, op, final)

    def _past(self, who: Access, sources: Sequence[Operand], pieces: Sequence[Segment]) -> Past:
        """Readings that whoever has what this move stores knows to be over: of this very element, here and before."""
        past: set[tuple[int, int, int]] = set()
        for operand, segment in zip(sources, pieces, strict=False):
            if operand[0] & 3 == PACKETS:
                past |= segment.past
            else:
                past.add((who.step, id(self.table[operand[0]][0]), segment.start))
        return frozenset(past)

    def _aligned(self, operands: Sequence[Operand], length: int, rows: list[list[Segment]]) -> list[list[Segment]]:
        """The same, all cut at the same distances from their beginnings."""
        cuts = {0, length}
        while True:
            for operand, row in zip(operands, rows, strict=True):
                start = operand[1] + self.table[operand[0]][1]
                cuts.update(segment.start - start for segment in row)
            bounds = sorted(cuts)
            for operand in operands:
                shadow, shift = self.table[operand[0]]
                start = operand[1] + shift
                for a, b in itertools.pairwise(bounds):
                    shadow.cover(start + a, start + b)
            rows = [self.cover(operand, length) for operand in operands]
            # operands that overlap in memory cut each other
            if all(len(row) == len(bounds) - 1 for row in rows):
                return rows

    def arrived(self, operand: Operand, length: int) -> bool:
        """Whether all packets of an operand have been written."""
        return all(segment.value is not None for segment in self.cover(operand, length))

    # -- checks

    def _read(self, who: Access, operand: Operand, segment: Segment) -> None:
        if segment.writer >= 0 and who.seen[segment.writer] <= segment.epoch:
            self._race(who, operand, segment, segment.writer, segment.step, segment.epoch, "wrote", "reads")
        earlier = segment.reads.get(who.block)
        if earlier is not None and earlier[0] == who.epoch and earlier[1] != who.step:
            # of the moves of one epoch two are kept: a move that writes may itself be the last to have read
            segment.reads[~who.block] = earlier
        segment.reads[who.block] = (who.epoch, who.step)

    def _write(self, who: Access, operand: Operand, segment: Segment, past: Past) -> None:
        if segment.writer >= 0 and who.seen[segment.writer] <= segment.epoch and segment.step != who.step:
            self._race(who, operand, segment, segment.writer, segment.step, segment.epoch, "wrote", "writes")
        for key, (epoch, step) in segment.reads.items():
            reader = max(key, ~key)
            if who.passed[reader] > epoch or step == who.step:
                continue
            if (step, id(self.table[operand[0]][0]), segment.start) not in past:
                self._race(who, operand, segment, reader, step, epoch, "read", "writes")
        segment.reads = {}
        segment.writer, segment.epoch, segment.step = who.block, who.epoch, who.step

    def _write_packets(self, who: Access, operand: Operand, segment: Segment, past: Past) -> None:
        if segment.value is not None:
            self._find(
                Code.PACKET_REUSE,
                f"{self._range(operand, segment)} are written twice in a launch, "
                "so that their flags cannot tell which data has arrived",
                segment.step,
                who.step,
            )
        segment.writer, segment.epoch, segment.step = who.block, who.epoch, who.step
        segment.past = past

    def _race(
        self,
        who: Access,
        operand: Operand,
        segment: Segment,
        other: int,
        other_step: int,
        epoch: int,
        did: str,
        does: str,
    ) -> None:
        where = self._range(operand, segment)
        if other == who.block:
            message = f"one move {did} {where} and a later one of the block {does} it, with no sync between them"
            self._find(Code.MISSING_SYNC, message, other_step, who.step)
            return
        if who.passed[other] > epoch:
            why = "relaxed signals order them in time, but do not make what was written visible"
        else:
            why = "no chain of signals, barriers or semaphores leads from one to the other"
        self._find(
            Code.DATA_RACE,
            f"one block {did} {where} and another {does} it, and nothing orders them: {why}",
            other_step,
            who.step,
        )

    def _self_overlap(self, who: Access, sources: Sequence[Operand], targets: Sequence[Operand], length: int) -> None:
        """A destination that shares bytes with another operand, in another position."""

        def span(operand: Operand) -> tuple[int, int]:
            shadow, shift = self.table[operand[0]]
            return id(shadow), operand[1] + shift

        if len({id(self.table[o[0]][0]) for o in (*sources, *targets)}) == len(sources) + len(targets):
            return
        written = [span(target) for target in targets]
        for index, (shadow, start) in enumerate(written):
            others = [span(source) for source in sources if span(source) != (shadow, start)]
            others += written[:index] + written[index + 1 :]
            if any(s == shadow and abs(other - start) < length for s, other in others):
                self._find(Code.SELF_OVERLAP, "operands of a move overlap without being the same", who.step)
                return

    def _unwritten(self, who: Access, operand: Operand, segment: Segment) -> None:
        self._find(
            Code.UNWRITTEN_READ,
            f"{self._range(operand, segment)} is read, which nothing has written in this launch",
            who.step,
        )

    def ends(self, rank: int, passed: Clock) -> None:
        """Check that all accesses of others to a rank's input and output lie before its end of the launch."""
        own = self.program.blocks_of(rank)
        for kind in (INPUT, OUTPUT):
            for segment in self.table[4 * rank + kind][0].segments():
                last = [(segment.writer, segment.epoch, segment.step, "written")] if segment.writer >= 0 else []
                last += [(max(key, ~key), epoch, step, "read") for key, (epoch, step) in segment.reads.items()]
                for block, epoch, step, how in last:
                    if block not in own and passed[block] <= epoch:
                        what = self._range((4 * rank + kind, 0), segment)
                        self._find(
                            Code.LAUNCH_ORDER,
                            f"{what} may still be {how} when rank {rank} has ended the launch and its owner uses it "
                            "again: no wait of that rank follows",
                            step,
                        )

    def begins(self, who: Access, operands: Sequence[Operand]) -> None:
        """Check that a rank whose input or output is accessed is known to have begun the launch."""
        for operand in operands:
            rank, kind = divmod(operand[0], 4)
            if rank != who.rank and kind in (INPUT, OUTPUT):
                blocks = self.program.blocks_of(rank)
                if not np.any(who.passed[blocks.start : blocks.stop]):
                    self._find(
                        Code.LAUNCH_ORDER,
                        f"the {NAMES[kind]} of rank {rank} is accessed while that rank may not have begun the launch: "
                        "no signal of it was waited for",
                        who.step,
                    )

    # -- findings

    def _range(self, operand: Operand, segment: Segment) -> str:
        rank, kind = divmod(operand[0], 4)
        start = segment.start - self.table[operand[0]][1]
        end = segment.end - self.table[operand[0]][1]
        return f"{NAMES[kind]} of rank {rank}, bytes {start} to {end - 1},"

    def _find(self, code: Code, message: str, *steps: int) -> None:
        if len(self.findings) < MOST_FINDINGS:
            where = tuple(self.program.where(step) for step in steps)
            self.findings.append(Finding(code, message, where, self.sharing))
