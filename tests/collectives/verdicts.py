"""The execution plans of MSCCL++'s own tests, and what is known of each: what import and verifier have to say.

The files are not part of this repository; tests read them where they lie, and skip where they do not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared/data/mscclpp-plans"

CORRECT = (
    "allreduce",
    "allreduce_packet",
    "reduce",
    "reduce_nvls",
    "reduce_nvls_pipeline",
    "reduce_pack",
    "reduce_pack_tbg",
    "transfer_pack",
    "transfer_pack_tbg",
)
RACY = ("reduce_tbg",)
"""Operands of which parts do not line up are ordered between the same blocks of two ranks alone."""
REFUSED = {"allreduce_pipeline": "the key 'buff' is obsolete"}
"""With a part of what the import says."""


def plan_path(name: str) -> Path:
    """The file of a plan; skips the test where it is missing."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the plans of MSCCL++'s tests are not in {FOLDER}")
    return path
