"""Plans by chance: right in every schedule by the way they are made, of nearly every instruction there is."""

from __future__ import annotations

import random

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.builder import BlockBuilder, Chunks, PlanBuilder
from hal.plan.model import Plan
from hal_conformance.data import OPS

BLOCKS = 3
"""Of `count` elements: in each input, each output, and the plain scratch of each rank."""

_FIRST_PACKETS = 2
"""The first chunk of scratch in packet form that lies behind the plain ones; packets take twice the room."""

Place = tuple[int, int]
"""A rank, and a chunk of its plain scratch."""


def random_plan(chance: random.Random, ranks: int, dtype: DType) -> Plan:
    """A `custom` plan of any count, whose moves name operations that `dtype` has."""
    return _Making(chance, ranks, [op for op in OPS[dtype] if op is not ReduceOp.AVG]).make()


class _Making:
    """Phases, between which all blocks of all ranks meet. In each, some scratch is written and the rest may be read."""

    def __init__(self, chance: random.Random, ranks: int, ops: list[ReduceOp]) -> None:
        self.chance = chance
        self.ops = ops
        name = f"chance_{chance.randrange(1 << 30)}"
        self.p = PlanBuilder(
            "custom", name=name, ranks=ranks, input_chunks=BLOCKS, output_chunks=BLOCKS, in_place=False
        )
        self.workers = chance.choice([1, 1, 2, 3])
        self.blocks = [[rank.block() for _ in range(self.workers)] for rank in self.p.ranks]
        self.places = [(rank, index) for rank in range(ranks) for index in range(BLOCKS)]
        self.written: set[Place] = set()
        self.packet_slot = _FIRST_PACKETS
        self.by_port = chance.random() < 0.3

    def make(self) -> Plan:
        for rank in self.p.ranks:
            rank.scratch[0:BLOCKS]  # every rank has as much
        self.meet()
        for _ in range(self.chance.randrange(1, 5)):
            self.phase()
            self.meet()
        for rank in self.p.ranks:  # all of the outputs gets something, so that all of it is compared
            for index in range(BLOCKS):
                self.move(self.chance.choice(self.blocks[rank.id]), rank.output[index], self.written)
        self.meet()
        return self.p.build()

    def meet(self) -> None:
        for rank, blocks in zip(self.p.ranks, self.blocks, strict=True):
            for number, block in enumerate(blocks):
                if self.workers > 1:
                    block.barrier(0, self.workers)
                if number == 0 and rank.others:
                    block.signal(rank.others, channel=0, port=self.by_port)
                    block.wait(rank.others, channel=0, port=self.by_port)
                if self.workers > 1:
                    block.barrier(1, self.workers)
                block.sync()

    def phase(self) -> None:
        targets = set(self.chance.sample(self.places, self.chance.randrange(1, len(self.places))))
        readable = self.written - targets
        for owner, index in sorted(targets):
            block = self.chance.choice(self.chance.choice(self.blocks))
            target = self.p.ranks[owner].scratch[index]
            if owner != block.rank.id and self.chance.random() < 0.3:
                own = 1 + block.number  # a channel is one block's
                block.post(target, self.input(block), flush=self.chance.random() < 0.5, channel=own)
                block.flush(target.rank, channel=own)
            else:
                self.move(block, target, readable)
        if len(self.p.ranks) > 1 and self.chance.random() < 0.5:
            self.packets()
        self.written |= targets

    def packets(self) -> None:
        """Each rank sends a chunk in packets to the next one, which makes of it an output, or more packets."""
        slot = self.packet_slot
        self.packet_slot += 1
        for rank in self.p.ranks:
            following = self.p.ranks[(rank.id + 1) % len(self.p.ranks)]
            block = self.blocks[rank.id][0]
            block.copy(following.scratch[slot].packets, self.input(block))
            sources: list[Chunks] = [rank.scratch[slot].packets]
            if self.chance.random() < 0.5:
                sources.insert(self.chance.randrange(2), self.input(block))
            block.move(rank.output[self.chance.randrange(BLOCKS)], sources, self.chance.choice(self.ops))
            block.sync()

    def input(self, block: BlockBuilder) -> Chunks:
        return block.rank.input[self.chance.randrange(BLOCKS)]

    def move(self, block: BlockBuilder, target: Chunks, readable: set[Place]) -> None:
        """A copy or a reduction; among its operands is an input, from which scratch has its length."""
        many = self.chance.choice([0, 0, 1, 2, 4])
        chosen = self.chance.sample(sorted(readable), min(len(readable), many))
        sources = [self.p.ranks[owner].scratch[index] for owner, index in chosen]
        sources.insert(self.chance.randrange(len(sources) + 1), self.input(block))
        block.move(target, sources, self.chance.choice(self.ops))
