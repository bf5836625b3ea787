"""`rotate`: the plan is the one that writing every rank's blocks makes, and what cannot be rotated is refused."""

from __future__ import annotations

import pytest

from hal.interface.errors import PlanError
from hal.plan import PlanBuilder, RankBuilder
from hal.plan.rotation import rotate


def _start(collective: str = "all_gather", ranks: int = 4) -> PlanBuilder:
    return PlanBuilder(collective, name="turned", ranks=ranks)


def _pass_on(rank: RankBuilder) -> None:
    """Signals, waits, posts, a loop, packets, semaphores: all that a rank can say of another."""
    ranks = rank.plan.ranks
    after, before = ranks[(rank.id + 1) % len(ranks)], ranks[rank.id - 1]
    block = rank.block()
    free = rank.semaphore(1)
    with block.loop(4096, slots=2):
        block.copy([rank.output[rank.id], after.scratch[1].packets], rank.input[0])
        block.signal([after, before])
        block.wait([before, after])
        block.copy(after.output[before.id], rank.scratch[1].packets)
    block.acquire(free)
    block.post(after.output[rank.id], rank.input[0], signal=True, channel=3)
    block.flush(after, channel=3)
    block.wait([before], port=True, channel=3)
    block.release(free)


@pytest.mark.parametrize("ranks", [3, 4, 7])
def test_all_ranks_do_as_rank_0_does_counted_from_themselves(ranks: int) -> None:
    written, turned = _start(ranks=ranks), _start(ranks=ranks)
    for rank in written.ranks:
        _pass_on(rank)
    _pass_on(turned.ranks[0])
    rotate(turned)
    assert turned.build() == written.build()


def test_one_rank_stays_as_it_is() -> None:
    p = _start(ranks=1)
    p.ranks[0].block().copy(p.ranks[0].output[0], p.ranks[0].input[0])
    rotate(p)
    assert len(p.build().ranks[0].blocks[0]) == 1


def test_ranks_with_blocks_of_their_own_are_refused() -> None:
    p = _start()
    for rank in p.ranks:
        rank.block().copy(rank.output[rank.id], rank.input[0])
    with pytest.raises(PlanError, match="ranks other than 0 have blocks of their own"):
        rotate(p)


def test_ranks_of_different_lengths_are_refused() -> None:
    p = PlanBuilder("broadcast", name="turned", ranks=3, root=0)
    with pytest.raises(PlanError, match="differ in length"):
        rotate(p)


def test_ranges_of_rotated_chunks_are_refused() -> None:
    p = _start("all_to_all")
    first = p.ranks[0]
    first.block().copy(first.output[0:2], first.input[0:2])
    with pytest.raises(PlanError, match="chunks 0 to 1 of a rotated output are no range"):
        rotate(p)
