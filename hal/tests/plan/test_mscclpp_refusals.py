"""Whatever is wrong with an MSCCL++ plan is one error that names the place in the file."""

import json

import pytest

from hal.interface.errors import PlanError
from hal.plan import import_mscclpp

from .mscclpp_documents import PIPELINE, document, imported, on, op, own, remote


def broken(change):
    raw = document([[op("copy", [own("i")], [own("o")]), on("signal", 0), on("wait", 0)]])
    change(raw, raw["gpus"][1], raw["gpus"][1]["threadblocks"][0]["ops"])
    with pytest.raises(PlanError) as error:
        import_mscclpp(json.dumps(raw))
    return error.value.message


OP = "gpus[1].threadblocks[0].ops"
BROKEN = {
    "no ranks": (lambda raw, gpu, ops: raw.update(gpus=[]), "gpus: there are none"),
    "an unknown key": (lambda raw, gpu, ops: gpu.update(input_chunk=1), "gpus[1]: unknown key 'input_chunk'"),
    "an obsolete key": (lambda raw, gpu, ops: gpu["channels"][2].update(buff="s"), "obsolete"),
    "a missing key": (lambda raw, gpu, ops: raw.pop("inplace"), "key 'inplace' is missing"),
    "another type": (lambda raw, gpu, ops: gpu.update(id="1"), "gpus[1].id: expected a whole number"),
    "a huge number": (lambda raw, gpu, ops: gpu.update(input_chunks=10**9), "gpus[1].input_chunks: expected"),
    "another rank": (lambda raw, gpu, ops: gpu.update(id=0), "gpus[1].id: rank 1 of the file has number 0"),
    "another block": (
        lambda raw, gpu, ops: gpu["threadblocks"][0].update(id=3),
        "gpus[1].threadblocks[0].id: block 0 of the file has number 3",
    ),
    "an unknown collective": (lambda raw, gpu, ops: raw.update(collective="allred"), "did you mean 'allreduce'?"),
    "a protocol": (lambda raw, gpu, ops: raw.update(protocol="LL128"), "protocol: unknown protocol 'LL128'"),
    "an odd alignment": (lambda raw, gpu, ops: raw.update(buffer_alignment=24), "buffer_alignment: allowed are powers"),
    "no such rank": (
        lambda raw, gpu, ops: gpu["channels"][0].update(connected_to=[2]),
        "gpus[1].channels[0].connected_to[0]: rank 2 does not exist: allowed are 0 to 1",
    ),
    "itself": (
        lambda raw, gpu, ops: gpu["remote_buffers"][1].update(rank=1),
        "gpus[1].remote_buffers[1].rank: rank 1 is this rank itself",
    ),
    "a group's size": (
        lambda raw, gpu, ops: gpu["channels"][2]["rank_groups"][0].update(size=3),
        "gpus[1].channels[2].rank_groups[0]: size is 3, but 2 ranks are listed",
    ),
    "a group without this rank": (
        lambda raw, gpu, ops: gpu["channels"][2]["rank_groups"][0].update(ranks=[0, 0]),
        "two or more different ranks, rank 1 among them",
    ),
    "another buffer of a group": (
        lambda raw, gpu, ops: gpu["channels"][2].update(buffer_type="i"),
        "gpus[1].channels: the switch channels of ranks 0, 1 are others, or of other buffers",
    ),
    "no such channel": (
        lambda raw, gpu, ops: gpu["threadblocks"][0]["channels"][1].update(channel_ids=[1]),
        "gpus[1].threadblocks[0].channels[1].channel_ids[0]: port channel 1 does not exist: allowed are 0 to 0",
    ),
    "no such buffer": (
        lambda raw, gpu, ops: gpu["threadblocks"][0]["remote_buffer_refs"][0].update(remote_buffer_ids=[3]),
        "gpus[1].threadblocks[0].remote_buffer_refs[0].remote_buffer_ids[0]: remote buffer 3 does not exist",
    ),
    "no such access": (
        lambda raw, gpu, ops: gpu["remote_buffers"][0].update(access_channel_types=["port"]),
        "remote buffer 0 has no memory access",
    ),
    "an unknown operation": (
        lambda raw, gpu, ops: ops[0].update(name="coppy"),
        f"{OP}[0].name: unknown operation 'coppy'",
    ),
    "an index": (
        lambda raw, gpu, ops: ops[0]["src_buff"][0].update(index=2),
        f"{OP}[0].src_buff[0]: chunks 2 to 2, but the input of rank 1 has 2",
    ),
    "no size": (lambda raw, gpu, ops: ops[0]["dst_buff"][0].update(size=0), f"{OP}[0].dst_buff[0]: size is 0"),
    "another size": (
        lambda raw, gpu, ops: ops[0]["dst_buff"][0].update(size=2),
        f"{OP}[0].dst_buff[0].size: all operands have the same size",
    ),
    "a remote copy": (
        lambda raw, gpu, ops: ops[0]["src_buff"].__setitem__(0, remote(0)),
        f"{OP}[0].src_buff[0]: copy has own memory here, which 'type' names, not 'buffer_id'",
    ),
    "an operand too many": (
        lambda raw, gpu, ops: ops[0]["src_buff"].append(own("i")),
        f"{OP}[0].src_buff[1]: copy has 1 operands here, not 2",
    ),
    "no operand": (lambda raw, gpu, ops: ops[0].pop("dst_buff"), f"{OP}[0].dst_buff: copy has 1 or more"),
    "packets in the output": (
        lambda raw, gpu, ops: ops[0].update(name="cpkt"),
        f"{OP}[0].dst_buff[0]: cpkt has packets here, which lie in scratch alone, not in output",
    ),
    "a put to nowhere": (
        lambda raw, gpu, ops: ops.append(op("put", [own("i")], [remote(0)])),
        f"{OP}[3].dst_buff[0]: key 'channel_type' of the operation is needed",
    ),
    "a buffer beyond": (
        lambda raw, gpu, ops: ops.append(op("put", [own("i")], [remote(3)], "memory")),
        f"{OP}[3].dst_buff[0].buffer_id: remote buffer of the block's memory list, 3 does not exist",
    ),
    "a get through a port": (
        lambda raw, gpu, ops: ops.append(op("get", [remote(0)], [own("i")], "port")),
        f"{OP}[3].channel_type: get does not go through a port channel",
    ),
    "a signalling put through memory": (
        lambda raw, gpu, ops: ops.append(op("pws", [own("i")], [remote(0)], "memory")),
        f"{OP}[3].channel_type: pws goes through a port channel, not memory",
    ),
    "a port put without its channel": (
        lambda raw, gpu, ops: ops.append(op("put", [own("i")] * 2, [remote(0), remote(1)], "port", channel_ids=[0])),
        f"{OP}[3].channel_ids: 1 channels for 2 destinations",
    ),
    "pairs that are none": (
        lambda raw, gpu, ops: ops.append(op("put", [own("i")] * 3, [remote(0)] * 2, "memory")),
        f"{OP}[3]: 3 sources for 2 destinations",
    ),
    "a block of no group": (
        lambda raw, gpu, ops: ops[0].update(tbg_info={"tb_id": 2, "tbg_size": 2}),
        f"{OP}[0].tbg_info.tb_id: block of the group 2 does not exist: allowed are 0 to 1",
    ),
    "a signal on nothing": (lambda raw, gpu, ops: ops[1].pop("channel_ids"), f"{OP}[1]: names no channel"),
    "a signal to a switch": (
        lambda raw, gpu, ops: ops[1].update(channel_type="switch"),
        f"{OP}[1].channel_type: signal goes through a memory or port channel, not switch",
    ),
    "a signal beyond": (
        lambda raw, gpu, ops: ops[1].update(channel_ids=[0, 1]),
        f"{OP}[1].channel_ids[1]: memory channel of the block 1 does not exist: allowed are 0 to 0",
    ),
    "an operation of no reduction": (
        lambda raw, gpu, ops: ops.append(op("re", [own("i")] * 2, [own("o")], reduce_op="mean")),
        f"{OP}[3].reduce_op: unknown reduction 'mean'",
    ),
    "a barrier of nobody": (lambda raw, gpu, ops: ops.append(op("barrier", barrier_id=0)), "'num_threadblocks'"),
    "a semaphore beyond": (
        lambda raw, gpu, ops: ops.append(op("sem_release", semaphore_ids=[2])),
        f"{OP}[3].semaphore_ids[0]: semaphore 2 does not exist: allowed are 0 to 1",
    ),
    "a semaphore that counts on": (
        lambda raw, gpu, ops: ops.append(op("sem_release", semaphore_ids=[1])),
        "gpus[1].semaphores[1]: a launch has 1 more releases than acquires: a count that lasts",
    ),
    "a pipeline of odd pieces": (
        lambda raw, gpu, ops: ops.append({**PIPELINE, "iter_context": {"unit_size": 100, "num_chunks": 1}}),
        f"{OP}[3].iter_context.unit_size: allowed are multiples of 64, not 100",
    ),
    "a pipeline in a pipeline": (
        lambda raw, gpu, ops: ops.append({**PIPELINE, "ops": [PIPELINE]}),
        f"{OP}[3].ops[0]: unknown key 'ops'",
    ),
    "a signal that is not waited for": (lambda raw, gpu, ops: ops.pop(), "1 signals outside of loops, but rank 1"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_is_said_with_its_place(what):
    change, expected = BROKEN[what]
    assert expected in broken(change)


def test_chunks_that_a_collective_does_not_have():
    with pytest.raises(PlanError, match=r"gpus\[0\].output_chunks: allgather has 4 here, not 2"):
        imported(collective="allgather")
    with pytest.raises(PlanError, match=r"gpus\[0\].input_chunks: alltoall has 2 or a multiple of it, not 3"):
        imported(collective="alltoall", chunks=(3, 3, 0))
    with pytest.raises(PlanError, match="inplace: input and output of custom are not equally long"):
        imported(inplace=True, chunks=(2, 3, 0))


@pytest.mark.parametrize(
    "text",
    [
        '{"gpus":' + "[" * 100_000,
        '{"gpus": [' + '{"id": 1e999}]}',
        '{"gpus": 1' + "0" * 5000 + "}",
        '{"gpus": 1000000000}',
        '{"name": "x", "collective": "custom", "protocol": "LL", "inplace": false, "gpus": [{"id": 0, '
        '"input_chunks": 1000000000, "output_chunks": 1, "scratch_chunks": 1, "threadblocks": []}]}',
        '{"gpus": [], "gpus": []}',
        '{"gpus": NaN}',
        "[]",
        "",
        b"\xff{}",
    ],
)
def test_hostile_text_is_refused(text):
    with pytest.raises(PlanError):
        import_mscclpp(text)


def test_a_plan_too_large_to_follow_is_imported_without_averages():
    reduce = [op("re", [own("i", 0, 1 << 18), own("s", 0, 1 << 18)], [own("o", 0, 1 << 18)])] * 20
    found = imported(reduce, chunks=(1 << 18,) * 3, collective="allreduce")
    assert "op avg is not served, and gives the sum: the plan is too large to be followed" in found.warnings
