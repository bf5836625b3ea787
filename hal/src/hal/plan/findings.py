"""What the verifier finds, with stable codes, for people and as JSON."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hal.interface.dtypes import DType, ReduceOp
from hal.plan.text import Path, path_text


class Code(enum.Enum):
    """What is wrong. The values are stable: tools may rely on them."""

    MALFORMED = "malformed"
    """Something that the plan names does not exist, or its parts do not fit together (`hal.plan.validate`)."""
    OUT_OF_BOUNDS = "out-of-bounds"
    """An operand reaches beyond its buffer."""
    UNMATCHED_SIGNAL = "unmatched-signal"
    """A launch has more signals than waits on a channel, or fewer."""
    UNMATCHED_BARRIER = "unmatched-barrier"
    """The blocks that meet at a barrier are not as many as it says, or do not meet equally often."""
    DEADLOCK = "deadlock"
    """Blocks wait for each other in a circle, or for what never comes."""
    DATA_RACE = "data-race"
    """Two blocks access the same memory, one of them writes, and nothing orders them."""
    MISSING_SYNC = "missing-sync"
    """Two moves of one block do so, without a sync between them."""
    SELF_OVERLAP = "self-overlap"
    """Operands of one move overlap without being the same, where output and input share memory."""
    LAUNCH_ORDER = "launch-order"
    """A rank accesses another's input or output before that rank has begun the launch, or after it may have ended it:
    back-to-back runs then disturb each other."""
    PACKET_REUSE = "packet-reuse"
    """A packet is written twice in a launch: its flag cannot tell which of them has arrived."""
    PACKET_OVERLAP = "packet-overlap"
    """Scratch is used both for packets and for plain data, which can look like a flag."""
    CONTENDED = "contended"
    """Blocks that nothing orders use one channel or semaphore, so that it is open which of them a signal serves."""
    UNWRITTEN_READ = "unwritten-read"
    """Memory is read that nothing has written in this launch."""
    WRONG_RESULT = "wrong-result"
    """The output does not hold what the collective promises."""
    INPUT_OVERWRITTEN = "input-overwritten"
    """The plan changes its input where that is not part of the output."""
    UNEVEN_COUNTS = "uneven-counts"
    """Right for equal counts, but wrong, or not examined, where the counts of ranks differ."""
    RESOURCE_LIMIT = "resource-limit"
    """The plan needs more of something than the device has."""
    TOO_LARGE = "too-large"
    """The plan has more steps than the verifier examines."""


@dataclass(frozen=True)
class Where:
    """An instruction of the plan. `path` is () for a block's or a rank's end."""

    rank: int
    block: int
    path: Path
    text: str = ""
    source: str = ""
    """The line of the program that built the plan, `file:line`; empty where the plan comes from a file."""
    piece: int | None = None
    """The piece of the loop around it."""

    def __str__(self) -> str:
        piece = "" if self.piece is None else f" (piece {self.piece})"
        at = f"rank {self.rank}, block {self.block}, instruction {path_text(self.path)}{piece}"
        line = f" [{shortened(self.source)}]" if self.source else ""
        return f"{at}: {self.text}{line}" if self.text else f"{at}{line}"

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rank": self.rank,
            "block": self.block,
            "instruction": list(self.path),
            "piece": self.piece,
            "text": self.text,
            "source": self.source,
        }


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what, where, and why. `where` has both sides of a race, the circle of a deadlock."""

    code: Code
    message: str
    where: tuple[Where, ...] = ()
    sharing: str = ""
    """`in place` where it holds only when output and input share memory."""

    def __str__(self) -> str:
        head = f"{self.code.value}: {self.message}" + (f" ({self.sharing})" if self.sharing else "")
        return "\n".join([head, *(f"    {place}" for place in self.where)])

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "code": self.code.value,
            "message": self.message,
            "where": [place.facts() for place in self.where],
            "sharing": self.sharing,
        }


@dataclass(frozen=True)
class Scope:
    """The calls of a plan that its proof holds for."""

    variable: bool
    """Whether the counts of ranks may differ; else every count that is the same on all ranks."""
    operations: tuple[ReduceOp, ...]
    """The reductions for which the outputs are right; none where nothing is reduced."""
    sharings: tuple[str, ...]
    """`apart`, `in place`: how input and output may share memory."""
    outputs: bool = True
    """Whether the outputs were examined; a `custom` plan promises nothing of them."""

    @property
    def types(self) -> tuple[DType, ...]:
        """The element types for which one of the operations is defined."""
        bitwise = bool(self.operations) and all(op.is_bitwise for op in self.operations)
        return tuple(dtype for dtype in DType if not (bitwise and dtype.is_float))

    def __str__(self) -> str:
        counts = "equal and different counts" if self.variable else "equal counts"
        named = " and ".join(op.label for op in self.operations) + " alone"
        what = "" if not self.operations else f", {'any operation' if self.operations == tuple(ReduceOp) else named}"
        types = "any type" if self.types == tuple(DType) else "integers"
        results = "" if self.outputs else ", but not what outputs hold"
        return f"{counts}{what}, {types}, {' and '.join(self.sharings)}{results}"

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "counts": "any" if self.variable else "equal",
            "operations": [op.label for op in self.operations],
            "types": [dtype.label for dtype in self.types],
            "sharings": list(self.sharings),
            "outputs": self.outputs,
        }


@dataclass(frozen=True)
class Report:
    """The verdict on a plan."""

    plan: str
    ranks: int
    digest: str
    findings: tuple[Finding, ...] = ()
    steps: int = 0
    """Instructions examined, each piece of a loop and each layout counted."""
    layouts: tuple[str, ...] = field(default=())
    """The cuts of a count and the sharings of memory under which the plan was examined."""
    scope: Scope | None = None
    """What the proof holds for; None where there is none."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        if self.ok:
            return f"plan {self.plan!r} on {self.ranks} ranks: proven ({self.steps} steps): {self.scope}"
        count = "1 finding" if len(self.findings) == 1 else f"{len(self.findings)} findings"
        return "\n".join([f"plan {self.plan!r} on {self.ranks} ranks: {count}", *map(str, self.findings)])

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "plan": self.plan,
            "ranks": self.ranks,
            "digest": self.digest,
            "ok": self.ok,
            "scope": None if self.scope is None else self.scope.facts(),
            "steps": self.steps,
            "layouts": list(self.layouts),
            "findings": [finding.facts() for finding in self.findings],
        }


def shortened(source: str) -> str:
    """A source line as reports print it: relative to the working directory where it lies below."""
    base = os.getcwd() + os.sep
    return source.removeprefix(base)


def distinct(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings without repetitions: same code at the same instructions, whatever the piece."""
    seen: dict[object, Finding] = {}
    for finding in findings:
        places = tuple((w.rank, w.block, w.path) for w in finding.where if w.path)
        seen.setdefault((finding.code, places or finding.message), finding)
    return tuple(seen.values())
