"""Remembering what was computed from a plan, for as long as the plan lives."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

from hal.plan.model import Plan

T = TypeVar("T")


def once_per_plan(function: Callable[[Plan], T]) -> Callable[[Plan], T]:
    """Let `function` run once for each plan object. Keyed by identity: hashing a large plan takes long."""
    results: dict[int, tuple[weakref.ref[Plan], T]] = {}

    @functools.wraps(function)
    def remembered(plan: Plan) -> T:
        known = results.get(id(plan))
        if known is not None and known[0]() is plan:
            return known[1]
        result = function(plan)
        key = id(plan)
        results[key] = (weakref.ref(plan, lambda _: results.pop(key, None)), result)
        return result

    return remembered
