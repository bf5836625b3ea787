"""How each collective is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from hal.plan.collective import Collective
from hal_collectives.bench.cases import Case
from hal_collectives.communicator import Communicator

Array = NDArray[Any]


def bind(comm: Communicator, case: Case, source: Array, target: Array) -> Callable[[], object]:
    """The call of one case on these buffers, ready to be repeated; it blocks until the result is there.

    In place, `source` and `target` are or share the same memory.
    """
    op = case.op.label if case.op is not None else "sum"
    root = case.root or 0
    match case.collective:
        case Collective.ALL_REDUCE:
            return lambda: comm.all_reduce(source, target, op)
        case Collective.REDUCE_SCATTER:
            return lambda: comm.reduce_scatter(source, target, op)
        case Collective.REDUCE:
            return lambda: comm.reduce(source, target, op, root)
        case Collective.ALL_GATHER:
            return lambda: comm.all_gather(source, target)
        case Collective.GATHER:
            return lambda: comm.gather(source, target, root)
        case Collective.BROADCAST:
            return lambda: comm.broadcast(source, target, root)
        case Collective.SCATTER:
            return lambda: comm.scatter(source, target, root)
        case Collective.ALL_TO_ALL:
            return lambda: comm.all_to_all(source, target)
        case Collective.SEND_RECV:
            return _send_recv(comm, source, target)
        case _:
            return comm.barrier


def _send_recv(comm: Communicator, source: Array, target: Array) -> Callable[[], object]:
    """Send to the next rank, receive from the one before, as nccl-tests' sendrecv does.

    A send returns when it has been received, so every other rank receives first: else all would wait in a circle.
    """
    after, before = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    receive_first = comm.rank % 2 == 1

    def exchange() -> None:
        if receive_first:
            comm.recv(target, before)
        comm.send(source, after)
        if not receive_first:
            comm.recv(target, before)

    return exchange
