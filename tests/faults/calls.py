"""The calls that ranks are interrupted in: small and large, over every kind of waiting there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hal_collectives import Communicator

PINS = {
    "one_phase": {"algorithms__all_reduce": "one_phase"},
    "all_pairs_ll": {"algorithms__all_reduce": "all_pairs_ll"},
    "ring": {"algorithms__all_reduce": "ring"},
    "staged": {"algorithms__all_reduce": "staged"},
    "recursive_doubling": {"algorithms__all_reduce": "recursive_doubling"},
    "two_phase_mapped": {"algorithms__all_reduce": "two_phase_mapped"},
    "binomial_tree": {"algorithms__broadcast": "binomial_tree"},
}
"""For each call that pins its algorithm the arguments of `init`, `local` and `run_local` that do."""

KINDS = (*PINS, "messages", "barrier")


def make(comm: Communicator, kind: str) -> Callable[..., Any]:
    """What makes a call of this kind, again and again. Keywords such as `timeout` go to the call."""
    if kind == "barrier":
        return comm.barrier
    if kind == "messages":
        return _messages(comm)
    if kind == "two_phase_mapped":
        x = comm.empty(1 << 20, np.int32)
        x[:] = 0
    else:
        x = np.zeros({"ring": 1 << 18, "staged": 1 << 18}.get(kind, 64), np.int32)
    call = comm.broadcast if kind == "binomial_tree" else comm.all_reduce
    return lambda **more: call(x, **more)


def _messages(comm: Communicator) -> Callable[..., Any]:
    """A message around the ring: every rank waits for the one before it, rank 0 for the last."""
    x = np.zeros(1 << 16, np.int32)

    def call(**more: Any) -> None:
        before, after = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
        if comm.rank == 0:
            comm.send(x, after, **more)
            comm.recv(x, before, **more)
        else:
            comm.recv(x, before, **more)
            comm.send(x, after, **more)

    return call
