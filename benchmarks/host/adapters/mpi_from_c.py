"""MPI called from C (mpi_loop.c): a limit for what the same library can do from Python."""

from __future__ import annotations

import ctypes

from benchmarks.host.adapters import Array, Call, Loop, partner, ping_pong, unknown

_CODES = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "all_to_all", "send", "recv", "barrier")


class _Call(ctypes.Structure):
    _fields_ = (
        ("what", ctypes.c_int),
        ("in_place", ctypes.c_int),
        ("peer", ctypes.c_int),
        ("count", ctypes.c_int),
        ("source", ctypes.c_void_p),
        ("target", ctypes.c_void_p),
    )


class MpiFromC:
    """The compiled loop, in a process that has joined its job."""

    def __init__(self, library: str, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._library = ctypes.CDLL(library)

    def calls(self, collective: str, source: Array, target: Array, *, in_place: bool) -> list[Call]:
        """As `Adapter.calls`; each is one call through ctypes, which serves for checking results."""
        smaller = min(source.size, target.size)
        count = {
            "all_gather": target.size // self._size,
            "reduce_scatter": source.size // self._size,
            "all_to_all": source.size // self._size,
            "barrier": 0,
        }.get(collective, smaller)

        def call(what: str, peer: int = 0) -> Call:
            at = (array.ctypes.data for array in (source, target))
            return self._one, (_Call(_CODES.index(what), in_place, peer, count, *at),)

        if collective == "send_recv":
            peer = partner(self._rank)
            return ping_pong(self._rank, call("send", peer), call("recv", peer))
        if collective not in _CODES:
            raise unknown("MPI", collective, in_place)
        roots = range(self._size) if collective in ("broadcast", "reduce") else range(1)
        return [call(collective, root) for root in roots]

    def loop(self, source: Array, calls: list[Call]) -> Loop:
        """As `Adapter.loop`."""
        turns = (_Call * len(calls))(*(arguments[0] for _, arguments in calls))
        times = (ctypes.c_longlong * 2)()

        def run(iterations: int, warmup: int, dirty: bool) -> tuple[int, int]:
            at, elements = ctypes.c_void_p(source.ctypes.data), ctypes.c_long(source.size)
            steps = (ctypes.c_long(iterations), ctypes.c_long(warmup))
            self._judge(self._library.mpi_loop_batch(turns, len(turns), at, elements, int(dirty), *steps, times))
            return times[0], times[1]

        return run

    def _one(self, call: _Call) -> None:
        self._judge(self._library.mpi_loop_call(ctypes.byref(call)))

    def _judge(self, status: int) -> None:
        if status != 0:
            raise RuntimeError(f"MPI returned error {status}")
