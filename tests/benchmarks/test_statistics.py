import pytest
from benchmarks.host.statistics import Summary, best, ratio


def test_quartiles():
    assert Summary.of([5, 1, 3, 2, 4]) == Summary(median=3, low=2, high=4)


def test_one_value_is_its_own_quartiles():
    assert Summary.of([7.5]) == Summary(7.5, 7.5, 7.5)


def test_best_is_the_lowest_median_among_those_asked_for():
    samples = {"hal": [1.0, 1.0], "a": [3.0, 30.0, 3.0], "b": [4.0, 4.0, 4.0], "none": []}
    assert best(samples, ["a", "b", "none", "absent"]) == "a"
    assert best(samples, ["none"]) is None


def test_ratio_is_taken_round_by_round():
    # both are four times slower in the last two rounds: the ratio does not move, that of medians would
    assert ratio([2.0, 2.0, 8.0, 8.0], [1.0, 1.0, 4.0, 4.0]) == Summary(2.0, 2.0, 2.0)


def test_ratio_leaves_out_rounds_without_time():
    assert ratio([2.0, 2.0, -1.0], [1.0, -0.5, 1.0]) == Summary(2.0, 2.0, 2.0)
    assert ratio([1.0], [0.0]) is None


def test_ratio_needs_the_same_rounds():
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0], [1.0, 2.0])
