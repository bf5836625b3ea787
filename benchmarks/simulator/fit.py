"""The topology of this host: the parameters with which the simulator comes nearest to what `hal bench` measures.

The model cannot be solved for its parameters, but it is quick for few ranks. So they are searched, by least squares of
log(predicted / measured) over all measurements: it counts too slow and too fast alike, at all sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from benchmarks.simulator.bench import Row
from hal.plan.simulate import Compute, Topology, simulate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """Times in seconds, rates in bytes a second: see `docs/simulator.md`."""

    launch: float = 1e-6
    latency: float = 1e-6
    """Of a signal, with what signalling and waiting cost."""
    link: float = 10e9
    copy: float = 20e9
    reduce: float = 20e9

    def topology(self, ranks: int, cores: int) -> Topology:
        """A mesh of ranks that share the cores."""
        topology = Topology(ranks, Compute(copy=self.copy, reduce=self.reduce, launch=self.launch), name="this host")
        for first in range(ranks):
            for second in range(first + 1, ranks):
                topology.connect(first, second, self.link, self.latency)
        topology.share_processors(range(ranks), cores)
        return topology

    def text(self, ranks: int, cores: int) -> str:
        """The same as a topology file."""
        return f"""\
topology: node
ranks: {ranks}
wiring: mesh
link: {{bandwidth: {_rate(self.link)}, latency: {_time(self.latency)}}}
processors: {cores}
rank: {{copy: {_rate(self.copy)}, reduce: {_rate(self.reduce)}, launch: {_time(self.launch)}}}
"""


WITHIN = 100.0
"""How far a parameter may go from where it begins, up and down: one that no measurement depends on stays finite."""
_STEP = 0.05
"""Of a parameter's logarithm, by which slopes are told: what is measured has kinks, and is rough below."""


def fit(rows: Sequence[Row], ranks: int, cores: int) -> Parameters:
    """The parameters that fit the rows best, on a host of `cores` cores with `ranks` ranks."""
    plans = {row.case: row.case.plan() for row in rows}

    def errors(logarithms: Array) -> list[float]:
        topology = _parameters(logarithms).topology(ranks, cores)
        predicted = [simulate(plans[row.case], topology, row.count, validate=False).time for row in rows]
        return [math.log(seconds / row.seconds) for seconds, row in zip(predicted, rows, strict=True)]

    begin = np.log(astuple(Parameters()))
    far = math.log(WITHIN)
    return _parameters(least_squares(errors, begin, bounds=(begin - far, begin + far), diff_step=_STEP).x)


def _parameters(logarithms: Array) -> Parameters:
    return Parameters(*map(float, np.exp(logarithms)))


def _rate(rate: float) -> str:
    return f"{rate / 1e9:.4g}GB/s"


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.4g}us"
