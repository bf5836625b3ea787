"""Going on without ranks that died, left or do not answer: `Communicator.shrink`."""

from __future__ import annotations

import gc
import signal
import socket
from typing import Any

import numpy as np
import pytest

import hal_collectives as hc
from hal.bootstrap import Launch, StoreServer
from hal.interface.errors import PeerFailure, StallTimeout, UsageError
from hal_collectives import Communicator, run_local

from .ranks import Job


def shrunk(job: Job, ranks: list[int], number: int = 0) -> list[Any]:
    """What these ranks say after their shrink of this number."""
    return [job.ranks[r].expect(f"shrunk{number}") for r in ranks]


@pytest.mark.parametrize(
    ("size", "victim", "hosts"), [(2, 1, None), (4, 0, None), pytest.param(4, 2, "aabb", marks=pytest.mark.slow)]
)
def test_the_others_go_on_when_a_rank_dies(size: int, victim: int, hosts: str | None) -> None:
    with Job(size, "go_on", hosts) as job:
        job.expect("ready")
        job.ranks[victim].kill()
        others = [r for r in range(size) if r != victim]
        for place, event in enumerate(shrunk(job, others)):
            assert (event["rank"], event["size"]) == (place, size - 1)
            assert event["sum"] == sum(others)
            assert event["gathered"] == others
            assert event["message"] == others[place - 1]


def test_one_after_the_other_dies() -> None:
    with Job(4, "go_on") as job:
        left = [0, 1, 2, 3]
        job.expect("ready")
        for number, victim in enumerate((1, 3, 0)):
            job.ranks[victim].kill()
            left.remove(victim)
            assert [event["gathered"] for event in shrunk(job, left, number)] == [left] * len(left)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["agreed", "joined", "made"])
def test_a_rank_that_dies_while_they_shrink_is_left_out_too(moment: str) -> None:
    with Job(4, "go_on", dies=2, moment=moment) as job:
        job.expect("ready")
        job.ranks[3].kill()
        assert [event["gathered"] for event in shrunk(job, [0, 1])] == [[0, 1]] * 2


def test_a_rank_that_does_not_answer_is_named_and_can_be_left_out() -> None:
    with Job(3, "leave_out", timeout=1, rank=1) as job:
        job.expect("ready")
        job.ranks[1].kill(signal.SIGSTOP)
        for error in job.expect("error", [0, 2]):
            assert error["kind"] == "StallTimeout"
        for event in job.expect("unanswered", [0, 2]):
            assert event["kind"] == "StallTimeout"
            assert "rank 1 did not arrive" in event["text"]
        assert [event["gathered"] for event in shrunk(job, [0, 2])] == [[0, 2]] * 2
        job.ranks[1].kill(signal.SIGCONT)
        assert job.ranks[1].expect("error")["kind"] == "StallTimeout"


def test_nobody_goes_on_without_the_rank_that_serves_the_store() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Job(2, "go_on", settings={"HAL_STORE": f"127.0.0.1:{port}", "HAL_STORE_EXTERNAL": ""}) as job:
        job.expect("ready")
        job.ranks[0].kill()
        alone = job.ranks[1].expect("alone")
        assert (alone["kind"], alone["peer"]) == ("PeerFailure", 0)
        assert "rank 0, which serves the store, died or left" in alone["text"]


def gathered(comm: Communicator) -> list[int]:
    out = comm.all_gather(np.full(1, comm.rank, np.int64))
    return [int(value) for value in np.ravel(out)]


def test_a_rank_that_has_left_is_left_out() -> None:
    def body(comm: Communicator) -> list[int] | None:
        comm.barrier()
        if comm.rank == 1:
            comm.close()
            return None
        with pytest.raises(PeerFailure):
            comm.barrier()
        with comm.shrink() as rest:
            assert rest.rank == (0 if comm.rank == 0 else 1)
            return gathered(rest)

    assert run_local(3, body, timeout=20) == [[0, 1], None, [0, 1]]


def test_one_that_works_is_as_it_was() -> None:
    """Nobody is gone: the same ranks, and both can be used, and made smaller again."""

    def body(comm: Communicator) -> tuple[list[int], ...]:
        same = comm.shrink()
        few = None if comm.rank == 0 else same.shrink(without=[0])
        found = gathered(comm), gathered(same), gathered(few) if few else []
        comm.close()  # the others need it no more
        again = same.shrink()
        return *found, gathered(again)

    whole = [0, 1, 2]
    assert run_local(3, body, timeout=20) == [(whole, whole, part, whole) for part in ([], [0, 1], [0, 1])]


def test_again_and_again() -> None:
    """The store bounds the length of names."""

    def body(comm: Communicator) -> list[int]:
        for _ in range(60):
            last, comm = comm, comm.shrink()
            last.close()
        return gathered(comm)

    assert run_local(2, body, timeout=20) == [[0, 1]] * 2


def test_in_a_communicator_of_some_ranks() -> None:
    def body(comm: Communicator) -> list[int]:
        part = comm.split(comm.rank % 2)
        assert part is not None
        comm.close()
        if comm.rank == 2:
            part.close()
            return []
        if comm.rank == 0:
            with pytest.raises(PeerFailure):
                part.barrier()
            part = part.shrink(without=[1])
        return gathered(part)

    assert run_local(4, body, timeout=20) == [[0], [0, 1], [], [0, 1]]


def test_the_job_is_left_with_the_last_communicator() -> None:
    with StoreServer(1) as server:
        launch = Launch(0, 1, 0, 1, "arguments", store_address=server.address, store_external=True)
        comm = hc.init(launch=launch)
        part = comm.split(0)
        del comm  # is closed where nobody has it any more
        gc.collect()
        assert part is not None
        rest = part.shrink()
        part.close()
        with pytest.raises(UsageError, match="has not closed all communicators"):
            hc.init(launch=launch)
        assert gathered(rest.shrink()) == [0]
        gc.collect()
        rest.close()
        hc.init(launch=launch).close()


@pytest.mark.parametrize(
    ("without", "text"),
    [([0], "without is this rank itself"), ([2], "without is 2: ranks are 0 to 1"), (["1"], "ranks are 0 to 1")],
)
def test_ranks_that_cannot_be_left_out(without: Any, text: str) -> None:
    def body(comm: Communicator) -> None:
        if comm.rank == 0:
            with pytest.raises(UsageError, match=text):
                comm.shrink(without=without)

    run_local(2, body, timeout=20)


def test_closed_communicators_do_not_shrink() -> None:
    with hc.init() as comm:
        pass
    with pytest.raises(UsageError, match="closed"):
        comm.shrink()


def test_what_keeps_one_rank_from_the_new_group_is_told_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from hal.runtime.group import Group

    make = Group._join

    def join(self: Group) -> Any:
        if self.name.startswith("shrunk") and self.store.rank == 1:
            raise MemoryError("no room")
        return make(self)

    monkeypatch.setattr(Group, "_join", join)

    def body(comm: Communicator) -> str:
        with pytest.raises((StallTimeout, MemoryError)) as caught:
            comm.shrink(timeout=0.5)
        gathered(comm)  # what was there is as it was
        return caught.value.__notes__[-1]

    assert run_local(2, body, timeout=20) == ["rank 1 could not make the group: MemoryError: no room"] * 2
