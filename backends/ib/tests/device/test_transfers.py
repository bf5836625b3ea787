"""Data arrives, whole, in order, and nowhere else, with both implementations."""

from __future__ import annotations

import random
import threading
import time

import pytest

from hal.interface.errors import UsageError

from .pairs import POSTINGS, TIMEOUT, connect, needs_device, pair, settings

pytestmark = [pytest.mark.slow, needs_device]
SIZES = (0, 1, 7, 64, 65, 4096, 4097, 1 << 16, (1 << 20) + 3, 1 << 24)
both = pytest.mark.parametrize("posting", POSTINGS)


@both
def test_sizes(posting):
    room = max(SIZES) + 128
    with pair(settings(posting), room) as (a, b):
        for nbytes in SIZES:
            data = random.Random(nbytes).randbytes(nbytes)
            a.write(64, data)
            b.write(0, b"\xee" * (nbytes + 128))
            a.connection.put(b.key, 64, a.registration, 64, nbytes)
            a.connection.flush(TIMEOUT)
            assert b.read(0, nbytes + 128) == b"\xee" * 64 + data + b"\xee" * 64
            a.write(64, bytes(nbytes))
            a.connection.get(b.key, 64, a.registration, 64, nbytes)
            a.connection.flush(TIMEOUT)
            assert a.read(64, nbytes) == data


@pytest.mark.parametrize("queues", [1, 3])
@both
def test_a_signal_comes_after_its_message(posting, queues):
    """Under load, in both directions at once, with puts that are spread over several queue pairs."""
    rounds, size = 60 if posting == "native" else 20, 16384
    with pair(settings(posting, queues=queues, stripe_size=8192), 3 * size) as ends:
        wrong: list[str] = []

        def play(own, other):
            for turn in range(1, rounds + 1):
                own.write(size, bytes([turn]) * size)
                own.connection.put(other.key, 0, own.registration, size, size)
                own.connection.atomic_add(other.key, 2 * size, 1)
                own.connection.put(other.key, 2 * size + 64, own.registration, size, 8)
                end = time.monotonic() + TIMEOUT
                while own.counter(2 * size) < turn:
                    if time.monotonic() > end:
                        wrong.append(f"no signal {turn}")
                        return
                    time.sleep(0)
                if own.read(0, size) != bytes([turn]) * size:
                    wrong.append(f"signal {turn} before its message")
                own.connection.flush(TIMEOUT)
                own.connection.atomic_add(other.key, 2 * size + 8, 1)  # read; the next may come
                while own.counter(2 * size + 8) < turn:
                    if time.monotonic() > end:
                        wrong.append(f"message {turn} was not read")
                        return
                    time.sleep(0)

        thread = threading.Thread(target=play, args=(ends[1], ends[0]))
        thread.start()
        play(*ends)
        thread.join()
        for end in ends:
            end.connection.flush(TIMEOUT)
        assert wrong == []


@both
def test_a_put_after_a_get_sends_what_was_gotten(posting):
    with pair(settings(posting), 1 << 17) as (a, b):
        for turn in range(20):
            b.write(0, bytes([turn]) * 50_000)
            a.connection.get(b.key, 0, a.registration, 0, 50_000)
            a.connection.put(b.key, 60_000, a.registration, 0, 50_000)
            a.connection.flush(TIMEOUT)
            assert b.read(60_000, 50_000) == bytes([turn]) * 50_000


@both
def test_full_queues(posting):
    """Far more operations than queues hold, without a flush between them; few completions are reported."""
    count = 1000 if posting == "native" else 300
    with pair(settings(posting, queue_depth=8), 4096) as (a, b):
        for turn in range(count):
            a.connection.put(b.key, 8, a.registration, 8 + turn % 100, 8)
            a.connection.atomic_add(b.key, 0, 1)
        a.connection.flush(TIMEOUT)
        assert b.counter(0) == count
        assert a.connection.link.reported <= count + 1  # every second request and the last one


@both
def test_one_completion_stands_for_many(posting):
    with pair(settings(posting)) as (a, b):
        for _ in range(50):
            a.connection.put(b.key, 0, a.registration, 0, 8)
        a.connection.flush(TIMEOUT)
        assert a.connection.link.reported == 1


@both
def test_both_implementations_do_the_same(posting):
    """A random program of operations, against what it does to two arrays."""
    size, random_ = 8192, random.Random(7)
    with pair(settings(posting), size) as (a, b):
        a.write(0, random_.randbytes(size))
        b.write(0, random_.randbytes(size))
        near, far = bytearray(a.read(0, size)), bytearray(b.read(0, size))
        for _ in range(150):
            nbytes = random_.choice((0, 1, 8, 63, 64, 65, 500, 4000))
            here, there = random_.randrange(size - nbytes + 1), random_.randrange(size - nbytes + 1)
            kind = random_.random()
            if kind < 0.4:
                a.connection.put(b.key, there, a.registration, here, nbytes)
                far[there : there + nbytes] = near[here : here + nbytes]
            elif kind < 0.7:
                a.connection.flush(TIMEOUT)  # local memory of puts is busy until then
                a.connection.get(b.key, there, a.registration, here, nbytes)
                near[here : here + nbytes] = far[there : there + nbytes]
            else:
                at, value = random_.randrange(size // 8) * 8, random_.randrange(2**64)
                a.connection.atomic_add(b.key, at, value)
                total = (int.from_bytes(far[at : at + 8], "little") + value) % 2**64
                far[at : at + 8] = total.to_bytes(8, "little")
        a.connection.flush(TIMEOUT)
        assert a.read(0, size) == near
        assert b.read(0, size) == far


@both
def test_many_registrations(posting):
    with pair(settings(posting), 1 << 16) as (a, b):
        memory = b.registration
        from hal.interface.device import Memory

        made = [b.transport.register(Memory(memory.address + 256 * i, 256, None)) for i in range(200)]
        for i, registration in enumerate(made):
            a.write(0, bytes([i]) * 256)
            a.connection.put(registration.key, 0, a.registration, 0, 256)
            a.connection.flush(TIMEOUT)
        assert b.read(0, 256 * 200) == b"".join(bytes([i]) * 256 for i in range(200))
        assert len({registration.rkey for registration in made}) == 200


@both
def test_several_connections(posting):
    with pair(settings(posting)) as (a, b):
        more = [connect(a.transport, b.transport)[0] for _ in range(3)]
        for connection in (a.connection, *more):
            for _ in range(10):
                connection.atomic_add(b.key, 8, 3)
        for connection in (a.connection, *more):
            connection.flush(TIMEOUT)
        assert b.counter(8) == 4 * 10 * 3


@both
def test_ranges(posting):
    with pair(settings(posting), 4096) as (a, b):
        for offset, nbytes in ((0, 4097), (4096, 1), (-1, 1), (0, -1)):
            with pytest.raises(UsageError, match="4096 bytes"):
                a.connection.put(b.key, 0, a.registration, offset, nbytes)
        with pytest.raises(UsageError, match="peer's 4096 bytes"):
            a.connection.put(b.key, 4000, a.registration, 0, 100)
        with pytest.raises(UsageError, match="not aligned"):
            a.connection.atomic_add(b.key, 4, 1)
        a.connection.put(b.key, 0, a.registration, 0, 4096)
        a.connection.flush(TIMEOUT)
