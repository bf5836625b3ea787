"""Plan files that mean harm: short to write, and long to read for a reader that believes them."""

from __future__ import annotations

import json
from typing import Any

from hal.plan import PlanBuilder, encode

HUGE = 10**9
LARGEST = 1 << 40


def document(ranks: int = 2, **changes: Any) -> dict[str, Any]:
    """An all_reduce in one loop, from which the harmful ones are made."""
    p = PlanBuilder("all_reduce", name="victim", ranks=ranks, scratch_chunk_bytes=128)
    for rank in p.ranks:
        block = rank.block()
        with block.loop(64, 2):
            block.copy(rank.scratch[0], rank.input[0])
            block.signal(rank.others)
            block.wait(rank.others)
            block.reduce(rank.output[0], [r.scratch[0] for r in p.ranks], final=True)
    return encode(p.build()) | changes


def changed(path: str, value: Any, ranks: int = 2) -> str:
    """That document with another value at a path such as `ranks.0.channels.0.peers`."""
    whole = document(ranks)
    at: Any = whole
    *outer, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in outer:
        at = at[key]
    at[last] = value
    return json.dumps(whole)


def ring_of_channels(size: int) -> str:
    """Every rank has a channel to the next one alone, which has none back: a circle without a pair."""
    whole = document()
    rank = whole["ranks"][0] | {"blocks": []}
    whole["ranks"] = [rank | {"channels": [{"kind": "memory", "peers": [(r + 1) % size]}]} for r in range(size)]
    return json.dumps(whole)


def groups(size: int, many: int) -> str:
    """Switch channels of all ranks, in an order that only their owner has."""
    whole = document()
    rank = whole["ranks"][0] | {"blocks": []}
    turns = [[(k + r) % size for k in range(size)] for r in range(size)]
    whole["ranks"] = [
        rank | {"channels": [{"kind": "switch", "peers": turns[r]} for _ in range(many)]} for r in range(size)
    ]
    return json.dumps(whole)


def barrier(blocks: int) -> list[Any]:
    return [{"do": "barrier", "id": 0, "blocks": blocks}]


def loop(**changes: Any) -> dict[str, Any]:
    (made,) = document()["ranks"][0]["blocks"][0]
    return made | changes


REFUSED: dict[str, str] = {
    "nothing": "",
    "deep lists": "[" * 300_000,
    "deep objects": '{"a":' * 200_000,
    "deep and closed": "[" * 50_000 + "]" * 50_000,
    "deep in a plan": changed("ranks", 0).replace('"ranks": 0', '"ranks": ' + "[" * 100_000 + "]" * 100_000),
    "a number of a million digits": changed("split", 0).replace('"split": 0', '"split": ' + "9" * 1_000_000),
    "a number of four thousand digits": changed("split", 0).replace('"split": 0', '"split": ' + "9" * 4000),
    "an exponent": changed("split", 0).replace('"split": 0', '"split": 1e999999999'),
    "not a number": changed("split", float("nan")),
    "infinity": changed("split", float("inf")),
    "negative": changed("split", -1),
    "10^9 ranks as a number": changed("ranks", HUGE),
    "a root of 10^9": changed("root", HUGE),
    "a split of 10^9": changed("split", HUGE),
    "10^9 chunks of input": changed("ranks.0.input_chunks", HUGE),
    "10^9 chunks of output": changed("ranks.0.output_chunks", HUGE),
    "10^9 chunks of scratch": changed("ranks.0.scratch_chunks", HUGE),
    "a custom plan of 10^9 chunks": changed("ranks.0.input_chunks", HUGE).replace("all_reduce", "custom"),
    "scratch of 2^50 bytes": changed("scratch_chunk_bytes", 1 << 50),
    "an alignment of 2^40": changed("align", LARGEST),
    "peer 10^9": changed("ranks.0.channels.0.peers", [HUGE]),
    "a peer that is the rank itself": changed("ranks.0.channels.0.peers", [0]),
    "a channel of a hundred thousand peers": changed("ranks.0.channels.0.peers", list(range(100_000))),
    "a switch of one rank again and again": changed("ranks.0.channels.0", {"kind": "switch", "peers": [0, 1] * 50_000}),
    "channels in a circle": ring_of_channels(2000),
    "switch groups that are turned": groups(200, 5),
    "channels that do not exist": changed("ranks.0.blocks.0.0.body.1.channels", [HUGE] * 100_000),
    "one channel a hundred thousand times": changed("ranks.0.blocks.0.0.body.1.channels", [0] * 100_000),
    "semaphores of 2^40": changed("ranks.0.semaphores", [LARGEST] * 1000),
    "a barrier of 10^9 blocks": changed("ranks.0.blocks.0", barrier(HUGE)),
    "barrier 10^9": changed("ranks.0.blocks.0", [{"do": "barrier", "id": HUGE, "blocks": 1}]),
    "a loop of 10^9 slots": changed("ranks.0.blocks.0.0.slots", HUGE),
    "a loop of a unit of zero": changed("ranks.0.blocks.0.0.unit", 0),
    "a loop of a unit of 10^18": changed("ranks.0.blocks.0.0.unit", 10**18),
    "loops in loops": changed("ranks.0.blocks.0.0", loop(body=[loop(body=[loop()])])),
    "10^9 parts": changed("ranks.0.blocks.0.0.body.0.parts", HUGE),
    "a span of 10^9 chunks": changed("ranks.0.blocks.0.0.body.0.dst.0.size", HUGE),
    "a move of twenty thousand operands": changed(
        "ranks.0.blocks.0.0.body.0.dst", [{"buffer": "scratch", "index": k} for k in range(20_000)]
    ),
    "a hundred thousand empty blocks": changed("ranks.0.blocks", [[]] * 100_000),
    "66000 ranks": json.dumps(
        document() | {"ranks": [{"input_chunks": 1, "output_chunks": 1, "scratch_chunks": 0, "blocks": []}] * 66_000}
    ),
    "many lists": changed("ranks.0.blocks", [[[]] * 1000] * 300),
    "many objects": changed("ranks.0.blocks", [[{}] * 300_000]),
    "many zeros": changed("ranks.0.semaphores", ["0"] * 300_000),
    "a long name": changed("name", "n" * 1_000_000),
    "a key of a million letters": json.dumps(document() | {"k" * 1_000_000: 1}),
    "one key again and again": "{" + ", ".join(['"name": "x"'] * 200_000) + "}",
    "cut off": changed("split", 1)[:-9],
    "other letters": changed("name", "\udcff"),
}
"""What no reader takes for a plan."""


def alone(chunks: int, move: dict[str, Any]) -> str:
    """An all_reduce of one rank: a single move."""
    rank = {"input_chunks": chunks, "output_chunks": chunks, "scratch_chunks": 0, "blocks": [[{"do": "move", **move}]]}
    return json.dumps(document() | {"scratch_chunk_bytes": None, "split": chunks, "ranks": [rank]})


VALID: dict[str, str] = {
    "short pieces of endless scratch": changed("scratch_chunk_bytes", LARGEST),
    "pieces longer than anything": changed("ranks.0.blocks.0.0.unit", 64).replace('"unit": 64', f'"unit": {LARGEST}'),
    "65536 slots": changed("scratch_chunk_bytes", 64 << 16).replace('"slots": 2', '"slots": 65536'),
    "a million chunks": alone(
        1 << 20,
        {
            "dst": [{"buffer": "output", "index": 0, "size": 1 << 20}],
            "src": [{"buffer": "input", "index": 0, "size": 1 << 20}],
            "final": True,
        },
    ),
    "65536 parts": alone(
        1,
        {
            "dst": [{"buffer": "output", "index": 0}],
            "src": [{"buffer": "input", "index": 0}],
            "final": True,
            "part": 65535,
            "parts": 65536,
        },
    ),
    "60000 ranks that do nothing": json.dumps(
        document()
        | {
            "collective": "barrier",
            "ranks": [{"input_chunks": 0, "output_chunks": 0, "scratch_chunks": 0, "blocks": []}] * 60_000,
        }
    ),
}
"""Valid, and large in what it asks for: reading it is easy, and whoever does more with it has limits of its own."""
