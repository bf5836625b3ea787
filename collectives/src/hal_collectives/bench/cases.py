"""The rows of a benchmark: every collective, type, operation, root and size that the settings ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal.plan.collective import Collective
from hal_collectives.bench.formulas import IN_PLACE, Message, message
from hal_collectives.bench.settings import ALL_ROOTS, Settings, allowed
from hal_collectives.bench.sizes import show_size, sweep


@dataclass(frozen=True)
class Case:
    """One row: a call that is measured. `op` and `root` are None where the collective has none."""

    collective: Collective
    dtype: DType
    op: ReduceOp | None
    root: int | None
    message: Message

    @property
    def size(self) -> int:
        """The bytes of the larger buffer: what the size column shows."""
        return self.message.elements * self.dtype.itemsize

    @property
    def in_place(self) -> bool:
        """Whether there is an in-place form."""
        return self.collective in IN_PLACE

    @property
    def label(self) -> str:
        """The row in words, for the progress display."""
        words = [self.collective.label]
        if self.collective is not Collective.BARRIER:
            words += [show_size(self.size), self.dtype.label]
        if self.op is not None:
            words.append(self.op.label)
        return " ".join(words)


def cases(settings: Settings, ranks: int) -> list[Case]:
    """All rows, in the order in which they are measured. Sizes that hold less than one element a rank are left out.

    `UsageError` for a collective of which no size is left.
    """
    found: list[Case] = []
    for name in settings.collectives:
        if ranks == 1 and Collective.of(name) is Collective.SEND_RECV:
            continue  # no rank sends to itself
        of_one = list(_of_collective(settings, Collective.of(name), ranks))
        if not of_one:
            raise UsageError(
                f"{name} has nothing to measure: no size from {settings.min_bytes} to {settings.max_bytes} bytes holds"
                f" an element of {' or '.join(settings.dtypes)} for each of {ranks} ranks; raise -e"
            )
        found += of_one
    return found


def _of_collective(settings: Settings, collective: Collective, ranks: int) -> Iterator[Case]:
    if collective is Collective.BARRIER:
        yield Case(collective, DType.UINT8, None, None, message(collective, 0, ranks))
        return
    roots = range(ranks) if settings.root == ALL_ROOTS else [settings.root]
    for dtype in map(DType.of, settings.dtypes):
        ops = [ReduceOp.of(op) for op in settings.ops if allowed(dtype.label, op)] if collective.reduces else [None]
        for op in ops:
            for root in roots if collective.rooted else [None]:
                for size in sweep(settings.min_bytes, settings.max_bytes, factor=settings.factor, step=settings.step):
                    shape = message(collective, size // dtype.itemsize, ranks)
                    if shape.count:
                        yield Case(collective, dtype, op, root, shape)
