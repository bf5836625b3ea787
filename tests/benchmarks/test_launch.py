import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from benchmarks.host.cases import Case
from benchmarks.host.conductor import Contender, ContenderError, Pace, measure
from benchmarks.host.contenders import LIBRARIES, Library, choose
from benchmarks.host.launch import Team

from hal.interface.errors import UsageError

HERE = Path(sys.prefix)
HAL = LIBRARIES[0]


def descendants() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


@pytest.fixture
def team() -> Iterator[Team]:
    before = descendants()
    team = Team(HAL, 2, HERE)
    yield team
    team.close()
    assert descendants() == before


def test_ranks_start_answer_and_end(team: Team):
    contenders = [Contender(f"hal-{kind}", "HAL", kind, "hal", team) for kind in HAL.kinds]
    case = Case("all_reduce", 2, 4096, "dirty")
    samples = measure(case, contenders, Pace(seconds=0.0, min_rounds=3, max_rounds=3))
    assert [sample.reason for sample in samples.values()] == [None, None]
    assert all(len(sample.rounds) == 3 for sample in samples.values())
    assert team.version


def test_an_unknown_collective_is_an_error_of_the_case_not_of_the_team(team: Team):
    order = {"do": "prepare", "collective": "all_rduce", "size": 4096, "source": "clean", "form": "in_place"}
    order["kind"] = "plain"
    assert all("all_rduce" in reply["error"] for reply in team.ask(order, 30.0))
    assert team.ask({"do": "release", "kind": "plain"}, 30.0) == [{}, {}]


def test_a_killed_rank_ends_the_team(team: Team):
    psutil.Process(team.pids[1]).kill()
    with pytest.raises(ContenderError, match="rank"):
        team.ask({"do": "release", "kind": "plain"}, 30.0)
    with pytest.raises(ContenderError, match="rank"):
        team.ask({"do": "release", "kind": "plain"}, 30.0)


def test_a_rank_that_does_not_answer_ends_the_team(team: Team):
    psutil.Process(team.pids[1]).suspend()
    with pytest.raises(ContenderError, match=r"no answer to 'release' within 0.5 s"):
        team.ask({"do": "release", "kind": "plain"}, 0.5)


def test_a_missing_launcher_is_a_reason(tmp_path: Path):
    library = Library("x", "X", "mpi", "nowhere", "libmpi.so.12")
    with pytest.raises(ContenderError, match=r"cannot start .*nowhere/bin/mpiexec"):
        Team(library, 2, tmp_path)


def test_ranks_that_fail_to_join_give_their_last_words():
    library = Library("x", "X", "no_such_adapter")
    with pytest.raises(ContenderError, match="no_such_adapter"):
        Team(library, 2, HERE)


def test_contenders_are_chosen_by_name():
    assert [each.name for each in choose(["mpich", "hal"])] == ["hal", "mpich"]
    assert choose([]) == list(LIBRARIES)
    with pytest.raises(UsageError, match=r"unknown contender 'mpitch'.*did you mean 'mpich'"):
        choose(["mpitch"])
