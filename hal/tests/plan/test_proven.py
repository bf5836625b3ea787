"""Plans are proven once before they run, and remembered."""

import gc

import pytest

from hal.interface.errors import PlanError
from hal.plan import PlanBuilder, proven
from hal.plan.proven import prove, trust
from hal.plan.verify import verify


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(proven, "_proven", set())
    return tmp_path / "hal" / "proven"


@pytest.fixture
def examined(monkeypatch):
    """The plans that the verifier has examined."""
    found = []

    def counting(plan, **options):
        found.append(plan.name)
        return verify(plan, **options)

    monkeypatch.setattr("hal.plan.verify.verify", counting)
    return found


def plan(name="p", *, right=True):
    p = PlanBuilder("all_reduce", name=name, ranks=1)
    (rank,) = p.ranks
    rank.block().reduce(rank.output[0], [rank.input[0]] if right else [rank.scratch[0]], final=True)
    return p.build()


def test_equal_plans_are_examined_once(examined, cache):
    prove(plan())
    prove(plan())
    assert examined == ["p"]
    prove(plan("q"))
    assert examined == ["p", "q"]
    assert len(list(cache.glob("*/*"))) == 2


def test_a_later_process_remembers(examined, monkeypatch):
    prove(plan())
    monkeypatch.setattr(proven, "_proven", set())
    prove(plan())
    assert examined == ["p"]


def test_another_verifier_examines_again(examined, monkeypatch):
    prove(plan())
    monkeypatch.setattr(proven, "_proven", set())
    monkeypatch.setattr(proven, "_version", lambda: "other")
    prove(plan())
    assert examined == ["p", "p"]


def test_a_wrong_plan_is_refused_every_time_with_the_reason(cache):
    for _ in range(2):
        with pytest.raises(PlanError, match=r"plan 'p' is refused.*\n.*unwritten-read: scratch of rank 0"):
            prove(plan(right=False))
    assert not cache.exists()


def test_many_findings_are_cut_short():
    p = PlanBuilder("all_reduce", name="p", ranks=8)
    with pytest.raises(PlanError, match=r"and \d+ more: `hal plan verify` shows all"):
        prove(p.build())


def test_a_folder_that_cannot_be_written_costs_time_alone(examined, cache):
    cache.parent.parent.mkdir(exist_ok=True)
    cache.parent.touch()
    prove(plan())
    assert examined == ["p"]


def test_a_trusted_plan_is_not_examined(examined):
    wrong = plan(right=False)
    prove(trust(wrong))
    assert examined == []


def test_trust_ends_with_the_plan():
    """Another plan may come to lie where it was."""
    for _ in range(50):
        trust(plan(right=False))
        with pytest.raises(PlanError, match="is refused"):
            prove(plan(right=False))
    gc.collect()
    assert not any(plan() is None for plan, _ in proven._trusted.values())


def gathering():
    p = PlanBuilder("all_gather", name="p", ranks=1)
    (rank,) = p.ranks
    rank.block().copy(rank.output[0], rank.input[0])
    return p.build()


def test_counts_that_differ_are_examined_apart(examined, monkeypatch):
    first = gathering()
    for _ in range(2):
        prove(first)
        prove(first, variable=True)
    prove(gathering(), variable=True)
    assert examined == ["p", "p"]
    monkeypatch.setattr(proven, "_proven", set())
    prove(gathering(), variable=True)
    assert examined == ["p", "p"]
    with pytest.raises(PlanError, match="all_reduce has no form of variable counts"):
        prove(plan(), variable=True)


def test_trust_is_for_equal_counts_unless_it_says_otherwise(examined):
    first, second = gathering(), gathering()
    prove(trust(first, variable=True), variable=True)
    assert examined == []
    prove(trust(second), variable=True)
    assert examined == ["p"]
