"""Medians, quartiles, and ratios between contenders that were measured in the same rounds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """The quartiles of a sample."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """The quartiles of one value or more."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


def best(samples: Mapping[str, Sequence[float]], among: Sequence[str]) -> str | None:
    """The name with the lowest median of those in `among` that have samples."""
    medians = {name: statistics.median(samples[name]) for name in among if samples.get(name)}
    return min(medians, key=medians.__getitem__) if medians else None


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Summary | None:
    """The quartiles of `slower / faster`, round by round: what moves both in a round drops out.

    Rounds in which either is not above 0 (refilling took longer alone than with the call) are left out; None where
    no round remains.
    """
    ratios = [a / b for a, b in zip(slower, faster, strict=True) if a > 0 and b > 0]
    return Summary.of(ratios) if ratios else None
