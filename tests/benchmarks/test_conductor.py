import pytest
from benchmarks.host.cases import Case
from benchmarks.host.conductor import Pace, measure
from tests.benchmarks.fakes import FakeTeam, contender

CASE = Case("all_reduce", 2, 4096, "dirty")
PACE = Pace(batch=0.002, seconds=0.0, min_rounds=6, max_rounds=6)


def test_a_batch_takes_its_time_and_counts_the_slowest_rank_without_refilling():
    team = FakeTeam(speeds=(100_000, 150_000), fill=50_000)
    sample = measure(CASE, [contender("a", team)], PACE)["a"]
    # 200 µs a call with refilling: ten make 2 ms
    assert sample.iterations == 10
    assert team.batches[-6:] == [10] * 6
    assert sample.rounds == [150.0] * 6


@pytest.mark.parametrize(("milliseconds", "calls"), [(1, 4), (5, 4), (6, 3), (21, 1)])
def test_slow_calls_make_a_batch_of_few(milliseconds, calls):
    sample = measure(CASE, [contender("a", FakeTeam(speeds=(milliseconds * 1_000_000,)))], PACE)["a"]
    assert sample.iterations == calls
    assert sample.rounds == [milliseconds * 1000.0] * 6


@pytest.mark.parametrize("late", [0, 1, 3])
def test_the_start_of_a_batch_does_not_make_it_short(late):
    """Every batch takes 300 µs more than its calls, and one of them 3 ms, as where ranks wake up."""
    sample = measure(CASE, [contender("a", FakeTeam(speeds=(10_000,), start=300_000, late=late))], PACE)["a"]
    assert 160 <= sample.iterations <= 200
    assert sample.rounds == [10 + 300 / sample.iterations] * 6


def test_order_rotates_from_round_to_round():
    journal: list[str] = []
    measure(CASE, [contender(name, FakeTeam(journal=journal)) for name in "abc"], PACE)
    rounds = ["".join(journal[-18:][at : at + 3]) for at in range(0, 18, 3)]
    assert rounds == ["abc", "bca", "cab", "abc", "bca", "cab"]


def test_rounds_go_on_until_the_time_is_up_but_there_is_a_least_number():
    def rounds(**pace):
        return len(measure(CASE, [contender("a", FakeTeam())], Pace(**pace))["a"].rounds)

    assert rounds(seconds=0.0, min_rounds=5, max_rounds=60) == 5
    assert rounds(seconds=60.0, min_rounds=5, max_rounds=7) == 7


def test_a_case_that_needs_too_much_memory_is_not_run():
    team = FakeTeam()
    case = Case("all_to_all", 8, 1 << 20, "dirty", "out_of_place")
    assert case.memory == 16 << 20
    samples = measure(case, [contender("a", team), contender("b", team)], PACE, memory=31 << 20)
    assert [sample.rounds for sample in samples.values()] == [[], []]
    assert "0.0 GiB of memory" in str(samples["a"].reason)
    assert team.batches == []
    assert measure(case, [contender("a", team)], PACE, memory=31 << 20)["a"].reason is None


def test_one_that_dies_keeps_its_reason_and_the_others_go_on():
    teams = [contender("a", FakeTeam(dies_after=4)), contender("b", FakeTeam())]
    samples = measure(CASE, teams, PACE)
    assert samples["a"].reason == "rank 1 ended: killed"
    assert samples["a"].rounds == []
    assert len(samples["b"].rounds) == 6


def test_a_wrong_result_is_told_apart_from_a_failure():
    samples = measure(CASE, [contender("a", FakeTeam(wrong_at=4096)), contender("b", FakeTeam())], PACE)
    assert samples["a"].is_wrong
    assert not samples["b"].is_wrong
    assert samples["a"].rounds == []
