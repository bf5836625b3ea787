"""What an agent did when, in arrays: a run has millions of instructions, and most are never looked at again."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

_BITS = 40


@dataclass(eq=False, slots=True)
class Record:
    """The instructions that an agent has run, in order. A block's begin where the one before ends.

    `causes` holds for each what ended its waiting: a `reference` to an instruction of another agent, or 0 where it had
    not to wait; `vias` the class of the object by which that came. Ports have `starts` and `sizes` in bytes too.
    """

    ends: array[float] = field(default_factory=lambda: array("d"))
    causes: array[int] = field(default_factory=lambda: array("q"))
    vias: array[int] = field(default_factory=lambda: array("i"))
    starts: array[float] | None = None
    sizes: array[int] = field(default_factory=lambda: array("q"))

    def add(self, end: float, cause: int, via: int) -> None:
        """Note that an instruction has ended."""
        self.ends.append(end)
        self.causes.append(cause)
        self.vias.append(via)


def reference(agent: int, record: Record) -> int:
    """A number for the instruction that this agent ran last; one for its beginning where it has run none."""
    return (agent + 1) << _BITS | len(record.ends)


def dereference(number: int) -> tuple[int, int]:
    """The agent of a reference, and the place of the instruction in its record; -1 for its beginning."""
    return (number >> _BITS) - 1, (number & ((1 << _BITS) - 1)) - 1
