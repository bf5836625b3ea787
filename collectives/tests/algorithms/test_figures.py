"""What algorithms cost, and the sizes that the default table takes them for, as `hal plan list` shows them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from hal.plan.figures import figures
from hal_collectives.algorithms import Algorithm, get
from hal_collectives.selection import choose, default_table

from .test_results import ALL, build, cases


@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_formulas(size: int) -> None:
    for name, steps, moved in [
        ("all_pairs_ll", 1, Fraction(size - 1)),
        ("one_phase", 1, Fraction(size - 1)),
        ("two_phase", 2, Fraction(2 * (size - 1), size)),
        ("ring", 2 * (size - 1), Fraction(2 * (size - 1), size)),
        ("two_phase_mapped", 2, Fraction(2 * (size - 1), size)),
        ("binomial_tree", 2 * (size.bit_length() - 1), None),
    ]:
        found = figures(build(get("all_reduce", name), size))
        assert found.steps == steps, name
        assert moved in (None, found.moved), name


@pytest.mark.parametrize(("algorithm", "size"), cases(ALL, [1, 4]))
def test_every_algorithm_has_figures(algorithm: Algorithm, size: int) -> None:
    found = figures(build(algorithm, size))
    assert (found.steps == 0) is (size == 1)
    assert 0 <= found.moved <= size
    assert not (found.scratch and found.scratch_bytes)


def test_sizes_in_words() -> None:
    assert get("all_reduce", "one_phase").sizes(2) == "<= 2 KiB"
    assert get("all_reduce", "one_phase").sizes(12) == "plain: <= 8 KiB"
    assert get("all_reduce", "two_phase_mapped").sizes(2) == "mapped in place: > 16 KiB; mapped else: > 4 MiB"
    assert get("all_reduce", "two_phase_mapped").sizes(4) == "mapped in place: > 64 KiB; mapped else: > 256 KiB"
    assert get("all_reduce", "two_phase_mapped").sizes(6) == "mapped: > 8 KiB"
    assert get("all_reduce", "ring").sizes(2) == ""
    assert get("broadcast", "publish").sizes(12) == "<= 16 KiB"
    assert get("barrier", "all_pairs").sizes(3) == "all"


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 32])
def test_somewhere_every_size_is_served(size: int) -> None:
    """What is shown is what is chosen: at each threshold and beyond it."""
    for collective, rules in default_table().rules.items():
        if collective == "send_recv" and size != 2:
            continue
        for nbytes in {n + d for rule in rules for n in [rule.max_bytes or 0] for d in (0, 1)}:
            for mapped in (True, False):
                assert choose(collective, size, nbytes, mapped=mapped).sizes(size)
