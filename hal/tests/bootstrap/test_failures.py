import pytest

from hal.bootstrap import Store, StoreServer
from hal.interface.errors import PeerFailure, StallTimeout, TransportError, UsageError


def test_a_stalled_get_names_the_key_and_who_is_there(make_job):
    job = make_job(4, [0, 1])
    with pytest.raises(StallTimeout) as caught:
        job[0].get("some key", timeout=0.1)
    for words in ("'some key'", "0.1 s", "connected: ranks 0-1", "not connected: ranks 2-3"):
        assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["barrier", "all_gather"])
def test_a_stalled_gather_names_the_missing_on_every_rank(make_job, together, wait_until, kind):
    job = make_job(4)

    def act(rank):
        timeout = 0.5 if rank == 0 else 30
        if rank == 0:
            wait_until(lambda: job[2]._waiting)
        if kind == "barrier":
            return job[rank].barrier("round", range(4), timeout)
        return job[rank].all_gather("round", b"", range(4), timeout)

    errors = together([0, 2], act)
    late = together([1], act)
    for error in errors + late:
        assert isinstance(error, StallTimeout)
        assert f"{kind} round: ranks 1, 3 did not arrive" in str(error)


def test_the_name_of_a_stalled_gather_is_free_again_when_all_know(make_job, together):
    job = make_job(2)
    for _ in range(2):
        assert isinstance(together([0], lambda r: job[r].barrier("b", [0, 1], 0.05))[0], StallTimeout)
        assert isinstance(together([1], lambda r: job[r].barrier("b", [0, 1]))[0], StallTimeout)
    assert together(2, lambda r: job[r].barrier("b", [0, 1])) == [None, None]


def test_a_dropped_rank_fails_what_waits_for_it(make_job, together, wait_until, drop_connection):
    job = make_job(4)

    def act(rank):
        match rank:
            case 0:
                return job[0].all_gather("x", b"", range(4))
            case 1:
                return job[1].get("from 3", source=3)
            case 2:
                wait_until(lambda: job[0]._waiting and job[1]._waiting)
                return drop_connection(job[3])

    gather, get, _ = together(3, act)
    for error in (gather, get):
        assert isinstance(error, PeerFailure)
        assert error.peer == 3
        assert "rank 3 died" in str(error)
    wait_until(lambda: job[2].dead_ranks() == [3])
    # who comes later fails at once as well
    with pytest.raises(PeerFailure):
        job[2].barrier("later", [2, 3])
    with pytest.raises(PeerFailure):
        job[2].get("from 3", source=3)


def test_the_others_go_on_without_a_dead_rank(make_job, together, wait_until, drop_connection):
    job = make_job(3)
    drop_connection(job[1])
    wait_until(lambda: job[0].dead_ranks() == [1] and job[2].dead_ranks() == [1])

    def act(rank):
        if rank == 2:  # rank 0 has moved on under the same name before rank 2 learns of the failure
            wait_until(lambda: job[0]._waiting)
        with pytest.raises(PeerFailure):
            job[rank].barrier("b", range(3))
        return job[rank].all_gather("b", bytes([rank]), [0, 2]) and job[rank].barrier("b", [0, 2])

    assert together([0, 2], act) == [None, None]
    job[2].set("key", b"1")
    assert job[0].get("key") == b"1"


def test_a_value_given_before_death_still_counts(make_job, together, wait_until, drop_connection):
    job = make_job(3)

    def act(rank):
        if rank == 2:
            wait_until(lambda: job.given("x") == {0, 1})
            drop_connection(job[1])
            wait_until(lambda: job[2].dead_ranks() == [1])
        return job[rank].all_gather("x", bytes([rank]), range(3))

    results = together(3, act)
    assert results[0] == results[2] == [b"\0", b"\1", b"\2"]
    assert isinstance(results[1], TransportError)


def test_survivors_agree_on_who_is_left(make_job, together, wait_until, drop_connection):
    """Rank 1 has died before, rank 2 leaves, and rank 3 is lost after it has come; the rest learns the same."""
    job = make_job(6)
    drop_connection(job[1])
    wait_until(lambda: job[0].dead_ranks() == [1])

    def act(rank):
        match rank:
            case 2:
                wait_until(lambda: job.given("x", "survivors") == {0, 3, 4})
                drop_connection(job[3])
                wait_until(lambda: job[2].dead_ranks() == [1, 3])
                return job[2].close()
            case 5:
                wait_until(lambda: job[2]._closed)
        return job[rank].survivors("x", [5, 4, 3, 2, 1, 0], bytes([rank]))

    results = together([0, 2, 3, 4, 5], act)
    assert results[0] == results[3] == results[4] == {5: b"\5", 4: b"\4", 0: b"\0"}
    assert list(results[0]) == [5, 4, 0]
    assert isinstance(results[2], TransportError)


def test_survivors_need_not_wait_for_one_that_dies_last(make_job, together, wait_until, drop_connection):
    job = make_job(3)

    def act(rank):
        if rank < 2:
            return job[rank].survivors("x", range(3))
        wait_until(lambda: job.given("x", "survivors") == {0, 1})
        return drop_connection(job[2])

    assert together(3, act)[:2] == [{0: b"", 1: b""}] * 2


def test_a_survivor_that_does_not_come_is_named(make_job, together, drop_connection, wait_until):
    job = make_job(5)
    drop_connection(job[3])
    job[4].close()
    wait_until(lambda: job[0].dead_ranks() == [3])
    for error in together([0, 1], lambda rank: job[rank].survivors("x", range(5), timeout=0.3)):
        assert isinstance(error, StallTimeout)
        assert "survivors x: rank 2 did not arrive" in str(error)


def test_a_dead_rank_cannot_come_back(make_job, wait_until, drop_connection):
    job = make_job(2)
    drop_connection(job[1])
    wait_until(lambda: job[0].dead_ranks() == [1])
    with pytest.raises(UsageError, match="rank 1 has died"):
        job.join(1)


def test_a_rank_that_joins_late_learns_of_earlier_deaths(make_job, wait_until, drop_connection):
    job = make_job(3, [0, 1])
    drop_connection(job[1])
    wait_until(lambda: job[0].dead_ranks() == [1])
    late = job.join(2)
    wait_until(lambda: late.dead_ranks() == [1])


def test_goodbye_is_no_death(make_job):
    job = make_job(2)
    job[1].close()
    with pytest.raises(StallTimeout, match="left: rank 1"):
        job[0].barrier("b", [0, 1], timeout=0.1)
    assert job[0].dead_ranks() == []


def test_without_rejoining_a_goodbye_fails_what_needs_the_rank(make_job, together, wait_until):
    job = make_job(2, rejoin=False)

    def act(rank):
        if rank == 0:
            return job[0].barrier("b", [0, 1])
        wait_until(lambda: job[0]._waiting)
        return job[1].close()

    error, _ = together(2, act)
    assert isinstance(error, PeerFailure)
    assert "rank 1 has left" in str(error)


def test_a_process_that_ended_before_it_connected_counts_as_dead(make_job, together, wait_until):
    job = make_job(2, [0])

    def act(k):
        if k == 0:
            return job[0].get("key", source=1)
        wait_until(lambda: job[0]._waiting)
        return job.server.mark_ended(1, "exited with status 3")

    error, _ = together(2, act)
    assert isinstance(error, PeerFailure)
    assert "exited with status 3" in str(error)


def test_a_process_that_ended_after_its_goodbye_is_not_dead_but_gone(make_job):
    job = make_job(2)
    job[1].close()
    job.server.mark_ended(1, "exited with status 0")
    with pytest.raises(PeerFailure, match="has left"):
        job[0].barrier("b", [0, 1])
    assert job[0].dead_ranks() == []


def test_a_lost_server_ends_every_wait(together, wait_until):
    server = StoreServer(1).start()
    store = Store.connect(server.address, rank=0, timeout=30)

    def act(k):
        if k == 0:
            return store.get("never")
        wait_until(lambda: store._waiting)
        return server.close()

    error, _ = together(2, act)
    assert isinstance(error, TransportError)
    with pytest.raises(TransportError):
        store.set("key", b"")
    store.close()


def test_errors_say_which_rank_and_operation(make_job):
    with pytest.raises(StallTimeout) as caught:
        make_job(2)[1].get("key", timeout=0)
    assert (caught.value.rank, caught.value.operation) == (1, "get 'key'")
