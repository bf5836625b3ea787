"""Groups whose members have devices of different backends, and the device that then runs their plans.

Such members do not map each other's memory. What they have in common are the CPUs of their hosts, so that all plans of
the group run on the device of the host backend: members that have another one open it for the group.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hal.interface.device import Device
from hal.interface.errors import BackendUnavailable, HalError
from hal.plugins import discover

HOST = "host"
"""The backend on whose device mixed groups run."""

_log = logging.getLogger("hal.runtime")


@dataclass(frozen=True)
class Backend:
    """The backend of this process's device, and the settings of every backend by its name."""

    name: str
    settings: Callable[[str], object]


def tell(own: Backend, exchange: Callable[[bytes], list[bytes]], ranks: Sequence[int], rank: int) -> tuple[str, ...]:
    """The backend of each member's device; all members call it. `ranks` are their numbers in the job.

    Where they differ the first member warns: what was not meant would go unnoticed, but for the time that copies take.
    """
    names = tuple(value.decode() for value in exchange(own.name.encode()))
    if len(set(names)) > 1 and rank == 0:
        _log.warning(
            "ranks have devices of different backends (%s): their collectives run on the CPUs of the hosts, "
            "with copies from and to the other devices",
            described(names, ranks),
        )
    return names


def described(names: Sequence[str], ranks: Sequence[int]) -> str:
    """Who has which backend, for messages: `host: ranks 0, 3; acme: rank 1`."""
    parts = []
    for name in dict.fromkeys(names):
        members = [str(rank) for rank, other in zip(ranks, names, strict=True) if other == name]
        parts.append(f"{name}: {'rank' if len(members) == 1 else 'ranks'} {', '.join(members)}")
    return "; ".join(parts)


def open_common(
    own: Backend,
    device: Device,
    names: Sequence[str],
    exchange: Callable[[bytes], list[bytes]],
    ranks: Sequence[int],
) -> Device:
    """What runs the plans of a mixed group for this member: its own device where that is the host backend's.

    All members call it, and raise `BackendUnavailable` alike where one of them cannot open that device.
    """
    chosen, problem = device, ""
    try:
        if own.name != HOST:
            chosen = discover().get(HOST).open_device(own.settings(HOST), 0)
    except HalError as error:
        problem = str(error)
    for rank, text in zip(ranks, exchange(problem.encode()), strict=True):
        if text:
            if chosen is not device:
                chosen.close()
            raise BackendUnavailable(
                f"ranks have devices of different backends ({described(names, ranks)}), which meet in memory of the "
                f"backend {HOST!r}, and rank {rank} cannot use that: {text.decode()}"
            )
    return chosen
