"""Programs are words from outside: whatever they are, the native part takes them or raises `ValueError`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.layout import Layout
from hal.plan.lower import Opcode, Program, lower
from hal_collectives.algorithms import provide
from hal_host import _native

from .lanes import SECOND, Lanes, address, decode, executable, on_threads

SIZE = 4
SCRATCH = 1 << 21
WORD = st.one_of(
    st.integers(-3, 20),
    st.sampled_from([2**15, 2**16, 2**20, 2**31 - 1, 2**31, 2**32, 2**62, 2**62 + 1, 2**63 - 1, -(2**63)]),
)
FUZZ = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def lanes() -> Iterator[Lanes]:
    made = Lanes(SIZE, scratch=SCRATCH)
    yield made
    # pytest keeps the object itself until after its check for shared memory that is left
    vars(made).clear()


def lowered() -> list[Program]:
    """A program of each algorithm that serves this many ranks."""
    programs = []
    for algorithm in provide():
        if not algorithm.supports(SIZE):
            continue
        rooted = algorithm.collective in ("broadcast", "reduce", "gather", "scatter")
        plan = algorithm.build(SIZE, 0 if rooted else None)
        programs.append(lower(plan, 0, Layout.uniform(plan, 100, 4), DType.FLOAT32, ReduceOp.AVG))
    return programs


VALID = lowered()
Operand = tuple[int, int, int, int]
"""Rank, buffer, offset, packet."""


def load(lanes: Lanes, blocks: list[list[int]], **more: object) -> _native.Program | None:
    values: dict[str, object] = {
        "semaphores": [0, 1],
        "dtype": int(DType.FLOAT32),
        "slots": 2,
        "maps_input": False,
        "maps_output": False,
        "in_place": True,
        "scratch_reach": SCRATCH,
    }
    try:
        return _native.Program(lanes.lanes[0], blocks, **{**values, **more})  # type: ignore[arg-type]  # wrong on purpose
    except ValueError:
        return None


def move(
    nbytes: int, *operands: tuple[int, int, int, int], sources: int = 1, op: int = 0, divisor: int = 1
) -> list[int]:
    words = [0, op, divisor, nbytes, sources, len(operands) - sources, *(w for o in operands for w in o)]
    return [int(Opcode.MOVE), len(words), *words]


def loop(unit: int, slots: int, pieces: int, body: list[int]) -> list[int]:
    return [int(Opcode.LOOP), 5, 0, unit, slots, pieces, len(body), *body]


def signal(slot: int = 0, peer: int = 1, opcode: Opcode = Opcode.SIGNAL, common: int = 0) -> list[int]:
    return [int(opcode), 6, 0, common, 1, peer, slot, 0]


INPUT, OUTPUT = (0, 0, 0, 0), (0, 1, 0, 0)


def test_what_the_lowering_makes_is_taken(lanes: Lanes) -> None:
    assert len(VALID) > 20
    for program in VALID:
        decode(lanes.lanes[0], program)


@FUZZ
@given(blocks=st.lists(st.lists(WORD, max_size=40), max_size=4), slots=st.integers(-2, 70), dtype=st.integers(-2, 30))
def test_random_words(lanes: Lanes, blocks: list[list[int]], slots: int, dtype: int) -> None:
    load(lanes, blocks, slots=slots, dtype=dtype)


@FUZZ
@given(data=st.data())
def test_valid_programs_with_some_words_changed(lanes: Lanes, data: st.DataObject) -> None:
    program = data.draw(st.sampled_from(VALID))
    blocks = [list(block) for block in program.blocks]
    for _ in range(data.draw(st.integers(1, 4))):
        block = blocks[data.draw(st.integers(0, len(blocks) - 1))]
        if not block:
            continue
        at = data.draw(st.integers(0, len(block) - 1))
        match data.draw(st.sampled_from(["set", "delete", "insert", "cut"])):
            case "set":
                block[at] = data.draw(WORD)
            case "delete":
                del block[at]
            case "insert":
                block.insert(at, data.draw(WORD))
            case "cut":
                del block[at:]
    load(lanes, blocks, slots=program.channel_slots)


@pytest.mark.slow
def test_many_changed_programs(lanes: Lanes) -> None:
    """As above, without the tools that find a short example, and so a hundred times as fast."""
    random.seed(20240229)
    values = [-1, 0, 1, 2, 3, 4, 5, 8, 63, 64, 2**16, 2**31 - 1, 2**40, 2**62, 2**62 + 1, 2**63 - 1, -(2**63)]
    taken = 0
    for _ in range(300_000):
        program = random.choice(VALID)
        blocks = [list(block) for block in program.blocks]
        block = random.choice(blocks)
        for _ in range(random.randint(1, 3)):
            block[random.randrange(len(block))] = random.choice(values)
        taken += load(lanes, blocks, slots=program.channel_slots) is not None
    assert taken > 1000, "the changes leave nothing to get through with"


BAD = {
    "an unknown instruction": [9, 1, 0],
    "the executor's own end of a loop": [9, 2, 0, 0],
    "no length": [int(Opcode.SYNC)],
    "a length of its own": [int(Opcode.SYNC), 2, 0],
    "an end in the middle": move(4, INPUT, OUTPUT)[:-1],
    "no sources": move(4, OUTPUT, sources=0),
    "no targets": move(4, INPUT, sources=1),
    "a negative length": move(-4, INPUT, OUTPUT),
    "a member too many": move(4, (SIZE, 0, 0, 0), OUTPUT),
    "a fourth buffer": move(4, (0, 3, 0, 0), OUTPUT),
    "a negative offset": move(4, (0, 0, -4, 0), OUTPUT),
    "packets outside scratch": move(4, (0, 0, 0, 1), OUTPUT),
    "packets that are not aligned": move(4, (0, 2, 4, 1), OUTPUT),
    "packets cut by pieces": loop(6, 2, 2, move(12, (0, 2, 0, 1), OUTPUT)),
    "scratch past its end": move(4, (0, 2, SCRATCH - 3, 0), OUTPUT),
    "packets past its end": move(8, (0, 2, SCRATCH - 8, 1), OUTPUT),
    "a last packet past its end": move(5, (0, 2, SCRATCH - 8, 1), OUTPUT),
    "an offset past 64 bits": move(2**62 + 4096, (0, 2, 2**63 - 8, 1), OUTPUT),
    "a length past 64 bits": move(2**63 - 1, (0, 2, 2**63 - 8, 1), OUTPUT),
    "slots past 64 bits": loop(2**50, 2**14, 2, move(2**62, (0, 2, 0, 0), OUTPUT)),
    "pieces past 64 bits": loop(2**60, 1, 2**20, move(8, INPUT, OUTPUT)),
    "an unknown operation": move(4, INPUT, INPUT, OUTPUT, sources=2, op=8),
    "bits of floats": move(4, INPUT, INPUT, OUTPUT, sources=2, op=int(ReduceOp.BAND)),
    "a part of an element": move(6, INPUT, INPUT, OUTPUT, sources=2),
    "pieces of parts of elements": loop(6, 1, 2, move(12, INPUT, INPUT, OUTPUT, sources=2)),
    "a divisor of 0": move(4, INPUT, OUTPUT, divisor=0),
    "a peer too many": signal(peer=SIZE),
    "a slot too many": signal(slot=2),
    "a negative slot": signal(slot=-1),
    "a loop past its end": [int(Opcode.LOOP), 5, 0, 4, 1, 1, 9, *move(4, INPUT, OUTPUT)][:-4],
    "an instruction past its loop": [int(Opcode.LOOP), 5, 0, 4, 1, 1, 3, *move(4, INPUT, OUTPUT)],
    "a semaphore too many": [int(Opcode.ACQUIRE), 2, 0, 2],
    "a barrier too many": [int(Opcode.BARRIER), 3, 0, 1024, 1],
    "a barrier of nobody": [int(Opcode.BARRIER), 3, 0, 0, 0],
    "more signals than a counter holds": loop(4, 1, 2**20, signal()),
    "more signals in nested loops": loop(4, 1, 2**15, loop(4, 1, 2**15, signal(opcode=Opcode.WAIT))),
    "more signals to all": loop(4, 1, 2**20, signal(common=1)),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_program_is_refused(lanes: Lanes, what: str) -> None:
    assert load(lanes, [BAD[what]]) is None


@pytest.mark.parametrize("words", [move(8, (0, 2, 76, 0), OUTPUT), move(4, (0, 2, 0, 1), OUTPUT)])
def test_scratch_beyond_what_it_was_said_to_reach_is_refused(lanes: Lanes, words: list[int]) -> None:
    """So little lies elsewhere, and not in packets."""
    assert load(lanes, [move(4, (0, 2, 76, 0), OUTPUT)], scratch_reach=80) is not None
    with pytest.raises(ValueError, match="ends outside the"):
        _native.Program(lanes.lanes[0], [words], [], int(DType.INT32), 1, False, False, True, 80)


def test_loops_nested_too_deeply_are_refused(lanes: Lanes) -> None:
    words = move(4, INPUT, OUTPUT)
    for depth in range(12):
        assert (load(lanes, [words]) is not None) == (depth <= 8), depth
        words = loop(4, 1, 1, words)


def test_a_semaphore_does_not_begin_below_0(lanes: Lanes) -> None:
    assert load(lanes, [[]], semaphores=[-1]) is None


def test_the_most_signals_that_a_counter_holds_arrive() -> None:
    """Far more pieces than any call of today has, in launches of even and of odd number."""
    lanes = Lanes(2)
    bodies = (signal(peer=1), signal(peer=0, opcode=Opcode.WAIT))

    def body(rank: int) -> list[int]:
        lane, words = lanes.lanes[rank], loop(4, 1, 2**20 - 1, bodies[rank])
        program = _native.Program(lane, [words], [], int(DType.INT32), 1, False, False, True, 4096)
        run = executable(lane, program, count=0, dtype=DType.INT32)
        return [run.run(0, 0, 0, 0, 50 * SECOND) for _ in range(3)]

    assert on_threads([lambda: body(0), lambda: body(1)]) == [[0, 0, 0], [0, 0, 0]]


def copy_program(lanes: Lanes, rank: int, nbytes: int = 64) -> _native.Program:
    words = move(nbytes, (rank, 0, 0, 0), (rank, 1, 0, 0))
    return _native.Program(lanes.lanes[rank], [words], [], int(DType.INT32), 1, False, False, True, 4096)


def test_buffers_that_are_too_short_are_refused_before_anything_happens() -> None:
    lanes = Lanes(1)
    run = executable(lanes.lanes[0], copy_program(lanes, 0), count=16, dtype=DType.INT32)
    x, y = np.arange(16, dtype=np.int32), np.zeros(16, np.int32)
    for source, target in ((0, 64), (63, 64), (64, 0), (64, 63)):
        with pytest.raises(RuntimeError, match="bytes"):
            run.run(x.ctypes.data, source, y.ctypes.data, target, SECOND)
    assert not y.any()
    assert lanes.lanes[0].launch == 0
    assert run.run(*address(x), *address(y), SECOND) == 0
    assert (y == x).all()


@pytest.mark.parametrize("timeout", [0, -1, -(2**63)])
def test_a_deadline_in_the_past_is_refused(timeout: int) -> None:
    lanes = Lanes(1)
    run = executable(lanes.lanes[0], copy_program(lanes, 0, 0), count=0, dtype=DType.INT32)
    with pytest.raises(RuntimeError, match="timeout"):
        run.run(0, 0, 0, 0, timeout)


def test_a_program_runs_on_the_lane_that_it_was_decoded_for() -> None:
    lanes = Lanes(2)
    for other in (Lanes(3), Lanes(2, scratch=1 << 17)):
        with pytest.raises(ValueError, match="another lane"):
            executable(lanes.lanes[0], copy_program(other, 0), count=16, dtype=DType.INT32)
    with pytest.raises(ValueError, match="another lane"):
        executable(lanes.lanes[0], copy_program(lanes, 1), count=16, dtype=DType.INT32)


def test_the_program_for_any_buffers_reaches_no_peer() -> None:
    lane = Lanes(2).lanes[0]
    program = _native.Program(lane, [move(4, (1, 0, 0, 0), OUTPUT)], [], int(DType.INT32), 1, True, False, True, 4096)
    with pytest.raises(ValueError, match="peers' buffers"):
        executable(lane, program, count=1, dtype=DType.INT32)


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_lane_knows_its_ranks(rank: int) -> None:
    arena = _native.Arena(1 << 20)
    with pytest.raises(ValueError, match="rank"):
        _native.Lane(rank, [(arena.base, arena.base, 0)] * 2, arena.nbytes, 4096, 0, 0, 0)


def test_a_lane_that_was_left_runs_nothing() -> None:
    lanes = Lanes(2)
    run = lanes.load(0, next(a for a in provide() if a.collective == "barrier").build(2), 0)
    assert not lanes.lanes[0].deserted()
    for lane in lanes.lanes:
        lane.leave()
        lane.leave()
    with pytest.raises(RuntimeError, match="closed"):
        run.run(0, 0, 0, 0, SECOND)
    assert all(lane.deserted() for lane in lanes.lanes)


def test_a_lane_to_a_process_that_has_ended_knows_it() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(30)
    arena = _native.Arena(1 << 20)
    part = -(-_native.lane_bytes(2, 4096) // 4096) * 4096
    members = [(arena.base, arena.base, os.getpid()), (arena.base + part, arena.base, child.pid)]
    lane = _native.Lane(0, members, arena.nbytes, 4096, 0, 0, 0)
    program = _native.Program(lane, [signal(opcode=Opcode.WAIT)], [], int(DType.INT32), 1, False, False, True, 4096)
    run = executable(lane, program, count=0, dtype=DType.INT32)
    assert run.run(0, 0, 0, 0, 50 * SECOND) == 2
    assert lane.failure()[:2] == (2, 1)
    assert lane.reports(1)[1][0] == "dead"


def test_a_member_that_has_done_its_part_may_leave_while_others_are_at_it() -> None:
    """Rank 0 leaves, while rank 1 sleeps until rank 2 signals at last: nobody is missing."""
    lanes = Lanes(3)
    slow = loop(1, 1, 2**27, [int(Opcode.SYNC), 1, 0])
    words = {
        0: signal(peer=2, opcode=Opcode.WAIT),
        1: signal(peer=2, opcode=Opcode.WAIT),
        2: signal(peer=0) + slow + signal(peer=1),
    }
    memory = np.zeros(1 << 16, np.uint8)  # so much that the interpreter is left to others from the start
    left = []

    def body(rank: int) -> int:
        lane = lanes.lanes[rank]
        program = _native.Program(lane, [words[rank]], [], int(DType.INT32), 1, False, False, True, 4096)
        status = executable(lane, program, count=0, dtype=DType.INT32).run(*address(memory), 0, 0, 50 * SECOND)
        if rank == 0:
            lane.leave()
        left.append(rank)
        return status

    assert on_threads([lambda rank=rank: body(rank) for rank in range(3)]) == [0, 0, 0]
    assert left[0] == 0, "rank 0 did not end first, so that nothing was tested"
