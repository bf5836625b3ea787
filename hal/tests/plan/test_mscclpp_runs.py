"""Imported plans that use what the files of MSCCL++'s own tests do not, under many schedules of the reference."""

import copy
import json

import numpy as np
import pytest

from hal.plan import import_mscclpp
from hal.plan.mscclpp import translation
from hal.plan.verify import verify
from hal.reference import run

from .mscclpp_documents import document, imported, on, op, own, remote, switch

MEET = [on("signal", 0), on("wait", 0), op("nop")]


def values(rank, count):
    return np.random.default_rng(rank).integers(-99, 99, count).astype(np.int32)


def check(plan, count, expected, **more):
    assert verify(plan).ok
    inputs = [values(rank, count * r.input_chunks // plan.split) for rank, r in enumerate(plan.ranks)]
    for seed in range(6):
        result = run(plan, inputs, schedule=seed, max_pieces=3, launches=3, **more)
        for outputs in result.launches:
            for rank, output in enumerate(outputs):
                assert np.array_equal(output, expected(inputs, rank)), seed


def test_halves_are_put_through_a_port():
    def half(name, number):
        group = {"tb_id": number, "tbg_size": 2}
        return op(name, [own("i")], [remote(1)], "port", channel_ids=[0], tbg_info=group)

    flushed = [on("flush", 0, kind="port"), on("wait", 0, kind="port"), op("nop")]
    found = imported([*MEET, half("put", 0), half("pws", 1), *flushed], chunks=(1, 1, 0))
    check(found.plan, 12, lambda inputs, rank: inputs[1 - rank])


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("count", [16, 40, 128])
def test_a_pipeline_through_scratch(monkeypatch, reused, count):
    monkeypatch.setattr(translation, "REUSED_SCRATCH", 256)  # two chunks of two pieces
    body = [
        op("put", [own("i", 0, 2)], [remote(2, 0, 2)], "memory"),
        op("nop"),
        *MEET,
        op("re", [own("i", 0, 2), own("s", 0, 2)], [own("o", 0, 2)]),
        op("nop"),
        *MEET,
    ]
    pipeline = op("pipeline", iter_context={"unit_size": 64, "num_chunks": 2}, ops=body)
    found = imported([*MEET, pipeline], chunks=(2, 2, 2), collective="allreduce", reuse_resources=reused)
    assert found.warnings == ()
    assert found.plan.ranks[0].blocks[0][-1].slots == (2 if reused else 0)
    check(found.plan, count, lambda inputs, rank: inputs[0] + inputs[1])
    check(found.plan, count, lambda inputs, rank: np.trunc((inputs[0] + inputs[1]) / 2).astype(np.int32), op="avg")


def test_packets_through_a_port_and_a_switch():
    block = [
        op("cpkt", [own("i")], [own("s", 0)]),
        op("rppkt", [own("s", 0)], [remote(2, 1)], "port", channel_ids=[0]),
        op("repkt", [own("i"), own("s", 1)], [own("o")]),
    ]
    found = imported(block, chunks=(1, 1, 2), collective="allreduce")
    check(found.plan, 20, lambda inputs, rank: inputs[0] + inputs[1])

    raw = document([[]], ranks=3, chunks=(1, 3, 3), collective="allgather")
    for rank, gpu in enumerate(raw["gpus"]):
        block = gpu["threadblocks"][0]
        block["ops"] = [
            op("gstorepkt", [own("i")], [switch(rank)], "switch"),
            op("upkt", [own("s", 0, 3)], [own("o", 0, 3)]),
        ]
    check(import_mscclpp(json.dumps(raw)).plan, 20, lambda inputs, rank: np.concatenate(inputs))


def test_reduce_scatter_in_place_through_a_switch():
    raw = document([[]], ranks=4, chunks=(4, 1, 0), collective="reducescatter", inplace=True, protocol="Simple")
    for rank, gpu in enumerate(raw["gpus"]):
        gpu["channels"][2]["buffer_type"] = "i"
        others = [r for r in range(4) if r != rank]
        gpu["channels"][0]["connected_to"] = others
        block = gpu["threadblocks"][0]
        block["channels"] = [
            {"channel_type": "memory", "channel_ids": [0, 1, 2]},
            {"channel_type": "switch", "channel_ids": [0]},
        ]
        meet = [op("nop"), on("signal", 0, 1, 2), on("wait", 0, 1, 2), op("nop")]
        reduce = op("glres", [switch(rank)], [switch(rank)], "switch")
        block["ops"] = [*meet, reduce, *copy.deepcopy(meet)]
    found = import_mscclpp(json.dumps(raw))
    assert found.warnings == ()
    check(found.plan, 8, lambda inputs, rank: sum(inputs)[8 * rank : 8 * rank + 8])
