"""Algorithms: functions that build plans for the collectives, and the register by which they are found.

One module a collective holds the algorithms in which all ranks deal with each other at once; `ring`, `tree`,
`doubling`, the `hierarchical` and the `pushed` ones hold those of that shape. Importing this package registers all of
them.
"""

from hal_collectives.algorithms import (
    all_gather,
    all_reduce,
    all_to_all,
    barrier,
    broadcast,
    doubling,
    gather,
    hierarchical,
    hierarchical_staged,
    pushed,
    pushed_rooted,
    reduce,
    reduce_scatter,
    ring,
    scatter,
    send_recv,
    tree,
)
from hal_collectives.algorithms.registry import Algorithm, algorithm, algorithms, get, provide

__all__ = [
    "Algorithm",
    "algorithm",
    "algorithms",
    "all_gather",
    "all_reduce",
    "all_to_all",
    "barrier",
    "broadcast",
    "doubling",
    "gather",
    "get",
    "hierarchical",
    "hierarchical_staged",
    "provide",
    "pushed",
    "pushed_rooted",
    "reduce",
    "reduce_scatter",
    "ring",
    "scatter",
    "send_recv",
    "tree",
]
