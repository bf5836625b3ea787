"""What may be passed as an array, what comes back, and that calls made before hide no error of a later one."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

from hal.interface.dtypes import DType
from hal.interface.errors import UsageError
from hal_collectives import Communicator, run_local


def frozen(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x.flags.writeable = False
    return x


def test_read_only_arrays_are_good_inputs() -> None:
    def body(comm: Communicator) -> None:
        r, n = comm.rank, comm.size
        for _ in range(3):  # the later ones are remembered calls
            x = frozen(np.arange(6) + r)
            total = np.arange(6) * n + 3
            assert (comm.all_reduce(x, np.empty(6, np.int64)) == total).all()
            assert (comm.all_gather(x) == np.arange(6) + np.arange(n)[:, None]).all()
            assert (comm.reduce_scatter(x) == total[2 * r : 2 * r + 2]).all()
            assert comm.all_to_all(x).tolist() == [2 * r + k + i for k in range(n) for i in range(2)]
            got = comm.reduce(x, np.empty(6, np.int64) if r == 1 else None, root=1)
            assert got is None if r != 1 else (got == total).all()
            assert (comm.broadcast(x, np.empty(6, np.int64), root=2) == np.arange(6) + 2).all()
            assert (comm.scatter(x if r == 0 else None, np.empty(2, np.int64)) == [2 * r, 2 * r + 1]).all()
            comm.gather(x)
            comm.all_gather_v(x)
            if r < 2:
                comm.send(x, 1) if r == 0 else comm.recv(np.empty(6, np.int64), 0)
            assert (x == np.arange(6) + r).all()

    run_local(3, body, timeout=20)


@pytest.mark.parametrize("count", [2, 1000, 100_000])
@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("in_place", [{0, 1, 2}, {1}])
def test_all_to_all_in_place_on_some_ranks(count: int, registered: bool, in_place: set[int]) -> None:
    """The others then must not read what is overwritten."""

    def body(comm: Communicator) -> None:
        r, n = comm.rank, comm.size
        make = comm.empty if registered else np.empty
        x, out = make((n, count), np.int64), make((n, count), np.int64)
        mine, blocks = r in in_place, np.arange(n)[:, None]
        call = comm.all_to_all.prepare(x, x if mine else out)
        for turn in range(5):
            x[:] = 100 * turn + 10 * r + blocks
            got = call() if turn == 4 else comm.all_to_all(x, x if mine else out)
            assert got is (x if mine else out)
            assert (got == 100 * turn + 10 * blocks + r).all()

    run_local(3, body, timeout=20)


def test_shapes() -> None:
    def body(comm: Communicator) -> None:
        x = np.ones((6, 2, 5))
        assert comm.all_reduce(x) is x
        out = np.zeros((5, 12))
        assert comm.all_reduce(x, out) is out
        assert comm.all_gather(x).shape == (3, 6, 2, 5)
        assert comm.reduce_scatter(x).shape == (2, 2, 5)
        assert comm.reduce_scatter(np.ones((3, 4))).shape == (4,)
        assert comm.all_to_all(x).shape == (6, 2, 5)
        assert comm.all_reduce(np.array(2.0)).shape == ()
        assert comm.all_gather(np.array(2.0)).tolist() == [2.0] * 3
        got = comm.gather(x, root=1)
        assert got is None if comm.rank != 1 else got.shape == (3, 6, 2, 5)
        assert comm.empty((2, 3), "bfloat16").shape == (2, 3)
        assert comm.empty(0).size == 0
        assert comm.empty((4, 0, 2), np.int8).shape == (4, 0, 2)

    run_local(3, body, timeout=20)


def test_other_objects_with_the_buffer_protocol() -> None:
    def body(comm: Communicator) -> None:
        for _ in range(3):
            x = array.array("f", [1.0, 2.0, 3.0])
            assert comm.all_reduce(x) is x
            assert list(x) == [2.0, 4.0, 6.0]
            raw = bytearray(b"\x01\x02\x03")
            comm.all_reduce(memoryview(raw), op="max")
            out = bytearray(6)
            assert comm.all_gather(bytes([comm.rank] * 3), out) is out
            assert out == b"\0\0\0\1\1\1"
            with pytest.raises(UsageError, match="read-only"):
                comm.all_reduce(b"abc")

    run_local(2, body, timeout=20)


def test_remembered_calls_tell_types_apart() -> None:
    """Those of one size, and arrays of NumPy from others."""

    def body(comm: Communicator) -> None:
        for _ in range(3):
            for dtype in DType:
                x = np.full(24 // dtype.itemsize, comm.rank + 1).astype(dtype.numpy)
                total = np.empty_like(x)
                assert (comm.all_reduce(x, total).astype(np.float64) == 3).all(), dtype.label
                assert (comm.all_reduce(x).astype(np.float64) == 3).all(), dtype.label
            out = array.array("f", [0.0] * 6)
            assert comm.all_reduce(np.full(6, 2, np.float32), out) is out
            assert list(out) == [4.0] * 6
            assert (comm.all_reduce(out, np.empty(6, np.float32)) == 8).all()

    run_local(2, body, timeout=20)


@pytest.mark.parametrize("count", [3, 100_001])
def test_arrays_at_odd_addresses(count: int) -> None:
    def body(comm: Communicator) -> None:
        for dtype in DType:
            for offset in (1, 3):
                raw = np.zeros(count * dtype.itemsize + offset, np.uint8)
                x = np.frombuffer(raw.data, dtype.numpy, count, offset)
                x[:] = comm.rank + 1
                comm.all_reduce(x)
                assert (x.astype(np.float64) == 6).all(), (dtype.label, offset)
                gathered = comm.all_gather(x)
                assert (gathered.astype(np.float64) == 6).all(), (dtype.label, offset)

    run_local(3, body, timeout=20)


def test_any_integer_is_a_root_and_a_peer() -> None:
    def body(comm: Communicator) -> None:
        for kind in (int, np.int64, np.uint8):
            x = np.array([comm.rank])
            comm.broadcast(x, root=kind(1))
            assert x[0] == 1
            comm.send(x, kind(1)) if comm.rank == 0 else comm.recv(x, kind(0))

    run_local(2, body, timeout=20)


def test_remembered_calls_hide_no_error() -> None:
    """Calls like the bad ones were made before, and so are found without a look at their arguments' details."""

    def body(comm: Communicator) -> None:
        x, y = np.ones(8, np.float32), np.ones(8, np.float32)
        whole, part = np.ones(9, np.float32), np.ones(24, np.float32)

        def good() -> None:
            comm.all_reduce(x, y)
            comm.all_reduce(y)
            comm.reduce(y, root=1)
            comm.broadcast(x, root=1)
            comm.all_gather(x, part)
            comm.all_gather(part[8 * comm.rank : 8 * comm.rank + 8], part)

        for _ in range(3):
            good()
        if comm.rank == 1:
            bad = [
                lambda: comm.all_reduce(frozen(np.ones(8, np.float32))),
                lambda: comm.all_reduce(x, frozen(np.ones(8, np.float32))),
                lambda: comm.all_reduce(whole[:8], whole[1:]),
                lambda: comm.all_reduce(x, y.view(np.int32)),
                lambda: comm.all_reduce(x.view(np.int32), y),
                lambda: comm.all_reduce(x.view(">f4"), y.view(">f4")),
                lambda: comm.all_reduce(np.ones(16, np.float32)[::2], y),
                lambda: comm.all_reduce(x, y, "SUMM"),
                lambda: comm.reduce(y, root=True),
                lambda: comm.reduce(y, root=1.0),  # type: ignore[arg-type]  # wrong on purpose
                lambda: comm.broadcast(x, root=np.float32(1)),  # type: ignore[arg-type]  # wrong on purpose
                lambda: comm.all_gather(x, part[:16]),
                lambda: comm.all_gather(part[:8], part),
                lambda: comm.all_gather(part[9:17], part),
                lambda: comm.all_reduce(x, y, timeout=0),
            ]
            for call in bad:
                with pytest.raises(UsageError):
                    call()
        good()

    run_local(3, body, timeout=10)


def test_arrays_of_the_communicator_outlive_it() -> None:
    def body(comm: Communicator) -> np.ndarray[Any, Any]:
        x = comm.empty(100_000, np.int64)
        x[:] = comm.rank
        comm.all_reduce(x)
        view = x[5:].view(np.uint64)
        comm.close()
        return view

    for view in run_local(3, body, timeout=20):
        assert (view == 3).all()
        view[:] = 1


def test_much_registered_memory_comes_and_goes() -> None:
    def body(comm: Communicator) -> None:
        for turn in range(200):
            x = comm.empty(50_000 + turn * 1000, np.float32)
            x[:] = turn
            comm.all_reduce(x)
            assert x[0] == x[-1] == turn * comm.size

    run_local(3, body, timeout=20)
