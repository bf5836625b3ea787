"""Endpoints and keys come back from bytes, and bytes that are none are refused."""

from __future__ import annotations

import pytest

from hal.interface.errors import UsageError
from hal_ib.settings import IbSettings
from hal_ib.wire import Endpoint, Key

ENDPOINT = Endpoint("RoCE v2", bytes(range(16)), 7, 3, 0xABCDEF, (17, 18, 19))
KEY = Key(0xDEADBEEF, 1 << 47, 4096)


def test_they_come_back():
    assert Endpoint.unpack(ENDPOINT.pack()) == ENDPOINT
    assert Key.unpack(KEY.pack()) == KEY


@pytest.mark.parametrize("at", [0, 4, 23, 27, 28])  # mark, kind, MTU, packet number, count
def test_an_altered_endpoint_is_refused(at):
    data = bytearray(ENDPOINT.pack())
    data[at] ^= 0xFF
    with pytest.raises(UsageError, match="no endpoint"):
        Endpoint.unpack(bytes(data))


@pytest.mark.parametrize("data", [b"", b"HIBe", ENDPOINT.pack()[:-1], ENDPOINT.pack() + b"x", KEY.pack()])
def test_what_is_no_endpoint(data):
    with pytest.raises(UsageError, match="no endpoint"):
        Endpoint.unpack(data)


@pytest.mark.parametrize("data", [b"", KEY.pack()[:-1], KEY.pack() + b"x", ENDPOINT.pack()])
def test_what_is_no_key(data):
    with pytest.raises(UsageError, match="no key"):
        Key.unpack(data)


def test_a_key_beyond_all_memory():
    with pytest.raises(UsageError, match="end of the address space"):
        Key.unpack(Key(1, 2**64 - 1, 2).pack())


@pytest.mark.parametrize(("duration", "exponent"), [("4.2s", 20), ("1s", 18), ("100ms", 15), ("1ms", 8)])
def test_the_timeout_of_acknowledgements_is_rounded_up(duration, exponent):
    settings = IbSettings(ack_timeout=duration)
    assert settings.ack_exponent == exponent
    assert 4.096e-6 * 2**exponent >= settings.ack_timeout > 4.096e-6 * 2 ** (exponent - 1)
