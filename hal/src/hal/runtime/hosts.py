"""Which ranks share a host, and by which transport each of the others is reached.

Ranks of one host reach each other by mapped memory. Between hosts each pair takes the first transport that the lower
rank's configuration lists and that both of them may and can use.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hal.interface.capability import Capability
from hal.interface.errors import BackendUnavailable, HalError, NotSupported
from hal.interface.transport import Transport
from hal.plugins import discover

_NEEDED = (Capability.NATIVE_POSTING, Capability.GET)


def own_host() -> str:
    """The name of this process's host: processes with the same one can map each other's memory.

    That is the machine as it was started last, the process namespace and the user.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            machine = file.read().strip()
        return f"{machine} {os.readlink('/proc/self/ns/pid')} {os.getuid()}"
    except OSError:
        return os.uname().nodename


def check_names(names: Sequence[str]) -> None:
    """`UsageError` for a name of no installed backend, `NotSupported` for one of no transport."""
    found = discover()
    for name in names:
        if "transport" not in found.get(name).info.facets:
            raise NotSupported(f"transports: {name!r} is no transport")


class Transports:
    """The transports that this process may use, in the order of preference; each is opened when it is first needed.

    `settings` gives those of a transport by its name. Several groups may share this; what was opened is closed when all
    that `keep` it have called `release`.
    """

    def __init__(self, names: Sequence[str], settings: Callable[[str], object], host: str | None = None) -> None:
        self.names = tuple(names)
        self.host = host or own_host()
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: dict[str, Transport] = {}
        self._users = 0

    def open(self, name: str) -> Transport:
        """The transport of that name. `HalError` where it cannot be used here."""
        with self._lock:
            if name not in self._opened:
                transport = discover().get(name).open_transport(self._settings(name))
                missing = [c.value for c in _NEEDED if c not in transport.capabilities]
                if missing:
                    transport.close()
                    raise NotSupported(f"it lacks the capability {' and '.join(missing)}")
                self._opened[name] = transport
            return self._opened[name]

    def keep(self) -> None:
        """One more user."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """One user less; after the last one all are closed."""
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            opened, self._opened = self._opened, {}
        for transport in opened.values():
            transport.close()


@dataclass(frozen=True)
class Hosts:
    """What members of a group know of each other."""

    hosts: tuple[str, ...]
    """For each member the name of its host."""
    usable: tuple[tuple[str, ...], ...] = ()
    """For each member the transports that it may and can use, the most wanted first; empty where all share a host."""
    refused: tuple[Mapping[str, str], ...] = field(default=())
    """For each member why it cannot use others that it may."""

    def of(self, members: Sequence[int]) -> Hosts:
        """What some of them know of each other."""
        if not self.usable:
            return Hosts(tuple(self.hosts[m] for m in members))
        columns = (self.hosts, self.usable, self.refused)
        return Hosts(*(tuple(column[m] for m in members) for column in columns))  # type: ignore[arg-type]

    @property
    def ranks_per_host(self) -> int | None:
        """How many members each host has, where those of a host follow each other and all have as many; else None."""
        runs = [len(list(members)) for _, members in itertools.groupby(self.hosts)]
        return runs[0] if len(set(runs)) == 1 and len(runs) == len(set(self.hosts)) else None

    def remote(self, rank: int, other: int) -> bool:
        """Whether two members share no host."""
        return self.hosts[rank] != self.hosts[other]

    def transport(self, rank: int, other: int) -> str | None:
        """What connects two members of different hosts; None where nothing does."""
        first, second = sorted((rank, other))
        return next((name for name in self.usable[first] if name in self.usable[second]), None)


def meet(
    exchange: Callable[[bytes], list[bytes]],
    ranks: Sequence[int],
    transports: Transports,
    capabilities: frozenset[Capability],
) -> Hosts:
    """Find out with all other members where they are, and what reaches them.

    `ranks` are the members' numbers in the job. All raise alike: `NotSupported` where a device reaches no members of
    other hosts, `BackendUnavailable` where no transport connects two members.
    """
    hosts = tuple(value.decode() for value in exchange(transports.host.encode()))
    if len(set(hosts)) == 1:
        return Hosts(hosts)
    able = Capability.REMOTE_MEMBERS in capabilities
    usable, refused = [], {}
    for name in transports.names if able else ():
        try:
            transports.open(name)
            usable.append(name)
        except HalError as error:
            refused[name] = str(error)
    said = [json.loads(value) for value in exchange(json.dumps([able, usable, refused]).encode())]
    found = Hosts(hosts, tuple(tuple(u) for _, u, _ in said), tuple(r for _, _, r in said))
    for number, (can, _, _) in zip(ranks, said, strict=True):
        if not can:
            raise unable(hosts, number)
    for rank in range(len(hosts)):
        for other in range(rank):
            if found.remote(rank, other) and found.transport(rank, other) is None:
                raise BackendUnavailable(_unreachable(found, ranks, other, rank))
    return found


def unable(hosts: Sequence[str], number: int) -> NotSupported:
    """The error for members on several hosts, where the device of rank `number` of the job reaches one host alone."""
    return NotSupported(
        f"the ranks are on {len(set(hosts))} hosts, and the device of rank {number} reaches members by mapped memory "
        f"alone: it lacks the capability {Capability.REMOTE_MEMBERS.value}"
    )


def _unreachable(found: Hosts, ranks: Sequence[int], *pair: int) -> str:
    lines = []
    for member in pair:
        can = ", ".join(found.usable[member]) or "no transport"
        why = "".join(f"; not {name}: {reason}" for name, reason in found.refused[member].items())
        lines.append(f"rank {ranks[member]} on host {found.hosts[member]!r} can use {can}{why}")
    first, second = (ranks[member] for member in pair)
    return (
        f"no transport connects rank {first} and rank {second}, which share no host\n  " + "\n  ".join(lines) + "\n"
        "list one that both can use in the setting `transports`, or set `host_id` alike where they share memory"
    )
