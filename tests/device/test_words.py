"""Words are checked on the host before a kernel reads them; a vendor is given what the documentation says."""

from __future__ import annotations

import dataclasses
import random
import re

import pytest

from hal.channels.plans import load_reduce
from hal.device import ENTRY, include_path, kernel_source, pack, sources
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import PlanError, UsageError
from hal.plan.layout import Layout
from hal.plan.lower import Program, lower
from hal.plan.model import Channel, ChannelKind, Plan
from hal_collectives.algorithms import get

from ..collectives import plans
from .machine import shared_channels
from .test_channels import PAGE

SCRATCH = 1 << 20


def program(plan: Plan, rank: int = 0, count: int = 100) -> Program:
    return lower(plan, rank, Layout.uniform(plan, count, 4), DType.FLOAT32)


def with_words(made: Program, words: list[int]) -> Program:
    return dataclasses.replace(made, blocks=(tuple(words), *made.blocks[1:]))


def test_what_a_kernel_must_be_made_for() -> None:
    made = pack(program(plans.several_results(3)), 3, SCRATCH)
    assert made.ops == {ReduceOp.SUM, ReduceOp.MIN, ReduceOp.MAX}
    assert (made.input_bytes, made.output_bytes, made.blocks) == (800, 1600, 1)
    assert pack(program(get("all_gather", "staged").build(3)), 3, SCRATCH).ops == {ReduceOp.SUM}


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [
        (0, 77, "77 is no opcode"),
        (1, 1000, "the number of words is 1000, allowed are 1 to"),
        (2, -1, "a position is -1"),
        (3, 9, "an operation is 9, allowed are 0 to 7"),
        (4, 0, "a divisor is 0"),
        (6, 2, "a move has the wrong number of words"),
        (8, 3, "a member is 3, allowed are 0 to 2"),
        (9, 3, "a buffer is 3"),
        (10, -4, "an offset is -4"),
        (12, -1, "a member is -1"),
        (14, 1 << 40, "bytes of scratch at 1099511627776 exceed the 1048576 of a launch"),
        (11, 1, "packets lie in scratch alone"),
    ],
)
def test_words_that_are_no_program(at: int, value: int, problem: str) -> None:
    made = program(get("all_reduce", "one_phase").build(3))
    words = list(made.blocks[0])
    assert (words[0], words[9], words[13]) == (1, 0, 2)
    words[at] = value
    with pytest.raises(PlanError, match=re.escape(problem)):
        pack(with_words(made, words), 3, SCRATCH)


def test_words_that_were_changed_at_random_are_refused_or_in_range() -> None:
    """Whatever is wrong with them, that is all that can happen; packing changes nothing but where packets lie."""
    chance = random.Random(5)
    accepted = 0
    for make in (plans.packets, plans.pipeline, plans.blocks, plans.ports):
        made = program(make(3))
        for _ in range(300):
            words = list(made.blocks[0])
            for _ in range(chance.randrange(1, 3)):
                words[chance.randrange(len(words))] = chance.choice([-1, 0, 1, 2, 3, 8, 255, 1 << 20, 1 << 62, 1 << 70])
            if chance.random() < 0.2:
                del words[chance.randrange(len(words)) :]
            try:
                packed = pack(with_words(made, words), 3, SCRATCH)
            except PlanError:
                continue
            accepted += 1
            got = packed.words.tolist()[-sum(map(len, made.blocks[1:])) - len(words) :][: len(words)]
            assert {a - b for a, b in zip(got, words, strict=True)} <= {0, 2 * SCRATCH}
    assert accepted > 20


def test_packets_have_scratch_of_their_own() -> None:
    """Plain data that a launch leaves could pass for the flags of a later one."""
    made = program(get("all_reduce", "all_pairs_ll").build(2))
    words, packed = made.blocks[0], pack(made, 2, SCRATCH).words.tolist()[-len(made.blocks[0]) :]
    # a copy of the input into packets, and a sum of the input and packets
    assert [(at, word) for at, word in enumerate(zip(words, packed, strict=True)) if word[0] != word[1]] == [
        (14, (0, 2 * SCRATCH)),
        (33, (words[33], words[33] + 2 * SCRATCH)),
    ]


def test_what_uses_multicast_memory() -> None:
    """Moves whose operands are the same scratch of all members; the words of the move follow, as they were."""
    made = program(plans.switched(3), rank=1, count=99)

    def moves(packed: list[int]) -> list[list[int]]:
        found, at = [], packed[8]
        while at < len(packed):
            found += [packed[at : at + 2 + packed[at + 1]]] if packed[at] in (1, 11) else []
            at += 2 + packed[at + 1]
        return found

    plain = moves(pack(made, 3, SCRATCH).words.tolist())
    packed = moves(pack(made, 3, SCRATCH, multicast=True).words.tolist())
    switched = [(move[0], move[3:5]) for move in packed if move[0] == 11]
    assert switched == [(11, [1, -1]), (11, [0, 0])]
    assert [[1, move[1] - 2, move[2], *move[5:]] if move[0] == 11 else move for move in packed] == plain
    assert moves(pack(made, 3, SCRATCH, multicast=True, proxy=True).words.tolist()) == packed
    for member in (1, 2):  # words that are not those of the plan are taken as they are
        words = list(made.blocks[0])
        at = next(at for at in range(len(words)) if words[at : at + 2] == [1, 22])
        words[at + 8 + 4 * member] = 0
        changed = moves(pack(with_words(made, words), 3, SCRATCH, multicast=True).words.tolist())
        assert [move[0] for move in changed] == [1] * 4 + [11] + [1] * 3


def test_no_multicast_memory_for_some_members() -> None:
    """Nor for buffers of callers, nor for packets."""
    p = plans.switched(4)
    channels = (Channel(ChannelKind.SWITCH, (0, 1, 2)), *p.ranks[0].channels[1:])
    few = dataclasses.replace(p, ranks=(dataclasses.replace(p.ranks[0], channels=channels), *p.ranks[1:]))
    one = load_reduce(4, 0, ReduceOp.SUM)
    for plan in (few, one):
        made = program(plan)
        plain, packed = (pack(made, 4, SCRATCH, multicast=way).words.tolist() for way in (False, True))
        assert plain == packed


def test_too_much_for_the_executor() -> None:
    made = program(get("all_reduce", "one_phase").build(3))
    with pytest.raises(PlanError, match="65 ranks, the executor kernel at most 64"):
        pack(made, 65, SCRATCH)
    with pytest.raises(PlanError, match="65 channels for a pair of ranks"):
        pack(dataclasses.replace(made, channel_slots=65), 3, SCRATCH)
    loop = [8, 5, 0, 64, 1, 1 << 20, 8, 2, 6, 1, 0, 1, 1, 0, 0]
    with pytest.raises(PlanError, match="signals on one channel is 1048576"):
        pack(with_words(made, loop), 3, SCRATCH)
    nested = [8, 5, 0, 64, 1, 1, 7, 8, 5, 1, 64, 1, 1, 0]
    with pytest.raises(PlanError, match="a loop lies inside a loop"):
        pack(with_words(made, nested), 3, SCRATCH)


def test_a_proxy_needs_a_channel_in_one_block() -> None:
    shared = program(shared_channels())
    assert pack(shared, 2, SCRATCH).blocks == 2
    with pytest.raises(PlanError, match="a proxy cannot serve"):
        pack(shared, 2, SCRATCH, proxy=True)


def test_kernel_sources() -> None:
    source = kernel_source(DType.FLOAT16, [ReduceOp.MAX, ReduceOp.SUM])
    assert f"HAL_KERNEL void {ENTRY}(" in source
    assert "execute<8, 9>" in source
    assert "execute<8, 9, true>" in kernel_source(DType.FLOAT16, [ReduceOp.MAX, ReduceOp.SUM], multicast=True)
    with pytest.raises(UsageError, match="defined on integers"):
        kernel_source(DType.FLOAT16, [ReduceOp.BXOR])
    with pytest.raises(UsageError, match="at least one operation"):
        kernel_source(DType.FLOAT16, [])


def test_headers_include_each_other_and_the_intrinsics_alone() -> None:
    texts = sources()
    names = {name for text in texts.values() for name in re.findall(r"#include\s+(\S+)", text)}
    assert names == {"<intrinsics.h>", *(f"<{name}>" for name in names_used(texts))}
    assert (include_path() / "hal/device/executor.h").is_file()


def names_used(texts: dict[str, str]) -> set[str]:
    every = "\n".join(texts.values())
    return {name for name in texts if f"<{name}>" in every}


def test_the_documentation_names_every_intrinsic() -> None:
    template = sources()["hal/device/intrinsics_template.h"]
    functions = set(re.findall(r"HAL_DEVICE [\w<>]+[ *]+(\w+)\(", template))
    assert 18 <= len(functions) <= 25
    page = PAGE.read_text()
    assert [name for name in [*functions, *re.findall(r"#define (HAL_\w+)", template)] if name not in page] == []
