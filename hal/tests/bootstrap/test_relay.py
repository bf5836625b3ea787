import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.bootstrap.relay import LineMarker, Relay, make_prefix


@given(st.lists(st.binary(max_size=30)))
def test_lines_come_out_however_they_arrive(pieces):
    marker = LineMarker(b"> ")
    found = b"".join(map(marker.feed, pieces)) + marker.finish()
    whole = b"".join(pieces)
    lines = whole.removesuffix(b"\n").split(b"\n") if whole else []
    assert found == b"".join(b"> " + line + b"\n" for line in lines)


def test_a_partial_line_waits_for_its_end():
    marker = LineMarker(b"> ")
    assert marker.feed(b"a") == b""
    assert marker.feed(b"b\nc") == b"> ab\n"
    assert marker.finish() == b"> c\n"
    assert marker.finish() == b""


def test_bytes_that_are_no_text_pass():
    assert LineMarker(b"").feed(b"\xff\x00\r\n") == b"\xff\x00\r\n"


@given(st.integers(0, 35), st.integers(1, 7))
def test_long_lines_are_cut(length, step):
    marker, line = LineMarker(b"> ", limit=10), bytes(range(65, 65 + length))
    found = b"".join(marker.feed(line[at : at + step]) for at in range(0, length, step)) + marker.finish()
    pieces = found.split(b"\n")[:-1]
    assert all(piece.startswith(b"> ") and len(piece) <= 12 for piece in pieces)
    assert b"".join(piece[2:] for piece in pieces) == line


def test_an_endless_line_does_not_gather_in_memory():
    marker = LineMarker(b"", limit=100)
    assert sum(len(marker.feed(b"x" * 90)) for _ in range(100)) >= 100 * 90 - 100


@pytest.mark.parametrize(("colour", "prefix"), [(False, b"[7] "), (True, b"\x1b[33m[7] \x1b[0m")])
def test_prefixes(colour, prefix):
    assert make_prefix(7, colour=colour) == prefix


class Broken(io.BytesIO):
    def write(self, data):
        raise BrokenPipeError


def test_a_broken_output_is_felt_by_the_writer(wait_until):
    read_end, write_end = os.pipe()
    relay = Relay()
    relay.add(os.fdopen(read_end, "rb", buffering=0), LineMarker(b""), Broken())
    relay.start()
    try:

        def write_fails():
            try:
                os.write(write_end, b"line\n")
            except BrokenPipeError:
                return True
            return False

        wait_until(write_fails)
    finally:
        os.close(write_end)
        relay.finish()
        assert relay.wait(30)


def test_what_outlives_the_ranks_is_not_waited_for():
    read_end, write_end = os.pipe()
    relay, output = Relay(), io.BytesIO()
    relay.add(os.fdopen(read_end, "rb", buffering=0), LineMarker(b""), output)
    os.write(write_end, b"last words")
    relay.start()
    relay.finish()
    assert relay.wait(30)
    os.close(write_end)
    assert output.getvalue() == b"last words\n"
