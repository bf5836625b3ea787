import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal.interface.errors import PlanError
from hal.plan import BufferKind, Layout, PlanBuilder, Span
from hal.plan.layout import SCRATCH_ALIGN, cut


@given(st.integers(0, 10**9), st.integers(1, 200), st.integers(1, 64))
@settings(database=None)
def test_a_cut_covers_the_count_at_aligned_places(count, pieces, align):
    extents = cut(count, pieces, align)
    assert len(extents) == pieces
    assert sum(n for _, n in extents) == count
    assert all(a + n == b for (a, n), (b, _) in itertools.pairwise(extents))
    assert extents[0][0] == 0
    assert all(a % align == 0 or a == count for a, _ in extents)
    whole = [n // align for _, n in extents if n % align == 0]
    assert not whole or max(whole) - min(whole) <= 1


def gather(ranks, split, **options):
    return PlanBuilder("all_gather", name="p", ranks=ranks, split=split, **options).build()


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 1000, 4097])
def test_chunks_lie_in_their_block(count, itemsize):
    layout = Layout.uniform(gather(3, 4), count, itemsize)
    for block, chunk in itertools.product(range(3), range(4)):
        offset, length = layout.outputs[0][block * 4 + chunk]
        inside, same = layout.inputs[0][chunk]
        assert (offset, length) == (block * count * itemsize + inside, same)
        assert length % itemsize == 0


def test_a_cut_is_at_multiples_of_the_alignment_in_bytes():
    layout = Layout.uniform(gather(1, 4, align=256), 1000, 4)
    assert [offset for offset, _ in layout.inputs[0]] == [0, 1024, 2048, 3072]


def test_scratch_chunks_hold_the_longest_chunk_and_are_aligned():
    longest = max(n for _, n in Layout.uniform(gather(1, 3), 1000, 4).inputs[0])
    chunk = Layout.uniform(gather(1, 3), 1000, 4).scratch_chunk
    assert chunk >= longest
    assert chunk % SCRATCH_ALIGN == 0
    assert Layout.uniform(gather(1, 3, scratch_chunk_bytes=300), 1000, 4).scratch_chunk == 384


def test_ranges_of_chunks_are_one_extent():
    layout = Layout.uniform(gather(2, 4), 1000, 4)
    assert layout.extent(0, Span(BufferKind.OUTPUT, 4, 4)) == (4000, 4000)
    first = layout.extent(0, Span(BufferKind.INPUT, 0, 2))
    assert first == (0, layout.inputs[0][0][1] + layout.inputs[0][1][1])


def test_an_explicit_layout_is_in_elements_and_refuses_ranges_with_gaps():
    plan = gather(2, 1)
    layout = Layout.explicit(plan, (((0, 3),), ((0, 5),)), (((10, 3), (13, 5)), ((0, 3), (8, 5))), 4)
    assert layout.outputs[0] == ((40, 12), (52, 20))
    assert layout.scratch_chunk == SCRATCH_ALIGN
    assert layout.extent(0, Span(BufferKind.OUTPUT, 0, 2)) == (40, 32)
    with pytest.raises(PlanError, match="do not adjoin"):
        layout.extent(1, Span(BufferKind.OUTPUT, 0, 2))
