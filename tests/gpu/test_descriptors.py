"""File descriptors go between members alone, and none is left open."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from hal.gpu.descriptors import Inbox, close
from hal.interface.errors import BackendUnavailable


@pytest.fixture
def inboxes():
    made = [Inbox() for _ in range(13)]  # more than a queue has room for
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield made
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    for each in made:
        each.close()


def test_every_member_gets_those_of_all_others(inboxes):
    addresses = [each.address for each in inboxes]
    found = {}

    def member(rank):
        own = [os.memfd_create(f"from-{rank}-{number}") for number in range(1 + rank % 2)]
        received = inboxes[rank].exchange(rank, addresses, own, 30)
        found[rank] = {r: [os.readlink(f"/proc/self/fd/{d}") for d in them] for r, them in received.items()}
        for descriptors in (own, *received.values()):
            close(descriptors)

    ranks = [threading.Thread(target=member, args=(rank,)) for rank in range(len(inboxes))]
    for each in ranks:
        each.start()
    for each in ranks:
        each.join(60)
    for rank in range(len(inboxes)):
        others = [r for r in range(len(inboxes)) if r != rank]
        names = {r: [f"/memfd:from-{r}-{number} (deleted)" for number in range(1 + r % 2)] for r in others}
        assert found[rank] == names


def test_what_strangers_send_is_thrown_away(inboxes):
    own = [os.memfd_create("own")]
    address = inboxes[0].address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for data in (bytes(20), b"", address[:16], address[:16] + bytes(9), address[:16] + b"\xff" * 4):
            rights = own[0].to_bytes(4, "little")
            stranger.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0, address[16:])
    with pytest.raises(BackendUnavailable, match=r"no handles came from ranks \[1\] within 0 s"):
        inboxes[0].exchange(0, [address, inboxes[1].address], own, 0.2)
    close(own)
    inboxes[1]._receive(2, got := {})
    assert list(got) == [0]
    close(got[0])


def test_a_member_that_is_gone(inboxes):
    gone = Inbox()
    gone.close()
    with pytest.raises(BackendUnavailable, match=r"cannot pass handles to the process of rank 1: .* share its network"):
        inboxes[0].exchange(0, [inboxes[0].address, gone.address], [], 5)
