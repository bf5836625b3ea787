"""What is missing on this machine, and what to do about it."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import re
import resource
from pathlib import Path

from hal.interface.errors import BackendUnavailable
from hal.plugins import Probe, Problem
from hal_ib.choice import Choice, choose
from hal_ib.ports import Port, ports
from hal_ib.settings import IbSettings

LEAST_LOCKED = 64 << 20
"""Bytes of locked memory below which registrations of usual sizes fail."""
_IPC_LOCK = 14
"""CAP_IPC_LOCK of linux/capability.h."""
_INSTALL = "install rdma-core's libraries (Debian: apt install libibverbs1 ibverbs-providers)"
_INSTALL_PYVERBS = (
    "install the pyverbs of the same rdma-core as libibverbs (Debian: apt install python3-pyverbs, for the system's"
    " Python), or choose ib.posting: native"
)


def probe() -> Probe:
    """Look for libibverbs, a device, an active port, a usable GID; what makes it less able is reported too."""
    problems = [found for found in (_libibverbs(), _native()) if found]
    listed = ports()
    choice = _choice(listed)
    if isinstance(choice, Problem):
        problems.append(choice)
    available = not problems
    problems += [found for found in (_locked(), _pyverbs()) if found]
    return Probe(available, devices=[_described(port) for port in listed], problems=problems)


def _libibverbs() -> Problem | None:
    try:
        ctypes.CDLL("libibverbs.so.1")
    except OSError as error:
        return Problem(f"libibverbs does not load: {error}", _INSTALL)
    return None


def _native() -> Problem | None:
    if importlib.util.find_spec("hal_ib._native") is None:
        return Problem(
            "the compiled module of hal-ib is missing", "install hal-ib again: pip install --force-reinstall hal-ib"
        )
    return None


def _choice(listed: list[Port]) -> Choice | Problem:
    if not listed:
        return Problem(
            "there is no RDMA device",
            "load the adapter's driver (see `rdma link`, /sys/class/infiniband); without an adapter a software device"
            " does: modprobe rdma_rxe; rdma link add rxe0 type rxe netdev eth0",
        )
    try:
        return choose(listed, IbSettings())
    except BackendUnavailable as error:
        if "GID" in error.message:
            remedy = "give the port's network interface an IP address and set it up; `ip address` shows it"
            return Problem(f"{error.message}: RoCE v2 needs one, and a port has one for each IP address", remedy)
        remedy = (
            "see that the cable is in and the network interface is up (ip link set DEVICE up); on InfiniBand, that a"
            " subnet manager runs"
        )
        return Problem(error.message, remedy)


def _locked() -> Problem | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY or limit >= LEAST_LOCKED or _locks_without_limit():
        return None
    return Problem(
        f"the limit on locked memory is {limit >> 10} KiB: registering more fails",
        "raise it (ulimit -l unlimited; memlock in /etc/security/limits.conf; LimitMEMLOCK= of a service;"
        " docker run --ulimit memlock=-1)",
    )


def _locks_without_limit(proc: Path = Path("/proc/self")) -> bool:
    """Whether the kernel lets this process lock more than its limit: it has CAP_IPC_LOCK, in no user namespace."""
    try:
        effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", (proc / "status").read_text(), re.MULTILINE)
        everybody = (proc / "uid_map").read_text().split() == ["0", "0", "4294967295"]
    except OSError:
        return False
    return effective is not None and bool(int(effective[1], 16) >> _IPC_LOCK & 1) and everybody


def _pyverbs() -> Problem | None:
    """pyverbs is needed for `ib.posting: pyverbs` alone; so this takes nothing from a backend that works."""
    try:
        importlib.import_module("pyverbs.device")
    except ModuleNotFoundError:
        return Problem("pyverbs is not installed: ib.posting: pyverbs cannot be used", _INSTALL_PYVERBS)
    except ImportError as error:
        if re.search(r"IBVERBS_|undefined symbol", str(error)):
            return Problem(f"pyverbs and libibverbs are of different versions: {error}", _INSTALL_PYVERBS)
        return Problem(f"pyverbs does not load: {error}", _INSTALL_PYVERBS)
    return None


def _described(port: Port) -> str:
    kinds = ", ".join(dict.fromkeys(gid.kind for gid in port.gids)) or "no GID"
    return f"{port.name} ({kinds}, {port.state}{', ' + port.rate if port.rate else ''})"
