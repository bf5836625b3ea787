import copy
import json
import logging

import numpy as np
import pytest

import hal.plan
from hal.interface.dtypes import ReduceOp
from hal.interface.errors import PlanError
from hal.plan import (
    Acquire,
    Barrier,
    BufferKind,
    Channel,
    ChannelKind,
    Flush,
    ImportOptions,
    Loop,
    Move,
    Post,
    Release,
    Signal,
    Span,
    Sync,
    Wait,
    import_mscclpp,
    load_plan,
    read_file,
    save,
)
from hal.reference import run

from .mscclpp_documents import PIPELINE, document, first_block, imported, on, op, own, remote, switch

INPUT, OUTPUT, SCRATCH = BufferKind
MEMORY, PORT, SWITCH = ChannelKind


NEXT = [Span(kind, 0, 1, peer=1) for kind in BufferKind]


def test_operations_that_move_data():
    block = first_block(
        op("copy", [own("i")], [own("o", 1)]),
        op("put", [own("i"), own("i", 1)], [remote(1), remote(2, 1)], "memory"),
        op("get", [remote(0)], [own("s")], "memory"),
        op("re", [own("i"), own("s"), own("s", 1)], [own("o")], reduce_op="sum"),
        op("rre", [own("i"), remote(0), remote(2)], [own("o")], "memory"),
        op("res", [own("i"), own("s")], [own("o"), remote(1)], "memory", reduce_op="max"),
        op("rres", [own("i"), remote(0)], [own("i"), remote(0)], "memory"),
    )
    i, o, s = (Span(kind, 0) for kind in BufferKind)
    assert block == (
        Move((Span(OUTPUT, 1),), (i,)),
        Move((NEXT[1],), (i,)),
        Move((Span(SCRATCH, 1, peer=1),), (Span(INPUT, 1),)),
        Move((s,), (NEXT[0],)),
        Move((o,), (i, s, Span(SCRATCH, 1))),
        Move((o,), (i, NEXT[0], NEXT[2])),
        Move((o, NEXT[1]), (i, s), ReduceOp.MAX),
        Move((i, NEXT[0]), (i, NEXT[0])),
    )
    assert block[0].source == "plan:gpus[0].threadblocks[0].ops[0]"


def test_operations_on_packets():
    block = first_block(
        op("ppkt", [own("i")], [remote(2)], "memory"),
        op("cpkt", [own("i")], [own("s", 1)]),
        op("upkt", [own("s")], [own("o")]),
        op("rppkt", [own("s")], [remote(2), remote(2, 1)], "memory"),
        op("repkt", [own("i"), own("s"), own("s", 1)], [own("o")]),
        op("respkt", [own("i"), own("s")], [own("o"), remote(2)], "memory"),
        op("recpkt", [own("i"), own("s")], [own("o"), own("s", 1)]),
        op("recspkt", [own("i"), own("s")], [own("o"), own("s", 1), remote(2)], "memory"),
    )
    i, o = Span(INPUT, 0), Span(OUTPUT, 0)
    mine, other, there = (
        Span(SCRATCH, 0, packet=True),
        Span(SCRATCH, 1, packet=True),
        Span(SCRATCH, 0, peer=1, packet=True),
    )
    assert block == (
        Move((there,), (i,)),
        Move((other,), (i,)),
        Move((o,), (mine,)),
        Move((there, Span(SCRATCH, 1, peer=1, packet=True)), (mine,)),
        Move((o,), (mine, other, i)),
        Move((o, there), (mine, i)),
        Move((o, other), (mine, i)),
        Move((o, other, there), (mine, i)),
    )


def test_operations_on_a_switch():
    block = first_block(
        op("glres", [switch()], [switch(1)], "switch", reduce_op="sum"),
        op("gstore", [own("i")], [switch(1)], "switch"),
        op("gstorepkt", [own("i")], [switch()], "switch"),
    )
    assert block == (
        Move((Span(SCRATCH, 1, switch=2),), (Span(SCRATCH, 0, switch=2),)),
        Move((Span(SCRATCH, 1, switch=2),), (Span(INPUT, 0),)),
        Move((Span(SCRATCH, 0, switch=2, packet=True),), (Span(INPUT, 0),)),
    )


def test_operations_on_ports():
    plan = imported(
        [
            op("put", [own("i")], [remote(2)], "port", channel_ids=[0], tbg_info={"tb_id": 1, "tbg_size": 2}),
            op("pws", [own("i")], [remote(2, 1)], "port", channel_ids=[0]),
            op("pwsf", [own("i")], [remote(1)], "port", channel_ids=[0]),
            on("signal", 0, kind="port"),
            on("wait", 0, kind="port"),
            on("wait", 0, kind="port"),
            on("wait", 0, kind="port"),
            on("flush", 0, kind="port"),
            op("rppkt", [own("s")], [remote(2, 1)], "port", channel_ids=[0]),
        ]
    )
    i = Span(INPUT, 0)
    assert plan.plan.ranks[0].blocks[0] == (
        Post(1, Span(SCRATCH, 0), i, part=1, parts=2),
        Post(1, Span(SCRATCH, 1), i, signal=True),
        Post(1, Span(OUTPUT, 0), i, signal=True, flush=True),
        Signal((1,)),
        *[Wait((1,))] * 3,
        Flush(1),
        Post(1, Span(SCRATCH, 1, packet=True), Span(SCRATCH, 0, packet=True)),
    )


def test_operations_that_order():
    blocks = [
        [op("nop"), op("barrier", barrier_id=3, num_threadblocks=2), on("rlxsignal", 0), on("rlxwait", 0)],
        [
            op("barrier", barrier_id=3, num_threadblocks=2),
            op("sem_acquire", semaphore_ids=[1, 1]),
            op("sem_release", semaphore_ids=[1, 1]),
        ],
    ]
    plan = imported(*blocks).plan
    assert plan.ranks[0].blocks == (
        (Sync(), Barrier(3, 2), Signal((0,), relaxed=True), Wait((0,), relaxed=True)),
        (Barrier(3, 2), Acquire(1), Acquire(1), Release(1), Release(1)),
    )
    assert plan.ranks[0].semaphores == (0, 3)


def test_a_pipeline_is_a_loop_over_scratch_as_long_as_the_data():
    body = (Move((Span(SCRATCH, 0),), (Span(INPUT, 0),)), Sync())
    assert first_block(PIPELINE) == (Loop(64, body, slots=0),)


@pytest.mark.parametrize(("double", "chunk"), [(False, 64 << 20), (True, 32 << 20)])
def test_reused_scratch_is_a_ring(double, chunk):
    pipeline = copy.deepcopy(PIPELINE)
    pipeline["iter_context"]["unit_size"] = 1 << 20
    found = imported([pipeline], chunks=(2, 2, 1), reuse_resources=True, use_double_scratch_buffer=double)
    assert found.plan.scratch_chunk_bytes == chunk
    assert found.plan.ranks[0].blocks[0][0].slots == chunk >> 20


def test_groups_of_blocks_share_a_move():
    block = first_block(op("copy", [own("i", 0, 2)], [own("o", 0, 2)], tbg_info={"tb_id": 1, "tbg_size": 3}))
    assert block == (Move((Span(OUTPUT, 0, 2),), (Span(INPUT, 0, 2),), part=1, parts=3),)


def test_reverse_ends_that_are_missing_are_added_behind_the_others():
    raw = document([[]])
    raw["gpus"][1]["channels"] = [{"channel_type": "port", "connected_to": [0]}]
    raw["gpus"][0]["channels"] = [{"channel_type": "memory", "connected_to": [1, 1]}]
    for gpu in raw["gpus"]:
        gpu["threadblocks"] = []
    plan = import_mscclpp(json.dumps(raw)).plan
    assert plan.ranks[0].channels == (Channel(MEMORY, (1,)), Channel(MEMORY, (1,)), Channel(PORT, (0 + 1,)))
    assert plan.ranks[1].channels == (Channel(PORT, (0,)), Channel(MEMORY, (0,)), Channel(MEMORY, (0,)))


@pytest.mark.parametrize(
    ("collective", "chunks", "label", "split"),
    [
        ("allreduce", (3, 3, 0), "all_reduce", 3),
        ("allgather", (2, 4, 0), "all_gather", 2),
        ("reducescatter", (4, 2, 0), "reduce_scatter", 2),
        ("alltoall", (6, 6, 0), "all_to_all", 3),
        ("sendrecv", (2, 2, 0), "custom", 2),
        ("test", (4, 6, 1), "custom", 2),
        ("custom", (0, 6, 1), "custom", 6),
    ],
)
def test_collectives(collective, chunks, label, split):
    plan = imported(chunks=chunks, collective=collective).plan
    assert (plan.collective, plan.split, plan.even, plan.align) == (label, split, True, 16)
    assert (plan.aliased, plan.in_place) == (False, False)


def test_in_place_plans_are_aliased():
    assert imported(collective="allreduce", inplace=True).plan.aliased
    assert imported(collective="alltoall", inplace=True).plan.aliased


def test_sums_are_the_reduction_of_the_call_where_the_collective_has_one():
    reduce = op("re", [own("i"), own("s")], [own("o")])
    assert first_block(reduce, collective="allreduce")[0].op is None
    assert first_block(reduce, chunks=(1, 2, 1), collective="allgather")[0].op is ReduceOp.SUM


def test_what_a_file_says_beside_its_plan():
    found = imported(min_message_size=1024, max_message_size=4096)
    assert [found.serves(n) for n in (1023, 1024, 4096, 4097)] == [False, True, True, False]
    assert imported(max_message_size=2**64 - 1).max_message_size is None


def test_options():
    get = op("get", [remote(2, 1)], [own("s", 0)], "memory")
    assert first_block(get)[0].src == (Span(SCRATCH, 1, peer=1),)
    swapped = first_block(get, options=ImportOptions(swap_get_offsets=True))
    assert swapped == (Move((Span(SCRATCH, 1),), (Span(SCRATCH, 0, peer=1),)),)
    flush = on("flush", 0, kind="port")
    assert first_block(flush) == (Flush(1),)
    assert first_block(flush, options=ImportOptions(ignore_flush=True)) == ()
    reduce = op("re", [own("i"), own("s")], [own("o")], reduce_op="min")
    assert first_block(reduce)[0].op is ReduceOp.MIN
    assert first_block(reduce, options=ImportOptions(always_sum=True))[0].op is ReduceOp.SUM


def test_the_move_that_completes_a_reduction_is_where_an_average_is_divided():
    blocks = [
        [
            op("ppkt", [own("i", 0, 2)], [remote(2, 0, 2)], "memory"),
            op("nop"),
            op("repkt", [own("i", 0, 2), own("s", 0, 2)], [own("s", 4, 2)], tbg_info={"tb_id": 0, "tbg_size": 2}),
            op("repkt", [own("i", 0, 2), own("s", 0, 2)], [own("s", 4, 2)], tbg_info={"tb_id": 1, "tbg_size": 2}),
            op("nop"),
            op("copy", [own("s", 4, 2)], [own("o", 0, 2)]),
        ]
    ]
    found = imported(*blocks, chunks=(2, 2, 6), collective="allreduce")
    assert found.warnings == ()
    assert [m.final for m in found.plan.ranks[1].blocks[0] if isinstance(m, Move)] == [False, True, True, False]
    inputs = [np.array([7, -8, 9, 2] * 4, np.int16), np.array([2, -7, 1, 2] * 4, np.int16)]
    outputs = run(found.plan, inputs, op="avg").outputs
    assert all((output == [4, -7, 5, 2] * 4).all() for output in outputs)


def test_an_average_that_cannot_be_placed_is_warned_of():
    half = [
        op("ppkt", [own("i")], [remote(2)], "memory"),
        op("nop"),
        # one half of the result is of both ranks, the other of this one twice
        op("cpkt", [own("i", 1)], [own("s", 1)]),
        op("nop"),
        op("repkt", [own("i", 0, 2), own("s", 0, 2)], [own("o", 0, 2)]),
    ]
    found = imported(half, collective="allreduce")
    (warning,) = found.warnings
    assert warning.startswith("op avg is not served, and gives the sum: rank ")
    assert warning.endswith(", block 0: one move completes a part of what it moves")
    assert not any(m.final for m in found.plan.ranks[0].blocks[0] if isinstance(m, Move))


def test_limits_of_the_other_executor_are_warned_of():
    many = [op("nop")] * 65
    wide = [op("re", [own("i")] * 11, [own("o")])]
    raw = document([many, wide])
    raw["gpus"][0]["threadblocks"][0]["channels"] = [{"channel_type": "memory", "channel_ids": [0] * 17}]
    raw["gpus"][0]["threadblocks"][1]["ops"] += [
        op("signal", kind="memory", channel_ids=[0] * 9),
        op("wait", kind="memory", channel_ids=[0] * 9),
        op("barrier", barrier_id=16, num_threadblocks=1),
    ]
    raw["gpus"][1]["threadblocks"][1]["ops"] += [on("signal", *[0] * 9), on("wait", *[0] * 9)]
    warnings = import_mscclpp(json.dumps(raw)).warnings
    at = "gpus[0].threadblocks"
    for expected in (
        f"{at}[0].ops: the executor of MSCCL++ takes 64 operations a block, not 65",
        f"{at}[0].channels: the executor of MSCCL++ takes 16 memory channels a block, not 17",
        f"{at}[1].ops[0].src_buff: the executor of MSCCL++ takes 10 buffers an operation, not 11",
        f"{at}[1].ops[1].channel_ids: the executor of MSCCL++ takes 8 channels an operation, not 9",
        f"{at}[1].ops[3].barrier_id: the executor of MSCCL++ has 16 barriers, 0 to 15",
        f"{at}[1].ops[1]: signal after re without a nop: the executor of MSCCL++ does not wait for all threads",
    ):
        assert expected in warnings


def test_load_tells_the_forms_apart(tmp_path, caplog):
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(document([[op("nop")] * 65])))
    with caplog.at_level(logging.WARNING, "hal.plan"):
        plan = load_plan(file)
    assert f"{file}: gpus[0].threadblocks[0].ops: the executor" in caplog.text
    assert plan == import_mscclpp(file).plan == import_mscclpp(str(file)).plan
    save(plan, tmp_path / "own.json")
    assert read_file(tmp_path / "own.json") == hal.plan.Imported(plan)
    with pytest.raises(PlanError, match=r"own\.json: no MSCCL"):
        import_mscclpp(tmp_path / "own.json")
    with pytest.raises(PlanError, match=r"none\.json: cannot be read"):
        import_mscclpp(tmp_path / "none.json")
