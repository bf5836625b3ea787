"""`verify`: whether a plan is right, in every schedule."""

from __future__ import annotations

from collections.abc import Iterator

from hal.interface.dtypes import ReduceOp
from hal.plan.codec import digest
from hal.plan.collective import Collective
from hal.plan.findings import Code, Finding, Report, Scope, distinct
from hal.plan.garbage import no_garbage_search
from hal.plan.layout import Layout, unshared
from hal.plan.lower import walk
from hal.plan.model import BufferKind, Instruction, Move, Plan, Post, RankPlan, Span
from hal.plan.validate import malformations
from hal.plan.verify.bounds import too_large, too_long
from hal.plan.verify.deadlock import explain
from hal.plan.verify.goal import check_barrier, check_results, operations
from hal.plan.verify.layouts import MOST_LAYOUTS, representative
from hal.plan.verify.limits import Limits, exceeded
from hal.plan.verify.machine import Machine
from hal.plan.verify.memory import Memory
from hal.plan.verify.steps import Program
from hal.plan.verify.tokens import Doubts
from hal.plan.verify.uneven import LengthsMemory, idle_loops, unfit


def verify(plan: Plan, *, limits: Limits | None = None, variable: bool = False) -> Report:
    """The verdict on a plan: a report without findings is a proof for every schedule and every count.

    Counts are the same on all ranks, unless `variable` is true or the plan's collective is of variable counts: then
    they may also be any that differ between ranks, and pairs of ranks, as variable-count calls lay them out. The
    report's `scope` says for which calls the proof holds.

    It says that no schedule ends in deadlock, that nothing races, that back-to-back launches do not disturb each other,
    that only written memory is read, and that the outputs hold exactly what the collective promises; where the plan
    serves in-place calls, for these too. A `custom` plan promises nothing of its outputs.
    `limits` are those of the device that it is to run on.

    Never raises for a plan that is wrong. Time and memory grow with the instructions (each piece of a loop counted)
    times the number of blocks of all ranks.
    """
    with no_garbage_search():
        return _verdict(plan, limits or Limits(), variable)


def _verdict(plan: Plan, limits: Limits, variable: bool) -> Report:
    refused = malformations(plan) or list(too_large(plan))
    if refused:
        return Report(plan.name, plan.size, "", tuple(refused))
    name = digest(plan)
    findings = list(exceeded(plan, limits))
    if plan.aliased and unshared(plan) is not None:
        message = (
            "where input and output share memory is not defined for ranks of such lengths, but the plan is aliased"
        )
        return Report(plan.name, plan.size, name, (Finding(Code.MALFORMED, message),))
    findings += _mixed_scratch(plan)
    collective = Collective.of(plan.collective)
    variable = variable or collective is not collective.uniform
    unfitting = list(unfit(plan)) if variable else []
    findings += unfitting
    steps = 0
    labels = []
    reductions: Operations = tuple(ReduceOp)
    layouts = representative(plan)
    if len(layouts) > MOST_LAYOUTS:
        message = f"parts of moves are cut in more than {MOST_LAYOUTS} different ways, which depend on the count"
        findings.append(Finding(Code.TOO_LARGE, message))
        layouts = []
    if variable and layouts and not findings:
        idle = idle_loops(plan, max(layout.longest for layout in layouts))
        layouts += [idle] if idle else []
    beyond = list(too_long(plan, layouts))
    if beyond:
        findings += beyond
        layouts = []
    sharings = _sharings(plan, variable)
    for layout in layouts:
        labels.append(f"chunks of {layout.longest} bytes, " + " and ".join(_SHARING[s] for s in sharings))
        new, done, right_for = _examine(plan, layout, sharings, variable and not unfitting)
        steps += done
        reductions = tuple(op for op in reductions if op in right_for)
        findings += new
        if findings:
            break
    scope = None
    if not findings:
        words = tuple(_SHARING[sharing] for sharing in sharings)
        scope = Scope(variable, reductions, words, collective is not Collective.CUSTOM)
    return Report(plan.name, plan.size, name, distinct(findings), steps, tuple(labels), scope)


def _sharings(plan: Plan, variable: bool) -> list[bool]:
    """Whether input and output share memory, in every way in which the plan is called."""
    if plan.aliased:
        return [True]
    # where that is not defined, calls in place are refused
    defined = unshared(plan) is None and not (
        variable and Collective.of(plan.collective).uniform is Collective.ALL_TO_ALL
    )
    return [False, True] if plan.in_place and defined else [False]


_SHARING = {False: "apart", True: "in place"}

Operations = tuple[ReduceOp, ...]


def _examine(plan: Plan, layout: Layout, sharings: list[bool], variable: bool) -> tuple[list[Finding], int, Operations]:
    """Findings, the number of steps taken, and the operations for which outputs that are right are so.

    With both sharings, races are looked for in place first.

    Where input and output share memory more accesses meet than where they do not, so that a plan without a race in
    place has none otherwise; the results are examined in both.
    """
    program = Program(plan, layout)
    if program.problems:
        return [Finding(Code.OUT_OF_BOUNDS, text, (program.where(s.number),)) for s, text in program.problems], 0, ()
    findings, steps, ops = _execute(program, sharings, variable)
    if findings and len(sharings) > 1:
        # a plan that is wrong at any rate is reported so, and not as wrong in place
        plain, more, _ = _execute(program, [False], variable)
        return [*plain, *findings], steps + more, ops
    return findings, steps, ops


def _execute(program: Program, sharings: list[bool], variable: bool) -> tuple[list[Finding], int, Operations]:
    kind = LengthsMemory if variable else Memory
    doubts: Doubts = frozenset()
    steps = 0
    while True:
        memories = [kind(program, s, races=s is sharings[-1]) for s in sharings]
        machine = Machine(program, memories, doubts)
        stuck = machine.run()
        steps += machine.steps * len(memories)
        more = machine.doubtful()
        if more == doubts:
            break
        doubts = more
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
    if findings:
        findings += machine.contended()
    return findings, steps, operations(program, memories[0])


def _mixed_scratch(plan: Plan) -> Iterator[Finding]:
    """Scratch that is used in both forms: packets lie at twice the place of plain data, over twice the length."""
    ranges: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]] = [([], []) for _ in plan.ranks]
    """For each rank what is used plain, and what in packets."""
    for number, part in enumerate(plan.ranks):
        for block in part.blocks:
            for instruction in walk(block):
                for owner, span in _operands(part, number, instruction):
                    if span.buffer is BufferKind.SCRATCH:
                        scale = 2 if span.packet else 1
                        chunks = (scale * span.index, scale * (span.index + span.size))
                        ranges[owner][span.packet].append(chunks)
    for rank, (plain, packets) in enumerate(ranges):
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


def _operands(part: RankPlan, number: int, instruction: Instruction) -> Iterator[tuple[int, Span]]:
    """The operands of an instruction of rank `number`, each once for every rank in whose memory it lies."""
    if isinstance(instruction, Post):
        yield number, instruction.src
        yield part.channels[instruction.channel].peer, instruction.dst
    elif isinstance(instruction, Move):
        for span in (*instruction.src, *instruction.dst):
            if span.switch is not None:
                yield from ((peer, span) for peer in part.channels[span.switch].peers)
            else:
                yield (number if span.peer is None else span.peer), span
