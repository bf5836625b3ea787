"""Plans of MSCCL++: right on the reference under many schedules, and on the host backend to the same bits."""

from __future__ import annotations

import functools
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

import hal.reference
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import PlanError, UsageError
from hal.plan import Imported, Plan, import_mscclpp, read_file
from hal_collectives import Communicator, run_local

from .oracle import difference, pool, reduced
from .verdicts import CORRECT, RACY, REFUSED, plan_path

Array = NDArray[Any]
UNITS = [0, 1, 2, 5, 33]
"""Lengths of a chunk, in units of the alignment."""
SHAPES = {
    # blocks of each rank, instructions of all, chunks of input, output and scratch
    "allreduce": ((8, 8), 112, (16, 16, 0)),
    "allreduce_packet": ((2, 2), 8, (4, 4, 4)),
    "reduce": ((1, 1), 31, (4, 4, 4)),
    "reduce_nvls": ((1, 1), 22, (2, 2, 0)),
    "reduce_nvls_pipeline": ((1, 1), 22, (2, 2, 0)),
    "reduce_pack": ((3, 3), 6, (2, 2, 3)),
    "reduce_pack_tbg": ((6, 6), 12, (2, 2, 3)),
    "reduce_tbg": ((2, 2), 62, (4, 4, 4)),
    "transfer_pack": ((2, 3), 5, (1, 2, 2)),
    "transfer_pack_tbg": ((4, 6), 10, (1, 2, 2)),
}


def imported(name: str) -> Plan:
    return read_file(plan_path(name)).plan


def in_short_pieces(name: str) -> Plan:
    """The plan with pipelines of many pieces, also for short data."""
    text = plan_path(name).read_text()
    return import_mscclpp(text.replace('"unit_size": 1048576', '"unit_size": 64')).plan


def inputs_of(plan: Plan, units: int, dtype: DType) -> list[Array]:
    chunk = units * plan.align // dtype.itemsize
    return [pool(dtype, rank, False)[: part.input_chunks * chunk] for rank, part in enumerate(plan.ranks)]


def wanted(plan: Plan, inputs: list[Array], dtype: DType, op: ReduceOp) -> Array:
    if plan.collective == "all_gather":
        return np.concatenate(inputs)
    return reduced(inputs, dtype, op, plan.size)


@pytest.mark.parametrize("name", SHAPES)
def test_the_structure_of_every_file(name: str) -> None:
    found: Imported = read_file(plan_path(name))
    plan = found.plan
    blocks, instructions, chunks = SHAPES[name]
    first = plan.ranks[0]
    assert (plan.size, plan.aliased, plan.even, plan.align) == (2, True, True, 16)
    assert plan.collective == ("all_gather" if name.startswith("transfer") else "all_reduce")
    assert tuple(len(rank.blocks) for rank in plan.ranks) == blocks
    assert sum(len(block) for rank in plan.ranks for block in rank.blocks) == instructions
    assert (first.input_chunks, first.output_chunks, first.scratch_chunks) == chunks
    assert (found.warnings, found.min_message_size, found.max_message_size) == ((), 0, None)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(PlanError, match=REFUSED[name]):
        imported(name)


def check_schedules(name: str, lengths: list[int], seeds: range) -> None:
    plan = in_short_pieces(name)
    for dtype, op in ((DType.INT32, ReduceOp.SUM), (DType.UINT8, ReduceOp.MAX), (DType.INT64, ReduceOp.AVG)):
        for units in lengths:
            inputs = inputs_of(plan, units, dtype)
            expected = wanted(plan, inputs, dtype, op)
            for seed in seeds:
                run = hal.reference.run(plan, inputs, op=op, schedule=seed, max_pieces=4, launches=3)
                for outputs in run.launches:
                    assert all(np.array_equal(output, expected) for output in outputs), (dtype, op, units, seed)


@pytest.mark.parametrize("name", CORRECT)
def test_the_reference_agrees_with_numpy_under_some_schedules(name: str) -> None:
    check_schedules(name, [0, 5, 33], range(2 if name == "allreduce" else 4))


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRECT)
def test_the_reference_agrees_with_numpy_under_many_schedules(name: str) -> None:
    check_schedules(name, UNITS, range(100, 105 if name == "allreduce" else 115))


@pytest.mark.parametrize("name", RACY)
def test_a_race_shows_as_a_wrong_result_under_some_schedule(name: str) -> None:
    plan = imported(name)
    inputs = inputs_of(plan, 3, DType.INT32)
    expected = wanted(plan, inputs, DType.INT32, ReduceOp.SUM)
    runs = [hal.reference.run(plan, inputs, schedule=seed, max_pieces=4, launches=3) for seed in range(30)]
    assert any(not np.array_equal(output, expected) for run in runs for output in run.outputs)


def pinned(name: str) -> dict[str, Any]:
    plan = imported(name)
    return {f"algorithms__{plan.collective}": [{"plan": str(plan_path(name))}]}


@functools.cache
def reference(plan: Plan, units: int, dtype: DType, op: ReduceOp) -> list[Array]:
    return hal.reference.run(plan, inputs_of(plan, units, dtype), op=op).outputs


HOST_OPS = [ReduceOp.SUM, ReduceOp.PROD, ReduceOp.MIN, ReduceOp.AVG]


def call(comm: Communicator, plan: Plan, units: int, dtype: DType, op: ReduceOp, form: str) -> Array:
    """Make a call of a plan's collective; `form` says in what memory, and whether in place."""
    x = inputs_of(plan, units, dtype)[comm.rank]
    empty = comm.empty if "registered" in form else np.empty
    room = empty(x.size * (plan.size if plan.collective == "all_gather" else 1), dtype.numpy)
    room.view(np.uint8)[...] = 0xA5
    if plan.collective == "all_gather":
        own = room[comm.rank * x.size : (comm.rank + 1) * x.size]
        own[:] = x
        comm.all_gather(own if "in place" in form else x, room)
    elif "in place" in form:
        room[:] = x
        comm.all_reduce(room, op=op.label)
    else:
        source = empty(x.size, dtype.numpy)
        source[:] = x
        comm.all_reduce(source, room, op=op.label)
        assert source.tobytes() == x.tobytes(), "the input is the caller's"
    return room


FORMS = ["registered, in place", "registered", "plain, in place", "plain"]


@pytest.mark.parametrize("name", CORRECT)
def test_the_host_gives_the_bits_of_the_reference(name: str) -> None:
    plan = imported(name)
    cases = [(dtype, op) for dtype in DType for op in HOST_OPS if plan.collective == "all_reduce" or op == 0]

    def body(comm: Communicator) -> None:
        for number, (dtype, op) in enumerate(cases):
            units = UNITS[number % len(UNITS)]
            for form in FORMS:
                for launch in range(3):
                    got = call(comm, plan, units, dtype, op, form)
                    problem = difference(got, reference(plan, units, dtype, op)[comm.rank], dtype)
                    assert problem is None, f"{dtype.label} {op.label} {form} {launch}: {problem}"

    run_local(plan.size, body, timeout=20, **pinned(name))


@pytest.mark.parametrize("name", ["allreduce", "reduce_nvls", "reduce_nvls_pipeline"])
def test_a_plan_that_reaches_buffers_of_others_runs_where_they_are_registered(name: str) -> None:
    plan = imported(name)

    def body(comm: Communicator) -> list[bool]:
        ran = []
        for form in FORMS:
            call(comm, plan, 5, DType.FLOAT32, ReduceOp.SUM, form)
            (executable,) = comm._caller.calls._kept.values()
            ran.append(executable.inner.native.ran_mapped)  # type: ignore[attr-defined]  # of the host
        return ran

    assert run_local(plan.size, body, timeout=20, **pinned(name)) == [[True, True, False, False]] * plan.size


def test_a_pipeline_of_many_pieces_on_the_host(tmp_path: Any) -> None:
    file = tmp_path / "pieces.json"
    text = plan_path("reduce_nvls_pipeline").read_text()
    file.write_text(text.replace('"unit_size": 1048576', '"unit_size": 64'))
    plan = read_file(file).plan

    def body(comm: Communicator) -> None:
        got = call(comm, plan, 33, DType.INT16, ReduceOp.SUM, "registered")
        assert np.array_equal(got, reference(plan, 33, DType.INT16, ReduceOp.SUM)[comm.rank])

    run_local(plan.size, body, timeout=20, algorithms__all_reduce=[{"plan": str(file)}])


def test_repeated_calls_that_need_no_copies_are_remembered() -> None:
    plan = imported("reduce_pack")

    def body(comm: Communicator) -> None:
        x = comm.empty(64, np.int32)
        for _ in range(3):
            x[:] = comm.rank + 1
            comm.all_reduce(x)
            assert (x == 3).all()
        with mock.patch.object(comm.caller, "call", side_effect=AssertionError("not remembered")):
            comm.all_reduce(x)
            with pytest.raises(AssertionError, match="not remembered"):
                comm.all_reduce(np.ones(64, np.int32), np.ones(64, np.int32))

    run_local(plan.size, body, timeout=20, **pinned("reduce_pack"))


def test_calls_at_a_later_time() -> None:
    def body(comm: Communicator) -> None:
        outs = [np.empty(64, np.int32) for _ in range(4)]
        xs = [np.full(64, n + comm.rank, np.int32) for n in range(4)]
        pending = [comm.all_reduce(x, out, async_op=True) for x, out in zip(xs, outs, strict=True)]
        for n, (work, out) in enumerate(zip(pending, outs, strict=True)):
            work.wait()
            assert (out == 2 * n + 1).all()

    run_local(2, body, timeout=20, **pinned("allreduce_packet"))


def test_a_count_that_the_plan_does_not_serve() -> None:
    def body(comm: Communicator) -> None:
        with pytest.raises(UsageError, match=r"allowed are multiples of 16, the nearest are 16 and 32"):
            comm.all_reduce(np.ones(20, np.float32))
        assert (comm.all_reduce(np.ones(32, np.float32)) == 2).all()

    run_local(2, body, timeout=20, **pinned("allreduce_packet"))
