"""The selection table covers every call, and pins come first where they can serve."""

from __future__ import annotations

from typing import Any

import pytest

from hal.config import Algorithms
from hal.interface.dtypes import DType
from hal.interface.errors import ConfigError, UsageError
from hal.plan.collective import Collective
from hal.plan.layout import Layout
from hal.plan.lower import lower
from hal_collectives.algorithms import Algorithm, algorithms, get
from hal_collectives.algorithms.staging import SCRATCH_BUDGET
from hal_collectives.selection import SelectionTable, choose, hosts_table

COLLECTIVES = [c for c in Collective if c is not Collective.CUSTOM]
BYTES = [0, 4, 4096, 4100, 16384, 16388, 65536, 1 << 20, 1 << 30]


def pinned(**choices: Any) -> Algorithms:
    """The pins of a configuration that says this under `algorithms`; it reads names and rules as written there."""
    return Algorithms(**choices)


def sizes(collective: Collective) -> list[int]:
    return [2] if collective is Collective.SEND_RECV else [*range(1, 17), 33, 64]


@pytest.mark.parametrize("collective", COLLECTIVES, ids=lambda c: c.label)
def test_table_covers_every_call(collective: Collective) -> None:
    for size in sizes(collective):
        for nbytes in BYTES:
            for mapped in (False, True):
                for in_place in (False, True):
                    chosen = choose(collective, size, nbytes, mapped=mapped, in_place=in_place)
                    assert chosen in algorithms(collective)
                    assert chosen.supports(size)
                    assert mapped or not chosen.mapped
                    assert chosen.in_place or not in_place


@pytest.mark.parametrize("collective", [c for c in COLLECTIVES if c is c.uniform], ids=lambda c: c.label)
def test_chosen_plans_keep_to_the_scratch_budget(collective: Collective) -> None:
    for size in (n for n in (1, 2, 3, 8, 16) if n in sizes(collective)):
        for nbytes in (16384, 16388, 1 << 30):
            for mapped in (False, True):
                plan = choose(collective, size, nbytes, mapped=mapped).build(size, 0 if collective.rooted else None)
                blocks = max(1, *(max(collective.blocks(size, r, 0)) for r in range(size)))
                layout = Layout.uniform(plan, nbytes // blocks, 1)
                assert lower(plan, 0, layout, DType.UINT8).scratch_bytes <= SCRATCH_BUDGET


def test_short_messages_are_published_and_long_ones_go_by_the_memory() -> None:
    def names(nbytes: int) -> list[str]:
        return [choose("all_reduce", 2, nbytes, mapped=mapped).name for mapped in (True, False)]

    assert names(2 << 10) == ["one_phase", "one_phase"]
    assert names((2 << 10) + 1) == ["staged", "staged"]
    assert names((16 << 10) + 1) == ["two_phase_mapped", "staged"]
    assert choose("all_reduce", 8, 16 << 10, mapped=True).name == "two_phase_mapped"


@pytest.mark.parametrize("where", ["table", "pins"])
def test_a_rule_for_calls_in_place_leaves_others_to_what_plain_buffers_take(where: str) -> None:
    rules = [{"algorithm": "two_phase_mapped", "max_bytes": 100, "in_place": True}, {"algorithm": "ring"}]
    table = SelectionTable.parse(str({"all_reduce": rules}).encode(), "x.yaml")
    chosen: dict[str, Any] = {"table": table} if where == "table" else {"pins": pinned(all_reduce=rules)}

    def name(nbytes: int, **call: bool) -> str:
        return choose("all_reduce", 2, nbytes, **chosen, **call).name

    assert name(100, mapped=True) == "two_phase_mapped"
    plain = "ring" if where == "table" else "one_phase"  # a pin that cannot serve leaves it to the table
    assert name(100, mapped=True, all_in_place=False) == name(100, mapped=False) == plain
    assert name(101, mapped=True) == "ring"
    rules[0]["algorithm"] = "one_phase"  # one that serves plain buffers is for all
    chosen = {"pins": pinned(all_reduce=rules)}
    assert name(100, mapped=True, all_in_place=False) == name(100, mapped=False) == "one_phase"


def test_in_place_all_to_all_does_not_overwrite_what_others_read() -> None:
    assert choose("all_to_all", 4, 1 << 20, mapped=True).name == "direct_mapped"
    assert choose("all_to_all", 4, 1 << 20, mapped=True, in_place=True).name == "staged"


def test_a_pin_comes_first() -> None:
    pins = pinned(all_reduce="ring")
    assert choose("all_reduce", 4, 8, mapped=True, pins=pins) is get("all_reduce", "ring")
    assert choose("all_gather", 4, 8, mapped=True, pins=pins).name == "publish"


def test_pinned_rules_hold_where_they_fit() -> None:
    rules = [{"algorithm": "ring", "max_bytes": "1K", "ranks": [4]}, {"algorithm": "two_phase", "ranks": [8]}]
    pins = pinned(all_reduce=rules)
    assert choose("all_reduce", 4, 1024, mapped=False, pins=pins).name == "ring"
    assert choose("all_reduce", 4, 1025, mapped=False, pins=pins).name == "one_phase"
    assert choose("all_reduce", 8, 1 << 20, mapped=False, pins=pins).name == "two_phase"


def test_a_pin_that_the_buffers_do_not_allow_leaves_the_choice_to_the_table() -> None:
    pins = pinned(all_reduce="two_phase_mapped", all_to_all="direct_mapped", all_gather="recursive_doubling")
    assert choose("all_reduce", 2, 8, mapped=True, pins=pins).name == "two_phase_mapped"
    assert choose("all_reduce", 2, 8, mapped=False, pins=pins).name == "one_phase"
    assert choose("all_to_all", 2, 8, mapped=True, in_place=True, pins=pins).name == "publish"
    assert choose("all_gather_v", 2, 8, mapped=True, pins=pins).name == "publish"


def test_a_pin_that_cannot_be_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"unknown algorithm of all_reduce 'rings'.*did you mean 'ring'"):
        choose("all_reduce", 2, 8, mapped=True, pins=pinned(all_reduce="rings"))
    with pytest.raises(UsageError, match="'recursive_doubling' serves powers of two, not 3"):
        choose("all_gather", 3, 8, mapped=True, pins=pinned(all_gather="recursive_doubling"))


def test_a_table_can_be_given() -> None:
    table = SelectionTable.parse(b"all_reduce:\n  - {algorithm: ring, max_bytes: 1M}\n", "mine.yaml")
    assert choose("all_reduce", 4, 8, mapped=True, table=table).name == "ring"
    with pytest.raises(UsageError, match=r"mine.yaml has no algorithm for all_reduce of 2097152 bytes on 4 ranks"):
        choose("all_reduce", 4, 2 << 20, mapped=True, table=table)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("all_reduce: [ring]\n", "t.yaml:1: all_reduce: .*is not a rule"),
        ("barrier: all_pairs\nall_reduse: ring\n", "t.yaml:2: unknown collective.*did you mean 'all_reduce'"),
        ("all_reduce:\n  - {algorithm: rong}\n", "t.yaml:1: all_reduce: unknown algorithm.*did you mean 'ring'"),
        ("all_reduce:\n  - {algorithm: ring, maxbytes: 4}\n", "t.yaml:2: all_reduce: unknown key 'maxbytes'"),
        ("all_reduce: 3\n", "t.yaml:1: all_reduce: 3 is not an algorithm"),
        ("- all_reduce\n", "t.yaml:1: a selection table is a mapping"),
    ],
)
def test_a_table_with_a_mistake_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        SelectionTable.parse(text.encode(), "t.yaml")


@pytest.mark.parametrize("collective", COLLECTIVES, ids=lambda c: c.label)
def test_the_table_for_several_hosts_covers_every_call(collective: Collective) -> None:
    for size in sizes(collective):
        for nbytes in BYTES:
            for in_place in (False, True):
                chosen = choose(collective, size, nbytes, mapped=False, in_place=in_place, table=hosts_table())
                assert chosen.supports(size)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8, 16])
@pytest.mark.parametrize("name", ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "gather"])
def test_what_several_hosts_use_for_short_messages_fits_in_the_least_scratch(name: str, size: int) -> None:
    for nbytes in (256, 1024, 2048, 4096, 8192, 15 << 10):
        root = 0 if Collective.of(name).rooted else None
        plan = choose(name, size, nbytes, mapped=False, table=hosts_table(), ranks_per_host=2).build(size, root)
        count = nbytes // 4 // (1 if name in ("all_reduce", "broadcast") else size)
        assert lower(plan, 0, Layout.uniform(plan, count, 4), DType.INT32).scratch_bytes <= 1 << 15


HIERARCHICAL = ["all_reduce", "all_gather", "reduce_scatter"]


def between_hosts(collective: str, size: int, **how: Any) -> Algorithm:
    return choose(collective, size, 1 << 20, mapped=False, table=hosts_table(), **how)


@pytest.mark.parametrize("collective", HIERARCHICAL)
def test_hosts_of_several_ranks_are_nodes(collective: str) -> None:
    chosen = between_hosts(collective, 8, ranks_per_host=4, any_order=True)
    assert (chosen.name, chosen.ranks_per_node) == ("hierarchical_staged", 4)
    assert chosen.build(8) == chosen.builder(8, ranks_per_node=4)
    for alone in (None, 1, 8):  # unlike hosts, one rank on each, one host
        assert between_hosts(collective, 8, ranks_per_host=alone, any_order=True).name in ("pushed_staged", "ring")


def test_between_hosts_floating_point_numbers_are_summed_in_the_order_of_the_ranks() -> None:
    for collective in ("all_reduce", "reduce_scatter", "reduce"):
        assert between_hosts(collective, 8, ranks_per_host=4).in_order
        assert between_hosts(collective, 8, ranks_per_host=4).name == "pushed_staged"
    assert between_hosts("all_gather", 8, ranks_per_host=4).name == "hierarchical_staged"
    # who names another table, or pins, has decided
    table = SelectionTable.parse(b"all_reduce: hierarchical_staged\n", "mine.yaml")
    assert choose("all_reduce", 8, 8, mapped=False, table=table, ranks_per_host=4).ranks_per_node == 4


def test_a_pinned_algorithm_has_the_hosts_as_nodes_where_they_are_alike() -> None:
    pins = pinned(all_reduce="hierarchical")
    assert between_hosts("all_reduce", 12, pins=pins, ranks_per_host=6).ranks_per_node == 6
    for alone in (None, 1, 12):
        assert between_hosts("all_reduce", 12, pins=pins, ranks_per_host=alone).ranks_per_node is None
    with pytest.raises(UsageError, match="'ring' of all_reduce makes no difference between nodes"):
        get("all_reduce", "ring").in_nodes(2)
