import logging
import socket
import time

import pytest

from hal.bootstrap import Limits, Store, StoreServer, auth
from hal.bootstrap.address import parse_address
from hal.bootstrap.wire import FrameReader, Op, Request, encode_request
from hal.interface.errors import TransportError, UsageError

SECRET = "a secret of this test"


def dial(server):
    return socket.create_connection(parse_address(server.address), timeout=30)


def read_to_end(sock):
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def authenticate(server):
    sock = dial(server)
    greeting = sock.recv(auth.GREETING_SIZE, socket.MSG_WAITALL)
    hello = auth.make_hello(SECRET.encode(), greeting)
    sock.sendall(hello)
    assert auth.proof_is_right(SECRET.encode(), greeting, hello, sock.recv(auth.PROOF_SIZE, socket.MSG_WAITALL))
    return sock


@pytest.mark.parametrize(("server_secret", "client_secret"), [("right", "wrong"), ("right", None), (None, "wrong")])
def test_different_secrets_do_not_meet(server_secret, client_secret):
    with StoreServer(2, secret=server_secret) as server:
        with pytest.raises(TransportError, match="HAL_JOB_SECRET"):
            Store.connect(server.address, rank=1, secret=client_secret, timeout=30)
        with Store.connect(server.address, rank=1, secret=server_secret, timeout=30) as store:
            store.set("key", b"")


def test_a_client_does_not_trust_a_server_that_cannot_prove_the_secret(together):
    """A server that accepts anybody, and sends back what it was sent, is found out before it is told anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        address = f"127.0.0.1:{listener.getsockname()[1]}"

        def impostor():
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(30)
                sock.sendall(auth.make_greeting())
                hello = sock.recv(auth.HELLO_SIZE, socket.MSG_WAITALL)
                sock.sendall(hello[-auth.PROOF_SIZE :])
                return read_to_end(sock)

        told, error = together(
            2, lambda k: impostor() if k == 0 else Store.connect(address, rank=0, secret=SECRET, timeout=30)
        )
    assert isinstance(error, TransportError)
    assert told == b""


def test_an_overheard_hello_is_worth_nothing(make_job):
    job = make_job(2)
    with dial(job.server) as first, dial(job.server) as second:
        greeting = first.recv(auth.GREETING_SIZE, socket.MSG_WAITALL)
        second.recv(auth.GREETING_SIZE, socket.MSG_WAITALL)
        second.sendall(auth.make_hello(SECRET.encode(), greeting))
        assert read_to_end(second) == auth.NO_PROOF


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "example.org"])
def test_without_a_secret_only_loopback_is_served_and_dialled(host):
    with pytest.raises(UsageError, match="HAL_JOB_SECRET"):
        StoreServer(1, host=host)
    if host:
        with pytest.raises(UsageError, match="HAL_JOB_SECRET"):
            Store.connect(f"{host}:1", rank=0, timeout=1)


def test_with_a_secret_all_interfaces_can_be_served():
    with (
        StoreServer(1, host="", secret=SECRET) as server,
        Store.connect(server.address, rank=0, secret=SECRET, timeout=30) as store,
    ):
        assert store.add("n", 1) == 1


def test_nothing_is_processed_before_authentication(make_job):
    job = make_job(2, [0])
    with dial(job.server) as sock:
        sock.sendall(bytes(auth.HELLO_SIZE - 1) + encode_request(Request(Op.SET, 1, name="k", value=b"v")))
        assert len(read_to_end(sock)) == auth.GREETING_SIZE
    assert not job[0].delete("k")


def test_nothing_is_processed_before_joining(make_job):
    job = make_job(2, [0])
    with authenticate(job.server) as sock:
        sock.sendall(encode_request(Request(Op.SET, 1, name="k", value=b"v")))
        assert read_to_end(sock) == b""
    assert not job[0].delete("k")


def test_an_oversize_frame_closes_the_connection_at_its_length(make_job, wait_until, caplog):
    job = make_job(2, [0], limits=Limits(max_value=1000))
    with caplog.at_level(logging.INFO, "hal.bootstrap"), authenticate(job.server) as sock:
        sock.sendall((10_000_000).to_bytes(4, "big"))
        assert read_to_end(sock) == b""
        wait_until(lambda: "10000000 bytes" in caplog.text)
    job[0].set("still", b"here")


@pytest.mark.parametrize("start", [b"", b"HAL\x01"])
def test_who_dawdles_is_dropped(make_job, start):
    job = make_job(2, [0], limits=Limits(handshake_timeout=0.3))
    with dial(job.server) as sock:
        sock.sendall(start)
        read_to_end(sock)  # returns, since the server hangs up
    job[0].set("still", b"here")


def test_who_never_joins_is_dropped(make_job):
    job = make_job(2, [0], limits=Limits(handshake_timeout=2.0))
    with authenticate(job.server) as sock:
        assert read_to_end(sock) == b""


def test_who_dawdles_drop_by_drop_is_dropped(make_job):
    job = make_job(2, [0], limits=Limits(handshake_timeout=0.3))
    with dial(job.server) as sock:

        def send_fails():
            try:
                sock.sendall(b"H")
            except OSError:
                return True
            time.sleep(0.05)  # the message could go on for longer than the deadline allows
            return False

        assert any(send_fails() for _ in range(auth.HELLO_SIZE - 1))


def test_idle_strangers_do_not_keep_ranks_out(make_job):
    job = make_job(2, [], limits=Limits(max_pending=4, handshake_timeout=1000))
    strangers = [dial(job.server) for _ in range(20)]
    try:
        job.join(0, 1)
        for stranger in strangers[:10]:
            read_to_end(stranger)  # dropped to make room
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_rank_that_breaks_the_protocol_is_dead_and_the_others_are_not(make_job, wait_until, caplog):
    job = make_job(3, [0, 1])
    with caplog.at_level(logging.INFO, "hal.bootstrap"), authenticate(job.server) as sock:
        sock.sendall(encode_request(Request(Op.JOIN, 0, value=(2).to_bytes(4, "big") + bytes(4))))
        assert FrameReader(1000).feed(sock.recv(13, socket.MSG_WAITALL))
        sock.sendall(b"\0\0\0\1\xff")
        read_to_end(sock)
        wait_until(lambda: job[0].dead_ranks() == [2])
    assert "malformed" in caplog.text
    job[0].set("still", b"here")
    assert job[1].get("still") == b"here"


def test_the_secret_is_in_no_text():
    from hal.bootstrap.dial import Target

    assert SECRET not in repr(Target("127.0.0.1:1", SECRET))
