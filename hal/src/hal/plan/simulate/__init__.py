"""The simulator: how long a plan takes on a topology, and why.

`simulate(plan, load_topology("tree.yaml"), count)` runs the blocks of all ranks in virtual time. A move takes latency
and its bytes over the links that it crosses, which moves at the same time share fairly; see `docs/simulator.md` for
the model and for what it leaves out.
"""

from hal.plan.simulate.critical import Step
from hal.plan.simulate.prediction import Load, Prediction
from hal.plan.simulate.simulate import simulate
from hal.plan.simulate.topology import Compute, Resource, Route, Topology
from hal.plan.simulate.topology_file import load_topology

__all__ = [
    "Compute",
    "Load",
    "Prediction",
    "Resource",
    "Route",
    "Step",
    "Topology",
    "load_topology",
    "simulate",
]
