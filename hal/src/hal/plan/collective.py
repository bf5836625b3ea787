"""The collectives: names, codes, and how many times the element count of a call each buffer holds.

The count of a call is the one of nccl-tests and MPI: the elements that one rank contributes to or receives from one
other. all_gather of count c reads c elements and writes n*c.
"""

from __future__ import annotations

import enum

from hal.interface.errors import UsageError, unknown_name


class Collective(enum.IntEnum):
    """A collective operation. The value is its code in native code and in the exchange that compares the ranks."""

    BARRIER = 0
    ALL_REDUCE = 1
    ALL_GATHER = 2
    REDUCE_SCATTER = 3
    BROADCAST = 4
    REDUCE = 5
    GATHER = 6
    SCATTER = 7
    ALL_TO_ALL = 8
    SEND_RECV = 9
    ALL_GATHER_V = 10
    REDUCE_SCATTER_V = 11
    GATHER_V = 12
    SCATTER_V = 13
    ALL_TO_ALL_V = 14
    CUSTOM = 15

    @property
    def label(self) -> str:
        """The lower-case name, as in plans, files and the command line."""
        return self.name.lower()

    @property
    def reduces(self) -> bool:
        """Whether contributions are combined by a reduction."""
        return self in (
            Collective.ALL_REDUCE,
            Collective.REDUCE_SCATTER,
            Collective.REDUCE,
            Collective.REDUCE_SCATTER_V,
        )

    @property
    def rooted(self) -> bool:
        """Whether one rank is the root."""
        return self in (
            Collective.BROADCAST,
            Collective.REDUCE,
            Collective.GATHER,
            Collective.SCATTER,
            Collective.GATHER_V,
            Collective.SCATTER_V,
        )

    @property
    def uniform(self) -> Collective:
        """The collective of equal counts that a variable-count form is planned as; itself for the others."""
        return Collective[self.name.removesuffix("_V")]

    @classmethod
    def of(cls, name: str | Collective) -> Collective:
        """The collective of that name; `UsageError` where there is none."""
        if isinstance(name, cls):
            return name
        found = _BY_LABEL.get(str(name).lower())
        if found is None:
            raise UsageError(unknown_name("collective", name, [c.label for c in cls]))
        return found

    def blocks(self, size: int, rank: int, root: int | None = None) -> tuple[int, int]:
        """How many times the count the input and the output of `rank` hold, in a group of `size` ranks.

        In `broadcast` the root alone has an input and every rank an output; in `send_recv` rank 0 sends to rank 1.
        """
        at_root = rank == root
        match self.uniform:
            case Collective.BARRIER:
                return 0, 0
            case Collective.ALL_GATHER:
                return 1, size
            case Collective.REDUCE_SCATTER:
                return size, 1
            case Collective.BROADCAST:
                return int(at_root), 1
            case Collective.REDUCE:
                return 1, int(at_root)
            case Collective.GATHER:
                return 1, size if at_root else 0
            case Collective.SCATTER:
                return size if at_root else 0, 1
            case Collective.ALL_TO_ALL:
                return size, size
            case Collective.SEND_RECV:
                return int(rank == 0), int(rank == 1)
            case _:
                return 1, 1


_BY_LABEL = {collective.label: collective for collective in Collective}
