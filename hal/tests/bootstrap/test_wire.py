import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.bootstrap import Limits
from hal.bootstrap.table import format_ranks
from hal.bootstrap.wire import (
    FrameReader,
    Op,
    Request,
    Response,
    Status,
    WireError,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    frame,
    pack_values,
    unpack_values,
)

LIMITS = Limits(max_key=64, max_value=256)
NAMES = st.text(min_size=1, max_size=16)
VALUES = st.binary(max_size=256)
IDS = st.integers(0, 2**32 - 1)
MEMBERS = st.lists(st.integers(0, 7), unique=True, min_size=1).map(tuple)
REQUESTS = st.one_of(
    st.builds(Request, st.just(Op.SET), IDS, name=NAMES, value=VALUES),
    st.builds(Request, st.just(Op.GET), IDS, timeout=st.just(1.5), name=NAMES, members=st.sampled_from([(), (3,)])),
    st.builds(Request, st.just(Op.GATHER), IDS, timeout=st.just(0.25), name=NAMES, members=MEMBERS, value=VALUES),
    st.builds(Request, st.sampled_from([Op.DELETE, Op.DELETE_PREFIX]), IDS, name=NAMES),
    st.builds(Request, st.just(Op.GOODBYE), IDS),
)


def decode(payload):
    return decode_request(payload, size=8, limits=LIMITS)


@given(REQUESTS)
def test_requests_survive_the_wire(request):
    assert decode(encode_request(request)[4:]) == request


@given(st.builds(Response, st.sampled_from(Status), IDS, VALUES))
def test_responses_survive_the_wire(response):
    assert decode_response(encode_response(response)[4:]) == response


@given(st.lists(VALUES))
def test_lists_of_values_survive_the_wire(values):
    assert unpack_values(pack_values(values)) == values


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_a_wire_error(payload):
    for read in (decode, decode_response, unpack_values):
        with contextlib.suppress(WireError):
            read(payload)


@given(REQUESTS, st.data())
def test_a_shortened_request_is_never_taken_for_whole(request, data):
    payload = encode_request(request)[4:]
    cut = data.draw(st.integers(0, len(payload) - len(request.value) - 1)) if len(payload) > len(request.value) else 0
    with pytest.raises(WireError):
        decode(payload[:cut])


@given(st.lists(st.binary(max_size=50)), st.data())
def test_frames_come_out_however_the_stream_is_cut(payloads, data):
    stream = b"".join(map(frame, payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    reader, found = FrameReader(50), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[start:end])
    assert found == payloads


def test_a_frame_beyond_the_limit_is_refused_by_its_length_alone():
    with pytest.raises(WireError, match="51"):
        FrameReader(50).feed((51).to_bytes(4, "big"))


@pytest.mark.parametrize(
    "request_",
    [
        Request(Op.SET, 1, name="x" * 97),
        Request(Op.SET, 1, name="x", value=b"x" * 257),
        Request(Op.SET, 1),
        Request(Op.GOODBYE, 1, name="x"),
        Request(Op.SET, 1, name="x", members=(1,)),
        Request(Op.DELETE, 1, name="x", value=b"x"),
        Request(Op.GATHER, 1, name="x"),
        Request(Op.GATHER, 1, name="x", members=(8,)),
        Request(Op.GATHER, 1, name="x", members=(1, 1)),
        Request(Op.GET, 1, name="x", members=(1, 2)),
    ],
)
def test_requests_that_break_a_rule_are_refused(request_):
    with pytest.raises(WireError):
        decode(encode_request(request_)[4:])


@pytest.mark.parametrize(
    ("ranks", "text"), [([], "no rank"), ([3], "rank 3"), ([4, 2, 0, 1], "ranks 0-2, 4"), ([0, 1], "ranks 0-1")]
)
def test_ranks_are_written_in_ranges(ranks, text):
    assert format_ranks(ranks) == text
