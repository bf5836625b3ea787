"""What a benchmark ran on: versions, machine, ranks."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import socket
from pathlib import Path
from typing import Any

import numpy as np

from hal.interface.errors import TransportError
from hal_collectives.communicator import Communicator

_RECORD = 256
"""Bytes in which a rank says where it runs."""


def describe_ranks(comm: Communicator, backend: str) -> list[dict[str, Any]]:
    """Host name, process id and backend of every rank, in order. All ranks call this together, with their own."""
    own = json.dumps({"host": socket.gethostname()[:64], "pid": os.getpid(), "backend": backend[:64]}).encode()
    record = np.frombuffer(own.ljust(_RECORD), np.uint8).copy()
    everyone = np.empty(_RECORD * comm.size, np.uint8)
    comm.all_gather(record, everyone)
    try:
        return [json.loads(everyone[i : i + _RECORD].tobytes()) for i in range(0, len(everyone), _RECORD)]
    except ValueError as error:
        raise TransportError(
            f"all_gather garbled what the ranks say about themselves: {error}", rank=comm.rank, operation="all_gather"
        ) from error


def describe(comm: Communicator, backend: str, ranks: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that a reader of the results needs to know about this run, as JSON takes it."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "backend": backend,
        "ranks": comm.size,
        "hosts": ranks,
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """The installed versions of HAL's packages and of NumPy."""
    installed = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    return {name: installed[name] for name in sorted(installed) if name == "numpy" or name.startswith("hal-")}


def _cpu() -> str:
    """The processor's name, as Linux gives it or else Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
