"""What fails ends in the named error, in time, and leaves other connections alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hal.interface.errors import PeerFailure, StallTimeout, TransportError, UsageError
from hal_ib.transport import IbConnection
from hal_ib.wire import Key

from .pairs import FAST, POSTINGS, TIMEOUT, End, connect, needs_device, pair, settings

pytestmark = [pytest.mark.slow, needs_device]
both = pytest.mark.parametrize("posting", POSTINGS)


def _put(connection: IbConnection, key: bytes, end: End) -> None:
    connection.put(key, 0, end.registration, 0, 100)
    connection.flush(TIMEOUT)


@both
def test_a_wrong_key(posting):
    with pair(settings(posting)) as (a, b):
        spare, _ = connect(a.transport, b.transport)
        right = Key.unpack(b.key)
        wrong = Key(right.rkey ^ 0x5A5A, right.address, right.nbytes).pack()
        a.connection.put(wrong, 0, a.registration, 0, 100)
        with pytest.raises(TransportError, match="remote access error"):
            a.connection.flush(TIMEOUT)
        with pytest.raises(TransportError, match="remote access error"):  # for good
            a.connection.put(b.key, 0, a.registration, 0, 100)
        spare.put(b.key, 0, a.registration, 0, 100)
        spare.flush(TIMEOUT)


@both
def test_memory_that_was_withdrawn(posting):
    with pair(settings(posting)) as (a, b):
        b.registration.close()
        a.connection.put(b.key, 0, a.registration, 0, 100)
        with pytest.raises(TransportError, match="remote access error"):
            a.connection.flush(TIMEOUT)


@both
def test_a_queue_pair_in_the_error_state(posting):
    with pair(settings(posting)) as (a, b):
        a.connection.link.break_it()
        with pytest.raises(TransportError, match=r"error state|posting failed"):
            _put(a.connection, b.key, a)


@both
def test_a_connection_that_the_peer_has_closed(posting):
    with pair(settings(posting, **FAST)) as (a, b):
        b.connection.close()
        a.connection.put(b.key, 0, a.registration, 0, 100)
        with pytest.raises(PeerFailure, match="does not answer"):
            a.connection.flush(TIMEOUT)


@both
def test_a_flush_has_a_deadline(posting):
    with pair(settings(posting, ack_timeout="2s")) as (a, b):
        b.connection.close()
        a.connection.put(b.key, 0, a.registration, 0, 100)
        began = time.monotonic()
        with pytest.raises(StallTimeout, match=r"within 0.3 s"):
            a.connection.flush(0.3)
        assert time.monotonic() - began < 5
        with pytest.raises(StallTimeout):
            a.connection.flush(TIMEOUT)


@both
def test_a_full_queue_has_a_deadline(posting):
    chosen = settings(posting, ack_timeout="2s", queue_depth=4, post_timeout="200ms")
    with pair(chosen) as (a, b):
        b.connection.close()
        for _ in range(4):
            a.connection.put(b.key, 0, a.registration, 0, 100)
        with pytest.raises(StallTimeout, match="full queue"):
            a.connection.put(b.key, 0, a.registration, 0, 100)


@both
def test_nobody_connects_in_time_and_a_late_peer_is_waited_for(posting):
    chosen = settings(posting, **FAST)
    a, b = End(chosen, 64), End(chosen, 64)
    try:
        with pytest.raises(StallTimeout, match="has not connected"):
            a.transport.connect(a.transport.endpoint(), b.transport.endpoint(), 0.2)
        # longer than all retries of the first message
        ends = a.transport.endpoint(), b.transport.endpoint()
        late = threading.Timer(2.0, lambda: made.append(b.transport.connect(ends[1], ends[0], TIMEOUT)))
        made: list[object] = []
        late.start()
        connection = a.transport.connect(*ends, TIMEOUT)
        late.join()
        connection.put(b.key, 0, a.registration, 0, 64)
        connection.flush(TIMEOUT)
        assert made
    finally:
        a.transport.close()
        b.transport.close()


@both
def test_what_is_no_endpoint_or_key(posting):
    with pair(settings(posting)) as (a, b):
        with pytest.raises(UsageError, match="no key"):
            a.connection.put(b"12345678", 0, a.registration, 0, 1)
        with pytest.raises(UsageError, match="no endpoint"):
            a.transport.connect(a.transport.endpoint(), b"nothing", 1)
        end = a.transport.endpoint()
        with pytest.raises(UsageError, match="none that this transport made"):
            b.transport.connect(end, end, 1)


@both
def test_a_peer_that_was_killed(posting):
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("victim.py")), posting],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    end = End(settings(posting, **FAST), 4096)
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        own = end.transport.endpoint()
        child.stdin.write(own.hex() + "\n")
        child.stdin.flush()
        peer, key = (bytes.fromhex(child.stdout.readline()) for _ in range(2))
        connection = end.transport.connect(own, peer, TIMEOUT)
        connection.put(key, 0, end.registration, 0, 100)
        connection.flush(TIMEOUT)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(TIMEOUT)
        began = time.monotonic()
        with pytest.raises(PeerFailure, match="does not answer"):
            _put(connection, key, end)
        assert time.monotonic() - began < 30
    finally:
        child.kill()
        child.wait(TIMEOUT)
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()
        end.transport.close()
