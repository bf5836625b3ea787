"""`verify`: whether a plan is right, in every schedule."""

from __future__ import annotations

from collections.abc import Iterator

from hal.plan.codec import digest
from hal.plan.findings import Code, Finding, Report, distinct
from hal.plan.layout import Layout
from hal.plan.lower import loop_pieces, walk
from hal.plan.model import BufferKind, Move, Plan
from hal.plan.validate import malformations
from hal.plan.verify.deadlock import explain
from hal.plan.verify.goal import check_barrier, check_results
from hal.plan.verify.layouts import representative
from hal.plan.verify.limits import Limits, exceeded
from hal.plan.verify.machine import Machine
from hal.plan.verify.memory import Memory
from hal.plan.verify.steps import Program, static_steps

MOST_STEPS = 50_000_000
"""Operands and signals that are examined at most, in one layout."""


def verify(plan: Plan, *, limits: Limits | None = None) -> Report:
    """The verdict on a plan: a report without findings is a proof for every schedule and every count.

    It says that no schedule ends in deadlock, that nothing races, that back-to-back launches do not disturb each other,
    that only written memory is read, and that the outputs hold exactly what the collective promises; where the plan
    serves in-place calls, for these too. A `custom` plan promises nothing of its outputs.
    `limits` are those of the device that it is to run on.

    Never raises for a plan that is wrong. Time and memory grow with the instructions (each piece of a loop counted)
    times the number of blocks of all ranks.
    """
    malformed = malformations(plan)
    if malformed:
        return Report(plan.name, plan.size, "", tuple(malformed))
    name = digest(plan)
    findings = list(exceeded(plan, limits or Limits()))
    mixed = list(_mixed_scratch(plan))
    findings += mixed
    steps = 0
    labels = []
    for layout in representative(plan):
        size = static_steps(plan, loop_pieces(plan, layout))
        if size > MOST_STEPS:
            message = f"the plan takes {size} steps, and no more than {MOST_STEPS} are examined"
            findings.append(Finding(Code.TOO_LARGE, message))
            break
        sharings = [True] if plan.aliased else [False, True] if plan.in_place else [False]
        labels.append(f"chunks of {layout.longest} bytes, " + " and ".join(_SHARING[s] for s in sharings))
        new, done = _examine(plan, layout, sharings)
        steps += done
        findings += new
        if findings:
            break
    return Report(plan.name, plan.size, name, distinct(findings), steps, tuple(labels))


_SHARING = {False: "not in place", True: "in place"}


def _examine(plan: Plan, layout: Layout, sharings: list[bool]) -> tuple[list[Finding], int]:
    """Findings, and the number of steps taken. With both sharings, races are looked for in place first.

    Where input and output share memory more accesses meet than where they do not, so that a plan without a race in
    place has none otherwise; the results are examined in both.
    """
    program = Program(plan, layout)
    if program.problems:
        return [Finding(Code.OUT_OF_BOUNDS, text, (program.where(s.number),)) for s, text in program.problems], 0
    findings, steps = _execute(program, [Memory(program, s, races=s is sharings[-1]) for s in sharings])
    if findings and len(sharings) > 1:
        # a plan that is wrong at any rate is reported so, and not as wrong in place
        plain, more = _execute(Program(plan, layout), [Memory(program, False, races=True)])
        return [*plain, *findings], steps + more
    return findings, steps


def _execute(program: Program, memories: list[Memory]) -> tuple[list[Finding], int]:
    machine = Machine(program, memories)
    stuck = machine.run()
    findings = [*explain(program, stuck), *machine.findings]
    for memory in memories:
        findings += memory.findings
    if not stuck:
        for memory in memories:
            if memory.races:
                before = len(memory.findings)
                for rank in range(program.plan.size):
                    memory.ends(rank, machine.end_of(rank))
                findings += memory.findings[before:]
        findings += check_barrier(machine, program)
        # where something races or is unwritten, what results from it is no finding of its own
        if not findings:
            for memory in memories:
                findings += check_results(program, memory)
    # an unwritten read is mostly what a race leads to
    findings.sort(key=lambda finding: finding.code is Code.UNWRITTEN_READ)
    return findings, machine.steps * len(memories)


def _mixed_scratch(plan: Plan) -> Iterator[Finding]:
    """Scratch that is used in both forms: packets lie at twice the place of plain data, over twice the length."""
    program_ranges: dict[int, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {
        rank: ([], []) for rank in range(plan.size)
    }
    for number, part in enumerate(plan.ranks):
        for block in part.blocks:
            for instruction in walk(block):
                if not isinstance(instruction, Move):
                    continue
                for span in (*instruction.src, *instruction.dst):
                    if span.buffer is not BufferKind.SCRATCH:
                        continue
                    if span.switch is not None:
                        owners = part.channels[span.switch].peers
                    else:
                        owners = (number if span.peer is None else span.peer,)
                    scale = 2 if span.packet else 1
                    for owner in owners:
                        program_ranges[owner][span.packet].append(
                            (scale * span.index, scale * (span.index + span.size))
                        )
    for rank, (plain, packets) in program_ranges.items():
        if plain and packets:
            events = sorted({(a, b, False) for a, b in plain} | {(a, b, True) for a, b in packets})
            reach = {False: -1, True: -1}
            for first, end, form in events:
                if first < reach[not form]:
                    yield Finding(
                        Code.PACKET_OVERLAP,
                        f"scratch of rank {rank} around chunk {first} holds both packets and plain data, "
                        "which may look like the flag of a packet",
                    )
                    break
                reach[form] = max(reach[form], end)
