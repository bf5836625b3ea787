"""Proof before the first run: each plan once, remembered by its digest, here and in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import weakref
from functools import cache
from pathlib import Path

from hal.interface.errors import PlanError
from hal.plan.codec import digest
from hal.plan.memo import once_per_plan
from hal.plan.model import Plan

MOST_SHOWN = 5
"""Findings that the error of a refused plan quotes."""

_trusted: dict[int, tuple[weakref.ref[Plan], bool]] = {}
"""By identity, while the plan lives: whether for counts that differ too."""
_proven: set[str] = set()


def prove(plan: Plan, *, variable: bool = False) -> None:
    """Make sure that a plan is right before it runs; `PlanError` with the findings where it is not.

    With `variable` also for counts that differ between ranks. A plan that was proven before, in this process or by this
    user on this machine, is not examined again.
    """
    if variable:
        _prove_variable(plan)
    else:
        _prove_equal(plan)


@once_per_plan
def _prove_equal(plan: Plan) -> None:
    _prove(plan, False)


@once_per_plan
def _prove_variable(plan: Plan) -> None:
    _prove(plan, True)


def _prove(plan: Plan, variable: bool) -> None:
    known = _trusted.get(id(plan))
    if known is not None and known[0]() is plan and known[1] >= variable:
        return
    name = digest(plan) + ("-variable" if variable else "")
    if name in _proven:
        return
    marker = _folder() / name
    if not marker.exists():
        from hal.plan.verify import verify  # here, because few runs need it

        report = verify(plan, variable=variable)
        if not report.ok:
            few = "\n".join(str(finding) for finding in report.findings[:MOST_SHOWN])
            more = len(report.findings) - MOST_SHOWN
            rest = f"\n... and {more} more: `hal plan verify` shows all" if more > 0 else ""
            raise PlanError(f"plan {plan.name!r} is refused, it is not right in every schedule:\n{few}{rest}")
        # remembering saves time alone, so that a folder that cannot be written is no error
        with contextlib.suppress(OSError):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
    _proven.add(name)


def trust(plan: Plan, *, variable: bool = False) -> Plan:
    """Let a plan run without a proof, and return it.

    For plans that tests have proven already, and for those that do a part of what must happen, such as a single put,
    and leave the order to their caller; with `variable` for counts that differ between ranks too.
    """
    key = id(plan)
    _trusted[key] = (weakref.ref(plan, lambda _: _trusted.pop(key, None)), variable)
    return plan


def _folder() -> Path:
    """Where proofs are remembered: apart for each version of the verifier, whose source, with that of plans, is it."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "hal" / "proven" / _version()


@cache
def _version() -> str:
    source = hashlib.sha256()
    own = Path(__file__).parent
    for file in sorted([*own.glob("*.py"), *own.parent.glob("*.py")]):
        source.update(file.read_bytes())
    return source.hexdigest()[:16]
