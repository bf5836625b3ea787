"""Whatever a stranger, or a rank gone mad, sends: its connection is closed, and an honest rank notices nothing."""

import itertools
import logging
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hal.bootstrap import Limits, Store, StoreServer, auth
from hal.bootstrap.address import parse_address
from hal.bootstrap.wire import FrameReader, Op, Request, decode_response, encode_request, frame

SECRET = "a secret of this test"
LIMITS = Limits(max_key=64, max_value=4096)
SIZE = 100_000
SLOW = settings(max_examples=800)
FAST = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])

REQUESTS = st.builds(
    Request,
    st.sampled_from(Op),
    st.integers(0, 2**32 - 1),
    timeout=st.sampled_from([0.0, 1000.0]),
    name=st.text(max_size=70),
    members=st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple),
    value=st.binary(max_size=100),
)


@st.composite
def damaged(draw):
    """A valid message with some bytes changed."""
    message = bytearray(encode_request(draw(REQUESTS)))
    for _ in range(draw(st.integers(1, 4))):
        message[draw(st.integers(0, len(message) - 1))] = draw(st.integers(0, 255))
    return bytes(message)


STREAMS = st.lists(
    st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(frame), REQUESTS.map(encode_request), damaged())
).map(b"".join)


class Unforeseen(logging.Handler):
    """Collects what only the server's last safety net catches. Malformed messages are foreseen; these are bugs."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture(scope="module")
def served():
    with (
        StoreServer(SIZE, secret=SECRET, limits=LIMITS) as server,
        Store.connect(server.address, rank=0, secret=SECRET, timeout=30, limits=LIMITS) as honest,
    ):
        logger, unforeseen = logging.getLogger("hal.bootstrap"), Unforeseen()
        logger.addHandler(unforeseen)
        yield server, honest, itertools.count(1), unforeseen
        logger.removeHandler(unforeseen)


def talk(sock, stream):
    """Send, hang up, and return all that the server has to say before it hangs up as well."""
    data = b""
    try:
        sock.sendall(stream)
        sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            data += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    return data


def check_honest(honest, unforeseen):
    assert not unforeseen.records
    before = honest.add("_ honest", 0)
    honest.set("_ key", b"value")
    assert honest.get("_ key") == b"value"
    assert honest.add("_ honest", 1) == before + 1


def before_authentication(served, stream):
    server, honest, _, unforeseen = served
    with socket.create_connection(parse_address(server.address), timeout=30) as sock:
        said = talk(sock, stream)
    # at most the greeting and a refusal
    assert said[auth.GREETING_SIZE :] in (b"", auth.NO_PROOF)
    check_honest(honest, unforeseen)


def after_authentication(served, stream):
    server, honest, ranks, unforeseen = served
    with socket.create_connection(parse_address(server.address), timeout=30) as sock:
        greeting = sock.recv(auth.GREETING_SIZE, socket.MSG_WAITALL)
        sock.sendall(auth.make_hello(SECRET.encode(), greeting))
        sock.recv(auth.PROOF_SIZE, socket.MSG_WAITALL)
        join = Request(Op.JOIN, 0, value=next(ranks).to_bytes(4, "big") + bytes(4))
        said = talk(sock, encode_request(join) + stream)
    for payload in FrameReader(1 << 30).feed(said):
        decode_response(payload)
    check_honest(honest, unforeseen)


@FAST
@given(stream=STREAMS)
def test_anything_before_authentication(served, stream):
    before_authentication(served, stream)


@FAST
@given(stream=STREAMS)
def test_anything_after_authentication(served, stream):
    after_authentication(served, stream)


@pytest.mark.slow
@SLOW
@given(stream=STREAMS)
def test_much_of_anything_before_authentication(served, stream):
    before_authentication(served, stream)


@pytest.mark.slow
@SLOW
@given(stream=STREAMS)
def test_much_of_anything_after_authentication(served, stream):
    after_authentication(served, stream)
