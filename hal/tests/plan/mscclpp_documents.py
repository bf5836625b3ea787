"""MSCCL++ plans written for tests, piece by piece."""

import copy
import json

from hal.plan import import_mscclpp


def own(kind, index=0, size=1):
    return {"type": kind, "index": index, "size": size}


def remote(number, index=0, size=1):
    return {"buffer_id": number, "index": index, "size": size}


def switch(index=0, size=1, channel=0):
    return {"switch_channel_id": channel, "index": index, "size": size}


def op(name, src=(), dst=(), kind=None, **more):
    found = {"name": name, **more}
    if src:
        found["src_buff"] = list(src)
    if dst:
        found["dst_buff"] = list(dst)
    if kind is not None:
        found["channel_type"] = kind
    return found


def on(name, *channels, kind="memory"):
    return op(name, kind=kind, channel_ids=list(channels))


def document(blocks, ranks=2, *, chunks=(2, 2, 2), **more):
    """A plan in which every rank has the same blocks, channels of every type to the next, and refs to its buffers."""
    gpus = []
    for rank in range(ranks):
        peer = (rank + 1) % ranks
        everyone = {"size": ranks, "ranks": list(range(ranks))}
        references = [{"rank": peer, "type": t, "access_channel_types": ["memory", "port"]} for t in "ios"]
        lists = [{"channel_type": t, "channel_ids": [0]} for t in ("memory", "port", "switch")]
        reached = [{"access_channel_type": t, "remote_buffer_ids": [0, 1, 2]} for t in ("memory", "port")]
        gpus.append(
            {
                "id": rank,
                "input_chunks": chunks[0],
                "output_chunks": chunks[1],
                "scratch_chunks": chunks[2],
                "channels": [
                    {"channel_type": "memory", "connected_to": [peer]},
                    {"channel_type": "port", "connected_to": [peer]},
                    {"channel_type": "switch", "buffer_type": "s", "rank_groups": [everyone]},
                ],
                "remote_buffers": references,
                "semaphores": [{"init_value": 0}, {"init_value": 3}],
                "threadblocks": [
                    {"id": i, "ops": copy.deepcopy(ops), "channels": lists, "remote_buffer_refs": reached}
                    for i, ops in enumerate(blocks)
                ],
            }
        )
    return {"name": "made", "collective": "custom", "protocol": "LL", "inplace": False, "gpus": gpus, **more}


def imported(*blocks, options=None, **more):
    return import_mscclpp(json.dumps(document(blocks, **more)), options)


def first_block(*ops, options=None, **more):
    return imported(list(ops), options=options, **more).plan.ranks[0].blocks[0]


PIPELINE = op(
    "pipeline", iter_context={"unit_size": 64, "num_chunks": 1}, ops=[op("copy", [own("i")], [own("s")]), op("nop")]
)
