"""Channels called from Python on the host's executor: transfers that are right, and calls that are refused."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hal.channels import MemoryChannel, PacketChannel, PortChannel, Semaphore, SwitchChannel
from hal.interface.device import Memory
from hal.interface.dtypes import DType
from hal.interface.errors import PlanError, StallTimeout, UsageError
from hal.runtime.group import Group

from . import groups


@contextlib.contextmanager
def host_ranks(size: int) -> Iterator[groups.Ranks]:
    """Ranks whose devices are closed in the end, and so what was allocated there is freed."""
    with groups.host_ranks(size) as ranks:
        yield ranks
        for group in ranks.groups:
            group.device.close()


def filled(group: Group, nbytes: int, value: int) -> Memory:
    memory = group.device.allocate(nbytes)
    group.device.fill(memory.address, value, nbytes)
    return memory


def content(memory: Memory) -> bytes:
    return ctypes.string_at(memory.address, memory.nbytes)


def ways_to_send(group: Group, peer: int) -> list[tuple[Callable[[Memory], None], Callable[[Memory], None]]]:
    """A put, a get, posts, packets: what the sender calls, and what the receiver."""
    memory, port, packets = (kind(group, peer) for kind in (MemoryChannel, PortChannel, PacketChannel))
    return [
        (memory.put, memory.accept),
        (memory.offer, memory.get),
        (port.post, port.accept),
        (packets.put, packets.accept),
    ]


def test_every_kind_of_channel_transfers() -> None:
    def body(rank: int) -> list[bytes]:
        group = ranks.groups[rank]
        source, seen = filled(group, 100, 10 + rank), []
        for send, receive in ways_to_send(group, 1 - rank):
            for sender in (0, 1):
                if rank == sender:
                    send(source)
                else:
                    receive(target := filled(group, 100, 0))
                    seen.append(content(target))
        Semaphore(group, 1 - rank).signal() if rank else Semaphore(group, 1).wait()
        return seen

    with host_ranks(2) as ranks:
        results = list(ranks._pool.map(body, range(2)))
    assert results == [[bytes([11]) * 100] * 4, [bytes([10]) * 100] * 4]


def test_a_switch_stores_to_all_and_loads_from_all() -> None:
    def body(rank: int) -> tuple[list[float], list[float]]:
        group = ranks.groups[rank]
        channel = SwitchChannel(group)
        source, target = filled(group, 12, 0), filled(group, 12, 0)
        values = np.frombuffer((ctypes.c_char * 12).from_address(source.address), np.float32)
        values[:] = [rank, rank + 1, 2]
        channel.store(source, target, root=2)
        stored = np.frombuffer(content(target), np.float32).tolist()
        channel.load_reduce(source, target, DType.FLOAT32, root=1)
        return stored, np.frombuffer(content(target), np.float32).tolist()

    with host_ranks(3) as ranks:
        results = list(ranks._pool.map(body, range(3)))
    assert [stored for stored, _ in results] == [[2, 3, 2]] * 3
    assert results[1][1] == [3, 6, 6]


def test_what_cannot_be_used_is_refused() -> None:
    with host_ranks(2) as ranks:
        group = ranks.groups[0]
        for peer in (-1, 0, 2):
            with pytest.raises(UsageError, match="no channel leads to rank"):
                Semaphore(group, peer)
        channel = MemoryChannel(group, 1)
        plain = np.zeros(100, np.uint8)
        with pytest.raises(UsageError, match="cannot be reached by other ranks"):
            channel.put(Memory(plain.ctypes.data, 100, group.device))
        switch = SwitchChannel(group)
        with pytest.raises(UsageError, match="equally many are needed"):
            switch.store(filled(group, 100, 0), filled(group, 99, 0))
        with pytest.raises(PlanError, match="scratch"):
            PacketChannel(group, 1).put(filled(group, 1 << 20, 0))
        with pytest.raises(StallTimeout):
            channel.put(filled(group, 10, 0), timeout=0.2)
    with host_ranks(1) as ranks, pytest.raises(UsageError, match="two or more"):
        SwitchChannel(ranks.groups[0])
