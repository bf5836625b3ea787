"""What the store knows: keys, gathers under way, and which ranks are there. No sockets, no threads, no clock.

The server feeds it requests and the time; it answers through `reply(rank, response)`, at once or later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from hal.bootstrap.wire import Limits, Op, Request, Response, Status, pack_values, rank_body

Reply = Callable[[int, Response], None]


def format_ranks(ranks: Iterable[int]) -> str:
    """`rank 3`, `ranks 0-3, 7`, or `no rank`."""
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and runs[-1][1] == rank - 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    single = len(runs) == 1 and runs[0][0] == runs[0][1]
    return f"rank{'' if single else 's'} {text}" if runs else "no rank"


@dataclass
class _Getter:
    """A rank waiting for a key, which `source` (if known) will set."""

    rank: int
    request: int
    deadline: float
    timeout: float
    source: int | None


@dataclass
class _Gather:
    """A gather that not all members have joined, or (with `failure`) that not all have been told has failed.

    `of_survivors`: members that are gone have no part in it.
    """

    members: tuple[int, ...]
    of_survivors: bool = False
    values: dict[int, bytes] = field(default_factory=dict)
    waiting: dict[int, Request] = field(default_factory=dict)
    deadlines: dict[int, float] = field(default_factory=dict)
    failure: tuple[Status, bytes] | None = None
    told: set[int] = field(default_factory=set)


class Table:
    """The state of one job's store.

    With `rejoin`, a rank that said goodbye may come back, so others wait for it; without, or once its process has
    ended, whatever needs it fails at once. A rank that died never comes back.
    """

    def __init__(self, size: int, limits: Limits, reply: Reply, *, rejoin: bool) -> None:
        self._size = size
        self._limits = limits
        self._reply = reply
        self._rejoin = rejoin
        self._keys: dict[str, bytes] = {}
        self._getters: dict[str, list[_Getter]] = {}
        self._gathers: dict[str, _Gather] = {}
        self._connected: set[int] = set()
        self._left: set[int] = set()
        self._ended: set[int] = set()
        self._dead: dict[int, str] = {}

    # --- presence ---

    def join(self, rank: int) -> tuple[Status, str]:
        """Admit a rank, or say why not: `RETRY` where this store is of the past for it, else `USAGE`."""
        if not 0 <= rank < self._size:
            return Status.USAGE, f"rank {rank} is not in a job of size {self._size}"
        if rank in self._dead:
            return Status.USAGE, f"rank {rank} has died in this job and cannot come back: {self._dead[rank]}"
        if rank in self._left and not self._rejoin:
            return Status.RETRY, f"rank {rank} has left this store and rank 0 has not opened another one"
        if rank in self._connected:
            why = "two processes (or threads) claim to be this rank, or one has not closed all communicators it had"
            return Status.USAGE, f"rank {rank} is connected already: {why}"
        self._connected.add(rank)
        self._left.discard(rank)
        return Status.OK, ""

    def tell_deaths(self, rank: int) -> None:
        """Send a rank that joined the deaths so far."""
        for dead, reason in self._dead.items():
            self._reply(rank, Response(Status.DEAD, 0, rank_body(dead, reason)))

    def leave(self, rank: int) -> None:
        """A rank said goodbye; what it was waiting for is forgotten."""
        self._forget(rank)
        self._left.add(rank)
        self._go_on_without(rank)
        self._fail_what_needs(rank)

    def end(self, rank: int, reason: str) -> None:
        """A rank's process ended: with or without goodbye, it does not come back."""
        self._ended.add(rank)
        if rank in self._left:
            self._fail_what_needs(rank)
        else:
            self.die(rank, reason)

    def die(self, rank: int, reason: str) -> None:
        """A rank was lost without goodbye. Everybody is told; what needs it fails."""
        if rank in self._dead:
            return
        self._forget(rank)
        self._dead[rank] = reason
        for other in self._connected:
            self._reply(other, Response(Status.DEAD, 0, rank_body(rank, reason)))
        self._go_on_without(rank)
        self._fail_what_needs(rank)

    def _forget(self, rank: int) -> None:
        self._connected.discard(rank)
        for key in list(self._getters):
            self._keep_getters(key, [getter for getter in self._getters[key] if getter.rank != rank])
        for gather in self._gathers.values():
            gather.waiting.pop(rank, None)
            gather.deadlines.pop(rank, None)
        self._sweep_gathers()

    def _gone(self, rank: int) -> str | None:
        """Why waiting for this rank is in vain; None where it may still act."""
        if rank in self._dead:
            return f"rank {rank} died: {self._dead[rank]}"
        if rank in self._left and (rank in self._ended or not self._rejoin):
            return f"rank {rank} has left"
        return None

    def _presence(self) -> str:
        missing = set(range(self._size)) - self._connected - self._left - set(self._dead)
        states = (
            ("connected", self._connected),
            ("not connected", missing),
            ("left", self._left),
            ("dead", self._dead),
        )
        return "; ".join(f"{name}: {format_ranks(ranks)}" for name, ranks in states if ranks)

    def _fail_what_needs(self, rank: int) -> None:
        gone = self._gone(rank)
        if gone is None:
            return
        body = rank_body(rank, gone)
        for key in list(self._getters):
            for getter in self._getters[key]:
                if getter.source == rank:
                    self._reply(getter.rank, Response(Status.PEER, getter.request, body))
            self._keep_getters(key, [getter for getter in self._getters[key] if getter.source != rank])
        for name, gather in list(self._gathers.items()):
            needed = rank in gather.members and rank not in gather.values and not gather.of_survivors
            if needed and gather.failure is None:
                # whoever comes later learns of the death by itself, so nothing of this gather has to be kept
                for member, request in gather.waiting.items():
                    self._reply(member, Response(Status.PEER, request.id, body))
                del self._gathers[name]

    # --- requests ---

    @property
    def waiting(self) -> bool:
        """Whether any request waits, so that `expire` has to be called now and then."""
        return bool(self._getters) or any(gather.waiting for gather in self._gathers.values())

    def handle(self, rank: int, request: Request, now: float) -> None:
        """Serve one request of a rank that joined."""
        match request.op:
            case Op.SET:
                self._store(request.name, request.value)
                self._ok(rank, request)
            case Op.GET:
                self._get(rank, request, now)
            case Op.ADD:
                self._add(rank, request)
            case Op.DELETE:
                existed = self._keys.pop(request.name, None) is not None
                self._ok(rank, request, b"1" if existed else b"0")
            case Op.DELETE_PREFIX:
                doomed = [key for key in self._keys if key.startswith(request.name)]
                for key in doomed:
                    del self._keys[key]
                self._ok(rank, request, str(len(doomed)).encode())
            case Op.GATHER | Op.SURVIVORS:
                self._gather(rank, request, now)
            case Op.JOIN | Op.GOODBYE:
                self._usage(rank, request, f"rank {rank} is connected already")

    def _ok(self, rank: int, request: Request, body: bytes = b"") -> None:
        self._reply(rank, Response(Status.OK, request.id, body))

    def _usage(self, rank: int, request: Request, text: str) -> None:
        self._reply(rank, Response(Status.USAGE, request.id, text.encode()))

    def _store(self, key: str, value: bytes) -> None:
        self._keys[key] = value
        for getter in self._getters.pop(key, []):
            self._reply(getter.rank, Response(Status.OK, getter.request, value))

    def _keep_getters(self, key: str, getters: list[_Getter]) -> None:
        if getters:
            self._getters[key] = getters
        else:
            del self._getters[key]

    def _get(self, rank: int, request: Request, now: float) -> None:
        if request.name in self._keys:
            self._ok(rank, request, self._keys[request.name])
            return
        source = request.members[0] if request.members else None
        gone = self._gone(source) if source is not None else None
        if source is not None and gone is not None:
            self._reply(rank, Response(Status.PEER, request.id, rank_body(source, gone)))
            return
        getter = _Getter(rank, request.id, now + request.timeout, request.timeout, source)
        self._getters.setdefault(request.name, []).append(getter)

    def _add(self, rank: int, request: Request) -> None:
        old = self._keys.get(request.name, b"0")
        try:
            total = int(old) + int(request.value)
        except ValueError:
            self._usage(rank, request, f"key {request.name!r} does not hold a whole number that can be added to")
            return
        if abs(total) >= 2**63:
            self._usage(rank, request, f"key {request.name!r} would leave the range of 64 bits")
            return
        self._store(request.name, str(total).encode())
        self._ok(rank, request, str(total).encode())

    def _gather(self, rank: int, request: Request, now: float) -> None:
        if rank not in request.members:
            self._usage(rank, request, f"{request.name}: rank {rank} is not among its members")
            return
        gather = self._gathers.get(request.name)
        same = gather is not None and gather.members == request.members
        arrived = gather.values if gather is not None and same else {}
        of_survivors = request.op is Op.SURVIVORS
        for member in () if of_survivors else request.members:
            gone = self._gone(member) if member not in arrived else None
            if gone is not None:
                self._reply(rank, Response(Status.PEER, request.id, rank_body(member, gone)))
                return
        if gather is None:
            gather = self._gathers[request.name] = _Gather(request.members, of_survivors)
        elif not same:
            other = min(gather.values, default=gather.members[0])
            text = (
                f"{request.name}: ranks disagree on its members: rank {rank} says {list(request.members)}, "
                f"rank {other} says {list(gather.members)}"
            )
            self._usage(rank, request, text)
            self._fail(gather, Status.USAGE, text.encode())
            self._sweep_gathers()
            return
        if gather.failure is not None:
            status, body = gather.failure
            self._reply(rank, Response(status, request.id, body))
            gather.told.add(rank)
            self._sweep_gathers()
            return
        if rank in gather.values:
            self._usage(rank, request, f"{request.name}: rank {rank} takes part twice at the same time")
            return
        gather.values[rank] = request.value
        gather.waiting[rank] = request
        gather.deadlines[rank] = now + request.timeout
        total = sum(map(len, gather.values.values()))
        if total > self._limits.max_gather:
            text = (
                f"{request.name}: the values have more than {self._limits.max_gather} bytes in all, which is the limit"
            )
            self._fail(gather, Status.USAGE, text.encode())
        else:
            self._finish(request.name, gather)

    def _finish(self, name: str, gather: _Gather) -> None:
        """Answer a gather, once all have come that it waits for."""
        gone = self._excused(gather)
        if any(member not in gather.values and member not in gone for member in gather.members):
            return
        del self._gathers[name]
        # where some may be gone, a byte before the value tells who is not
        mark = b"+" if gather.of_survivors else b""
        body = pack_values([b"" if m in gone else mark + gather.values[m] for m in gather.members])
        for member, waiting in gather.waiting.items():
            self._reply(member, Response(Status.OK, waiting.id, body))

    def _excused(self, gather: _Gather) -> set[int]:
        """The ranks that a gather does not wait for."""
        return self._dead.keys() | self._left if gather.of_survivors else set()

    def _go_on_without(self, rank: int) -> None:
        """A rank is gone: gathers of survivors wait for it no longer."""
        for name, gather in list(self._gathers.items()):
            if gather.of_survivors and rank in gather.members and gather.failure is None and gather.waiting:
                self._finish(name, gather)

    # --- deadlines ---

    def expire(self, now: float) -> None:
        """Fail whatever has waited for its whole timeout."""
        for key in list(self._getters):
            kept = []
            for getter in self._getters[key]:
                if getter.deadline > now:
                    kept.append(getter)
                else:
                    text = f"key {key!r} was not set within {getter.timeout:g} s ({self._presence()})"
                    self._reply(getter.rank, Response(Status.STALL, getter.request, text.encode()))
            self._keep_getters(key, kept)
        for name, gather in list(self._gathers.items()):
            late = [member for member, deadline in gather.deadlines.items() if deadline <= now]
            if late and gather.failure is None:
                missing = [m for m in gather.members if m not in gather.values and m not in self._excused(gather)]
                text = (
                    f"{name}: {format_ranks(missing)} did not arrive within {gather.waiting[late[0]].timeout:g} s; "
                    f"{format_ranks(gather.values)} did ({self._presence()})"
                )
                self._fail(gather, Status.STALL, text.encode())
        self._sweep_gathers()

    def _fail(self, gather: _Gather, status: Status, body: bytes) -> None:
        """Tell all who wait; keep the failure for members still to come, so that all raise the same error."""
        for member, request in gather.waiting.items():
            self._reply(member, Response(status, request.id, body))
        gather.told.update(gather.waiting)
        gather.waiting.clear()
        gather.deadlines.clear()
        gather.failure = (status, body)

    def _sweep_gathers(self) -> None:
        """Drop failures that every member which can still ask has been told."""
        for name, gather in list(self._gathers.items()):
            untold: Sequence[int] = [m for m in gather.members if m not in gather.told and self._gone(m) is None]
            if gather.failure is not None and not untold:
                del self._gathers[name]
