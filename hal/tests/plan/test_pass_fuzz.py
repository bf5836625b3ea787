"""Passes over random plans: what they make does the same; and what they cannot do they refuse."""

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hal.interface.errors import PlanError
from hal.plan import Loop, Move, PlanBuilder, Sync, validate
from hal.plan.passes import fuse, instances, pipeline, synchronise
from hal.plan.verify import Code, verify
from hal.reference import run

from .test_codec_fuzz import plans

CHUNKS = 4
many = settings(
    max_examples=150,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def sequences(draw):
    """A rank that moves its data to and fro, one move after the other, so that there is one result.

    It reads nothing that was not written, and where chunks of scratch have gaps, only ranges as they were written.
    """
    even = draw(st.booleans())
    p = PlanBuilder(
        "custom", name="random", ranks=1, split=2, input_chunks=CHUNKS, output_chunks=CHUNKS, in_place=False, even=even
    )
    (rank,) = p.ranks
    block = rank.block()
    ranges = [(index, size) for size in (1, 2) for index in range(CHUNKS - size + 1)]
    written = {(rank.input, *range_) for range_ in ranges}
    for _ in range(draw(st.integers(1, 8))):
        index, size = draw(st.sampled_from(ranges))
        piece = index % 2

        def fits(buffer, first, length, size=size, piece=piece):
            return length == size and (even or buffer is rank.scratch or first % 2 == piece)

        source, other = (draw(st.sampled_from(sorted((w for w in written if fits(*w)), key=order))) for _ in range(2))
        targets = [(b, *r) for b in (rank.output, rank.scratch) for r in ranges if fits(b, *r)]
        target = draw(st.sampled_from(targets))
        sources = [source, other] if draw(st.booleans()) else [source]
        if any(overlap(target, one) and target != one for one in sources):
            continue
        if not even and all(buffer is rank.scratch for buffer, _, _ in (target, *sources)):
            continue
        block.move(*([b[first : first + n] for b, first, n in many] for many in ([target], sources)))
        block.sync()
        written = {w for w in written if w[0] is not rank.scratch or not overlap(w, target)} | {target}
    return p.build()


def overlap(a, b):
    return a[0] is b[0] and a[1] < b[1] + b[2] and b[1] < a[1] + a[2]


def order(operand):
    buffer, *range_ = operand
    return buffer._kind.value, range_


def outcome(plan):
    count = 6 * 64  # 64 bytes for each of the pieces that any of these plans has
    data = np.arange(CHUNKS // 2 * count, dtype=np.int32) * 7 + 1
    result = run(plan, [data], count=count)
    return result.outputs[0].tobytes(), result.inputs[0].tobytes()


@given(sequences())
@many
def test_fuse_does_the_same(plan):
    made = fuse(plan)
    assert outcome(made) == outcome(plan)
    moves = [sum(isinstance(i, Move) for i in one.ranks[0].blocks[0]) for one in (made, plan)]
    assert moves[0] <= moves[1]
    assert Code.MISSING_SYNC not in {finding.code for finding in verify(made).findings}


@given(sequences())
@many
def test_synchronise_orders_what_needs_it(plan):
    (rank,) = plan.ranks
    bare = replace(plan, ranks=(replace(rank, blocks=(tuple(i for i in rank.blocks[0] if not isinstance(i, Sync)),)),))
    made = synchronise(bare)
    assert Code.MISSING_SYNC not in {finding.code for finding in verify(made).findings}
    assert outcome(made) == outcome(plan)


@given(sequences(), st.integers(2, 3))
@many
def test_instances_do_the_same(plan, n):
    try:
        made = instances(plan, n)
    except PlanError:
        assume(False)
    assert outcome(made) == outcome(plan)


@given(sequences(), st.sampled_from([64, 128]), st.integers(1, 3))
@many
def test_pieces_do_the_same(plan, unit, slots):
    try:
        made = pipeline(plan, unit, slots)
    except PlanError:
        assume(False)
    assert any(isinstance(i, Loop) for i in made.ranks[0].blocks[0])
    assert Code.MISSING_SYNC not in {finding.code for finding in verify(made).findings}
    assert outcome(made) == outcome(plan)


@given(plans(), st.integers(1, 3))
@many
def test_valid_or_refused(plan, n):
    for change in (fuse, synchronise, lambda p: instances(p, n), lambda p: pipeline(p, 64, n)):
        try:
            validate(change(plan))
        except PlanError:
            continue
