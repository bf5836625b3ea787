"""send and recv: order between two ranks, long messages, many pairs at once."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hal.interface.dtypes import DType
from hal_collectives import Communicator, run_local

from .oracle import difference, pool


@pytest.mark.parametrize("registered", [False, True])
def test_messages_arrive_in_order(registered: bool) -> None:
    lengths = [(7 * k) % 97 for k in range(200)]

    def body(comm: Communicator) -> None:
        for number, length in enumerate(lengths):
            x = comm.empty(length, np.int32) if registered else np.empty(length, np.int32)
            x[:] = number if comm.rank == 0 else -1
            if comm.rank == 0:
                comm.send(x, 1)
                x[:] = -2  # taken already
            else:
                comm.recv(x, 0)
                assert (x == number).all()

    run_local(2, body, timeout=20)


@pytest.mark.parametrize("memory", ["plain", "registered", "mixed"])
def test_long_messages_of_every_type(memory: str) -> None:
    def body(comm: Communicator) -> None:
        registered = memory == "registered" or (memory == "mixed" and comm.rank == 1)
        for dtype in DType:
            wanted = np.tile(pool(dtype, 0, True), 20)[:1_500_001]
            x = comm.empty(wanted.size, dtype) if registered else np.empty(wanted.size, dtype.numpy)
            if comm.rank == 0:
                x[:] = wanted
                comm.send(x, 1)
            else:
                comm.recv(x, 0)
                assert difference(x, wanted, dtype) is None

    run_local(2, body, timeout=20)


def test_all_pairs_at_once() -> None:
    """Every rank sends to every other, all at the same time, several messages each, collected in another order."""

    def body(comm: Communicator) -> None:
        peers = [p for p in range(comm.size) if p != comm.rank]
        order = random.Random(comm.rank)
        sending, receiving = [], []
        for peer in order.sample(peers, len(peers)):
            for k in range(3):
                x = np.full(1000 * k + 1, comm.rank * 100 + peer * 10 + k)
                sending.append(comm.send(x, peer, async_op=True))
        for peer in order.sample(peers, len(peers)):
            for k in range(3):
                out = np.zeros(1000 * k + 1, np.int64)
                receiving.append((comm.recv(out, peer, async_op=True), peer * 100 + comm.rank * 10 + k))
        for work, value in order.sample(receiving, len(receiving)):
            assert (work.wait() == value).all()
        for work in sending:
            work.wait()

    run_local(6, body, timeout=20)


def test_a_read_only_array_and_a_buffer_can_be_sent() -> None:
    def body(comm: Communicator) -> None:
        if comm.rank == 0:
            x = np.arange(5, dtype=np.uint8)
            x.flags.writeable = False
            comm.send(x, 1)
            comm.send(b"hello", 1)
        else:
            assert comm.recv(np.zeros(5, np.uint8), 0).tolist() == [0, 1, 2, 3, 4]
            text = bytearray(5)
            assert comm.recv(text, 0) is text
            assert text == b"hello"

    run_local(2, body, timeout=20)


def test_a_message_passes_round_a_ring() -> None:
    def body(comm: Communicator) -> int:
        x = np.zeros(1, np.int64)
        for _ in range(50):
            if comm.rank:
                comm.recv(x, comm.rank - 1)
            x += comm.rank + 1
            comm.send(x, (comm.rank + 1) % comm.size)
            if comm.rank == 0:
                comm.recv(x, comm.size - 1)
        return int(x[0])

    assert run_local(5, body, timeout=20)[0] == 50 * 15
