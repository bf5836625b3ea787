import itertools
import os

import pytest

from hal.bootstrap import Limits, Store, StoreServer
from hal.interface.errors import StallTimeout, TransportError, UsageError


def test_a_value_set_by_one_rank_is_got_by_another(make_job):
    job = make_job(2)
    job[0].set("key", b"\x00\xff")
    assert job[1].get("key") == b"\x00\xff"


def test_get_waits_for_set(make_job, together):
    job = make_job(2)

    def act(rank):
        if rank == 0:
            return job[0].get("late")
        job[1].barrier("alone", [1])  # whichever comes first, the result is the same
        job[1].set("late", b"value")
        return None

    assert together(2, act) == [b"value", None]


def test_a_waiting_get_does_not_hold_up_other_threads_of_its_store(make_job, together):
    store = make_job(1)[0]
    assert together(2, lambda k: store.get("a") if k == 0 else store.set("a", b"1")) == [b"1", None]


def test_add_is_atomic(make_job, together):
    job = make_job(4)
    sums = together(4, lambda rank: [job[rank].add("n", 1) for _ in range(50)])
    assert sorted(itertools.chain(*sums)) == list(range(1, 201))
    assert job[0].get("n") == b"200"
    assert job[0].add("n", -300) == -100


def test_add_needs_a_number(make_job):
    store = make_job(1)[0]
    store.set("text", b"abc")
    with pytest.raises(UsageError, match="'text'"):
        store.add("text", 1)
    store.add("big", 2**63 - 1)
    with pytest.raises(UsageError, match="64 bits"):
        store.add("big", 1)


def test_delete(make_job):
    store = make_job(1)[0]
    for key in ("a/1", "a/2", "b/1"):
        store.set(key, b"")
    assert store.delete("b/1")
    assert not store.delete("b/1")
    assert store.delete_prefix("a/") == 2
    with pytest.raises(StallTimeout):
        store.get("a/1", timeout=0)


def test_all_gather_is_in_the_order_of_members_and_can_be_repeated(make_job, together):
    job = make_job(3)
    members = [2, 0, 1]
    for _ in range(20):
        found = together(3, lambda rank: job[rank].all_gather("x", str(rank).encode(), members))
        assert found == [[b"2", b"0", b"1"]] * 3


def test_all_gather_among_some_ranks(make_job, together):
    job = make_job(4)
    found = together(4, lambda rank: job[rank].all_gather(f"g{rank % 2}", bytes([rank]), [rank % 2, rank % 2 + 2]))
    assert found == [[b"\0", b"\2"], [b"\1", b"\3"]] * 2


def test_values_up_to_the_limit(make_job, together):
    job = make_job(3)
    value = bytes(5_000_000)
    assert together(3, lambda rank: job[rank].all_gather("big", value, range(3)) == [value] * 3) == [True] * 3
    job[0].set("longest", bytes(16 << 20))
    assert len(job[1].get("longest")) == 16 << 20


def test_barrier_waits_for_all(make_job, together):
    job = make_job(3)
    arrived = []

    def act(rank):
        arrived.append(rank)
        job[rank].barrier("b", range(3))
        return len(arrived)

    assert together(3, act) == [3, 3, 3]


def test_a_barrier_and_an_all_gather_of_one_name_do_not_meet(make_job, together):
    job = make_job(2)
    calls = (
        lambda: job[0].barrier("same", [0, 1], timeout=0.3),
        lambda: job[1].all_gather("same", b"", [0, 1], timeout=0.3),
    )
    assert [type(error) for error in together(2, lambda rank: calls[rank]())] == [StallTimeout] * 2


@pytest.mark.parametrize("members", [[], [1], [0, 0, 1], [0, 2], [0, -1]])
def test_members_that_cannot_be_are_refused(make_job, members):
    store = make_job(2)[0]
    with pytest.raises(UsageError, match="member"):
        store.barrier("b", members)


def test_ranks_that_disagree_on_members_are_told(make_job, together):
    job = make_job(3)
    errors = together(3, lambda rank: job[rank].barrier("b", [0, 1, 2] if rank else [0, 1]))
    assert all(isinstance(error, UsageError) and "disagree" in str(error) for error in errors)


def test_a_rank_cannot_take_part_twice_at_once(make_job, together):
    job = make_job(2)

    def act(_):
        try:
            return job[0].barrier("b", [0, 1])
        except UsageError as error:
            job[1].barrier("b", [0, 1])  # releases the one that came first
            return error

    results = together(2, act)
    assert {type(result) for result in results} == {UsageError, type(None)}


@pytest.mark.parametrize("key", ["", "x" * 1025, "\ud800", 7])
def test_keys_that_cannot_be_are_refused(make_job, key):
    store = make_job(1)[0]
    for call in (store.get, store.delete, lambda key: store.set(key, b""), lambda key: store.barrier(key, [0])):
        with pytest.raises(UsageError):
            call(key)


@pytest.mark.parametrize("value", ["text", bytes(101)])
def test_values_that_cannot_be_are_refused(make_job, value):
    limits = Limits(max_value=100)
    job = make_job(1, [], limits=limits)
    store = job.join(0, limits=limits)
    with pytest.raises(UsageError, match="value"):
        store.set("key", value)


def test_too_much_in_one_all_gather_is_refused_on_every_rank(make_job, together):
    limits = Limits(max_gather=100)
    job = make_job(2, [], limits=limits)
    job.join(0, 1, limits=limits)
    errors = together(2, lambda rank: job[rank].all_gather("x", bytes(60), [0, 1]))
    assert all(isinstance(error, UsageError) and "100 bytes" in str(error) for error in errors)


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1"])
def test_timeouts_that_cannot_be_are_refused(make_job, timeout):
    store = make_job(1)[0]
    with pytest.raises(UsageError, match="timeout"):
        store.get("key", timeout=timeout)


def test_a_closed_store_says_so(make_job):
    store = make_job(1)[0]
    store.close()
    store.close()
    with pytest.raises(UsageError, match="closed"):
        store.get("key")


def test_closing_ends_the_waits_of_other_threads(make_job, together, wait_until):
    store = make_job(1)[0]

    def act(k):
        if k == 0:
            return store.get("never")
        wait_until(lambda: store._waiting)
        return store.close()

    error, closed = together(2, act)
    assert isinstance(error, UsageError)
    assert closed is None


@pytest.mark.parametrize(
    ("rank", "size", "text"),
    [(2, None, "rank 2 is not in a job of size 2"), (1, 3, "says that the job has 3"), (0, 2, "already")],
)
def test_a_rank_without_a_place_is_refused(make_job, rank, size, text):
    job = make_job(2, [0])
    with pytest.raises(UsageError, match=text):
        job.join(rank, size=size)
    assert job.join(1).size == 2


def test_a_rank_that_said_goodbye_may_come_back_where_the_server_outlives_it(make_job, together):
    job = make_job(2)
    job[0].close()
    job.join(0)
    assert together(2, lambda rank: job[rank].barrier("b", [0, 1])) == [None, None]


def test_no_server():
    with StoreServer(1) as server:
        address = server.address
    with pytest.raises(StallTimeout, match=address):
        Store.connect(address, rank=0, timeout=0.2)


def test_a_port_that_is_taken():
    with StoreServer(1) as server:
        port = int(server.address.rpartition(":")[2])
        with pytest.raises(TransportError, match=str(port)):
            StoreServer(1, port=port).start()


def test_many_ranks_as_threads(make_job, together):
    size = 32
    job = make_job(size, [])

    def act(rank):
        store = job.join(rank)
        found = [store.all_gather(f"round {k}", bytes([rank, k]), range(size)) for k in range(5)]
        store.barrier("end", range(size))
        store.close()
        return found

    assert together(size, act) == [[[bytes([rank, k]) for rank in range(size)] for k in range(5)]] * size


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_say_goodbye_for_its_parent():
    with StoreServer(1) as server:
        store = Store.connect(server.address, rank=0, secret=server.secret, timeout=20)
        child = os.fork()
        if child == 0:
            store.close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0
        store.set("still", b"there")
        assert store.get("still") == b"there"
        store.close()
