"""What is measured: a collective of a size on a number of ranks, in or out of place, from a clean or a dirty source."""

from __future__ import annotations

from dataclasses import dataclass

SOURCES = ("clean", "dirty")
COLLECTIVES = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "broadcast",
    "reduce",
    "all_to_all",
    "send_recv",
    "barrier",
)
FORMS = {
    "all_reduce": ("in_place", "out_of_place"),
    "all_gather": ("out_of_place", "in_place"),
    "reduce_scatter": ("out_of_place", "in_place"),
    "broadcast": ("in_place",),
    "reduce": ("in_place", "out_of_place"),
    "all_to_all": ("out_of_place", "in_place"),
    "send_recv": ("out_of_place",),
    "barrier": ("out_of_place",),
}
"""The forms of each collective; the first is the one most used, for which there are pictures."""
SIZES = (*(4**power for power in range(1, 14)), 1 << 27)
QUICK_SIZES = (4, 4 << 10, 64 << 10, 1 << 20, 16 << 20)
ITEM = 4
"""Bytes of an element: all is measured in float32."""
BLOCKS = ("all_gather", "reduce_scatter", "all_to_all")
"""Collectives whose larger buffer has a block for each rank."""


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
    form: str = "in_place"

    @property
    def in_place(self) -> bool:
        """Whether input and output share memory."""
        return self.form == "in_place"

    @property
    def memory(self) -> int:
        """Bytes that the buffers of all ranks of one contender take."""
        if self.in_place or self.collective == "barrier":
            return self.ranks * self.bytes
        other = self.bytes // self.ranks if self.collective in ("all_gather", "reduce_scatter") else self.bytes
        return self.ranks * (self.bytes + other)


def cases(collective: str, ranks: int, sources: tuple[str, ...], *, quick: bool) -> list[Case]:
    """All cases of a collective on `ranks` ranks, by form, then by source, then by size; of quick ones one form."""
    forms = FORMS[collective][:1] if quick else FORMS[collective]
    if collective == "barrier":
        return [Case(collective, ranks, 0, "clean", forms[0])]
    if collective == "send_recv" and ranks % 2:
        return []  # ranks send to each other in pairs
    sizes = QUICK_SIZES if quick else SIZES
    # blocks of all_gather and its kin are whole elements
    usable = [size for size in sizes if collective not in BLOCKS or size % (ITEM * ranks) == 0]
    return [Case(collective, ranks, size, source, form) for form in forms for source in sources for size in usable]


def default_sources(ranks: int) -> tuple[str, ...]:
    """Both sources on two ranks; on more only the dirty one, which is what applications do."""
    return SOURCES if ranks == 2 else ("dirty",)


def show_form(case: Case) -> str:
    """In place, out of place."""
    return case.form.replace("_", " ")


def show_bytes(size: int) -> str:
    """4 B, 64 KiB, 16 MiB."""
    for unit, shift in (("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} B"
