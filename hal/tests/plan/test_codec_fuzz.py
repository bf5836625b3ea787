"""Round trips of random plans, and random damage: a reader of outside data returns a plan or raises `PlanError`."""

import json
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hal.interface.dtypes import ReduceOp
from hal.interface.errors import PlanError
from hal.plan import Plan, PlanBuilder, digest, dumps, encode, loads

CHUNKS = 4
few = settings(max_examples=60, database=None)
many = settings(max_examples=200, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def plans(draw):
    """Valid plans: both ends of everything are appended at once, in random order and place."""
    size = draw(st.integers(1, 4))
    p = PlanBuilder(
        "custom",
        name=draw(st.text("abcä", min_size=1, max_size=8)),
        ranks=size,
        split=draw(st.integers(1, 9)),
        root=draw(st.none() | st.integers(0, size - 1)),
        align=1 << draw(st.integers(0, 8)),
        scratch_chunk_bytes=draw(st.none() | st.integers(1, 9999)),
        in_place=draw(st.booleans()),
        description=draw(st.text("abc «»\n")),
        input_chunks=CHUNKS,
        output_chunks=CHUNKS,
    )
    blocks = [[rank.block() for _ in range(draw(st.integers(1, 2)))] for rank in p.ranks]
    semaphores = [[rank.semaphore(draw(st.integers(0, 3)))] for rank in p.ranks]
    ranks = st.sampled_from(p.ranks)
    chunk = st.integers(0, CHUNKS - 1)
    for kind in draw(st.lists(st.sampled_from(["move", "packet", "signal", "loop", "post", "barrier", "semaphore"]))):
        rank, other = draw(ranks), draw(ranks)
        block, far = draw(st.sampled_from(blocks[rank.id])), draw(st.sampled_from(blocks[other.id]))
        if kind == "move":
            op = draw(st.none() | st.sampled_from(ReduceOp))
            block.move(rank.output[draw(chunk)], [rank.input[draw(chunk)], other.input[draw(chunk)]], op, final=True)
        elif kind == "packet":
            block.copy(other.scratch[draw(chunk)].packets, rank.input[draw(chunk)])
        elif kind == "barrier":
            for each in blocks[rank.id]:
                each.barrier(draw(st.just(rank.id)), len(blocks[rank.id]))
        elif kind == "semaphore":
            block.acquire(semaphores[rank.id][0])
            block.release(semaphores[rank.id][0])
        elif rank is other:
            block.sync()
        elif kind == "signal":
            relaxed = draw(st.booleans())
            block.signal([other], relaxed=relaxed, channel=1)
            far.wait([rank], relaxed=relaxed, channel=1)
        elif kind == "post":
            signal = draw(st.booleans())
            block.post(other.output[draw(chunk)], rank.input[draw(chunk)], signal=signal, flush=not signal, channel=2)
            block.flush(other, channel=2)
            if signal:
                far.wait([rank], port=True, channel=2)
        elif kind == "loop":
            unit, slots = 64 * draw(st.integers(1, 9)), draw(st.integers(1, 4))
            with block.loop(unit, slots):
                block.copy(other.output[draw(chunk)], rank.input[draw(chunk)])
                block.signal([other], channel=3)
            with far.loop(unit, slots):
                far.wait([rank], channel=3)
    return p.build()


@given(plans())
@few
def test_the_round_trip_is_the_identity(plan):
    again = loads(dumps(plan))
    assert again == plan
    assert again.description == plan.description
    assert digest(again) == digest(plan)
    assert dumps(again) == dumps(plan)


def read(text):
    message = ""
    try:
        assert isinstance(loads(text), Plan)
    except PlanError as error:
        message = str(error)
    assert len(message) < 5000


@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
@many
def test_random_bytes(content):
    read(content)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 9)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["move", "loop", "input", "switch", "sum"])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def places(value, found):
    """Every container and key in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        places(inner, found)
    return found


@given(st.integers(0, 2**32), st.lists(values, min_size=1, max_size=3))
@many
def test_damaged_documents(everything, seed, new):
    chance = random.Random(seed)
    document = encode(everything)
    for value in new:
        container, key = chance.choice(places(document, []))
        damage = chance.choice(["replace", "delete", "swap", "repeat"])
        if damage == "replace":
            container[key] = value
        elif damage == "delete":
            del container[key]
        elif damage == "swap":
            other, other_key = chance.choice(places(document, []))
            container[key] = json.loads(json.dumps(other[other_key]))
        elif isinstance(container, list):
            container += [container[key]] * chance.randrange(1, 4)
    read(json.dumps(document))


@given(st.integers(0, 2**32))
@many
def test_damaged_text(everything, seed):
    chance = random.Random(seed)
    text = bytearray(dumps(everything).encode())
    for _ in range(chance.randrange(1, 4)):
        first = chance.randrange(len(text))
        text[first : first + chance.randrange(3)] = chance.choice(
            [b"", b"[", b"{", b'"', b"9", b"-", b"1e9", b"\x80", b"0"]
        )
    read(bytes(text))
