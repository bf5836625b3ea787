"""The meeting of all ranks: the synchronisation that most algorithms here are made of."""

from __future__ import annotations

from hal.plan.builder import BlockBuilder


def meet(block: BlockBuilder) -> None:
    """Signal all other ranks and wait for all of them. What any wrote before, all see after; nothing for one rank."""
    others = block.rank.others
    if others:
        block.signal(others)
        block.wait(others)
