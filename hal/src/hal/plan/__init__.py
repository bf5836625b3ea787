"""Plans: what each rank does in a collective, as data that any backend executes.

Write one with `PlanBuilder`, keep it with `dumps` / `loads`, run it anywhere: `hal.reference.run` in this process,
`hal.runtime` on devices.
"""

from typing import TYPE_CHECKING, Any

from hal.plan.builder import BlockBuilder, BufferBuilder, Chunks, PlanBuilder, RankBuilder
from hal.plan.codec import digest, dumps, encode, loads
from hal.plan.collective import Collective
from hal.plan.files import load, read_file, save
from hal.plan.layout import Layout
from hal.plan.lower import Program, lower
from hal.plan.model import (
    Acquire,
    Barrier,
    BufferKind,
    Channel,
    ChannelKind,
    Flush,
    Instruction,
    Loop,
    Move,
    Plan,
    Post,
    RankPlan,
    Release,
    Signal,
    Span,
    Sync,
    Wait,
)
from hal.plan.rotation import rotate
from hal.plan.text import describe, instruction_at, show
from hal.plan.validate import validate

if TYPE_CHECKING:
    from hal.plan.mscclpp import Imported, ImportOptions, import_mscclpp

load_plan = load
"""`load`, for those who import it by name."""

__all__ = [
    "Acquire",
    "Barrier",
    "BlockBuilder",
    "BufferBuilder",
    "BufferKind",
    "Channel",
    "ChannelKind",
    "Chunks",
    "Collective",
    "Flush",
    "ImportOptions",
    "Imported",
    "Instruction",
    "Layout",
    "Loop",
    "Move",
    "Plan",
    "PlanBuilder",
    "Post",
    "Program",
    "RankBuilder",
    "RankPlan",
    "Release",
    "Signal",
    "Span",
    "Sync",
    "Wait",
    "describe",
    "digest",
    "dumps",
    "encode",
    "import_mscclpp",
    "instruction_at",
    "load",
    "load_plan",
    "loads",
    "lower",
    "read_file",
    "rotate",
    "save",
    "show",
    "validate",
]


def __getattr__(name: str) -> Any:
    """The import of MSCCL++ plans comes with its first use: ranks start sooner without it."""
    if name not in ("Imported", "ImportOptions", "import_mscclpp"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hal.plan import mscclpp

    return getattr(mscclpp, name)
