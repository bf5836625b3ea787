"""The cases of the matrix: collectives, types, operations, lengths, kinds of memory, places of the output."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from hal.interface.dtypes import DType, ReduceOp

RANKS = [1, 2, 3, 4, 5, 7, 8, 16]
COUNTS = [0, 1, 3, 17, 1000, 65537]
REDUCING = ["all_reduce", "reduce", "reduce_scatter", "reduce_scatter_v"]
MOVING = [
    "all_gather",
    "all_gather_v",
    "all_to_all",
    "all_to_all_v",
    "broadcast",
    "gather",
    "gather_v",
    "scatter",
    "scatter_v",
    "send_recv",
]
WITHOUT_NEW_OUTPUT = {"all_reduce", "reduce", "broadcast", "send_recv"}


@dataclass(frozen=True)
class Case:
    """One call. `count` is the length of what one rank contributes to or receives from another one."""

    collective: str
    dtype: DType
    op: ReduceOp
    count: int
    place: str
    """`in` place, to an `out`, or to a `new` array that the call makes."""
    memory: str
    """`plain`, `registered`, or `mixed`: registered on some ranks."""
    where: float
    """The root, as a fraction of the ranks: 0 the first, 1 the last."""

    def root(self, size: int) -> int:
        return round(self.where * (size - 1))

    def block(self, size: int) -> int:
        """The count, cut down where every rank has a block for each other one, so that buffers stay in bounds."""
        return self.count if self.count <= 1000 else max(1, self.count // size)


def matrix(
    collectives: Iterable[str] = (*REDUCING, *MOVING),
    dtypes: Iterable[DType] = tuple(DType),
    counts: Iterable[int] = tuple(COUNTS),
    memories: Iterable[str] = ("plain", "registered"),
) -> Iterator[Case]:
    """All legal combinations. Roots take turns."""
    dtypes, counts, memories = list(dtypes), list(counts), list(memories)
    roots = itertools.cycle([0.0, 1.0, 0.5])
    for collective in collectives:
        places = ["in", "out"] if collective in WITHOUT_NEW_OUTPUT else ["in", "out", "new"]
        if collective == "send_recv":
            places = ["out"]
        for dtype in dtypes:
            ops = [ReduceOp.SUM]
            if collective in REDUCING:
                ops = [op for op in ReduceOp if not (op.is_bitwise and dtype.is_float)]
            for op, count, memory, place in itertools.product(ops, counts, memories, places):
                yield Case(collective, dtype, op, count, place, memory, next(roots))


def covering(cases: Iterable[Case], seed: int, candidates: int = 12) -> list[Case]:
    """A sample in which every two values of two parameters that go together in some case go together once."""

    def pairs(case: Case) -> list[tuple[object, object]]:
        values = [(f.name, getattr(case, f.name)) for f in fields(case)]
        return list(itertools.combinations(values, 2))

    pool = {case: pairs(case) for case in cases}
    missing = set(itertools.chain.from_iterable(pool.values()))
    order = list(pool)
    random.Random(seed).shuffle(order)
    chosen = []
    while missing:
        useful = []
        while order and len(useful) < candidates:
            case = order.pop()
            if not missing.isdisjoint(pool[case]):
                useful.append(case)
        best = max(useful, key=lambda c: len(missing.intersection(pool[c])))
        useful.remove(best)
        order += useful
        chosen.append(best)
        missing.difference_update(pool[best])
    return chosen
