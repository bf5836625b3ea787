"""What is measured: a collective of a size on a number of ranks, from a clean or a dirty source."""

from __future__ import annotations

from dataclasses import dataclass

SOURCES = ("clean", "dirty")
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_to_all", "barrier")
ALL_REDUCE_SIZES = (*(4**power for power in range(1, 14)), 1 << 27)
QUICK_SIZES = (4, 4 << 10, 64 << 10, 1 << 20, 16 << 20)
OTHER_SIZES = (256, 16 << 10, 1 << 20, 16 << 20)
ITEM = 4
"""Bytes of an element: all is measured in float32."""


@dataclass(frozen=True)
class Case:
    """One row of a table.

    `bytes` is the larger of a rank's input and output, as nccl-tests counts; 0 for barrier. `source` is "clean" where
    nothing but the collective writes the input, "dirty" where every rank refills its input before each call.
    """

    collective: str
    ranks: int
    bytes: int
    source: str


def cases(collective: str, ranks: int, sources: tuple[str, ...], *, quick: bool) -> list[Case]:
    """All cases of a collective on `ranks` ranks, by source, then by size."""
    if collective == "barrier":
        return [Case(collective, ranks, 0, "clean")]
    sizes = OTHER_SIZES if collective != "all_reduce" else QUICK_SIZES if quick else ALL_REDUCE_SIZES
    # blocks of all_gather and its kin are whole elements
    usable = [size for size in sizes if collective in ("all_reduce", "broadcast") or size % (ITEM * ranks) == 0]
    return [Case(collective, ranks, size, source) for source in sources for size in usable]


def default_sources(ranks: int) -> tuple[str, ...]:
    """Both sources on two ranks; on more only the dirty one, which is what applications do."""
    return SOURCES if ranks == 2 else ("dirty",)


def show_bytes(size: int) -> str:
    """4 B, 64 KiB, 16 MiB."""
    for unit, shift in (("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} B"
