"""The virtual machine: QEMU in software emulation, one command in it, and how that ended."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import initrd, kernel, packages

HERE = Path(__file__).parent
GUEST_FAILED = 125
"""Status of a guest that could not make its device; a command should end with another one."""
_PASSED_ON = re.compile(r"PATH|HOME|LANG|LC_.*|VIRTUAL_ENV|PYTHON.*|PYTEST_.*|HAL_.*|CI")
_QUIET = "console=ttyS0 quiet loglevel=3 panic=-1 nokaslr mitigations=off random.trust_cpu=on nowatchdog"


class MachineFailure(Exception):  # noqa: N818 -- the machine's failure, as opposed to the command's
    """The machine did not come up, or did not end by itself in time. What the command would have said is not known."""


@dataclass(frozen=True)
class Done:
    """A command that ran to its end: its exit status, seconds until it began, and seconds in all."""

    status: int
    boot: float
    wall: float


def run(command: Sequence[str], *, timeout: float, megabytes: int = 2048, processors: int = 1) -> Done:
    """Run a command in a fresh machine, in this working directory; what it prints comes out here.

    It sees this machine's files, read-only, with the packages on top; writes go to memory and are gone afterwards.
    pyverbs is on its PYTHONPATH. `MachineFailure` where the machine fails or `timeout` seconds have passed,
    `debian.Unavailable` where its packages cannot be had.
    """
    found = packages.fetch()
    parts = _parts(found)
    with tempfile.TemporaryDirectory(prefix="hal-rxe-") as exchange:
        (Path(exchange) / "guest.sh").write_text(_script(command))
        began = time.monotonic()
        # in a session of its own: Ctrl-C reaches this process, which then ends the machine
        machine = subprocess.Popen(
            _qemu(found, parts, Path(exchange), megabytes, processors),
            env=os.environ | {"LD_LIBRARY_PATH": found.programs.library_path},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            machine.wait(timeout)
        except subprocess.TimeoutExpired:
            raise MachineFailure(f"the command had not ended within {timeout:g} s") from None
        finally:
            machine.kill()
            machine.wait()
        return _ending(Path(exchange), time.monotonic() - began)


def _ending(exchange: Path, wall: float) -> Done:
    try:
        status = int((exchange / "status").read_text())
        boot = float((exchange / "booted").read_text())
    except (OSError, ValueError):
        raise MachineFailure("the machine has ended before its command; its last words are above") from None
    if status == GUEST_FAILED:
        raise MachineFailure("the guest could not make its RDMA device; its last words are above")
    return Done(status, boot, wall)


def _parts(found: packages.Packages) -> Path:
    """The folder with kernel and initrd, made once for what they are made of."""
    sources = [HERE / name for name in ("init.sh", "initrd.py", "kernel.py")]
    newest = max(path.stat().st_mtime_ns for path in sources)
    folder = found.kernel.with_name(f"{found.kernel.name}-boot-{newest}-{found.programs.root.name}")
    if not folder.is_dir():
        for old in folder.parent.glob(f"{found.kernel.name}-boot-*"):
            shutil.rmtree(old, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        (making / "kernel").write_bytes(kernel.image(found.kernel))
        loaded = kernel.modules(found.kernel)
        busybox = found.programs.root / "bin" / "busybox"
        (making / "initrd").write_bytes(initrd.archive(busybox, HERE / "init.sh", loaded))
        try:
            making.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(making)
    return folder


def _script(command: Sequence[str]) -> str:
    environment = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    paths = [environment.get("PYTHONPATH"), "/run/python"]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environment["PATH"] = f"{environment.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"
    environment |= {"RXE_GUEST": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # into memory, since compiling is slow in there
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    lines += [(HERE / "guest.sh").read_text(), f"cd {shlex.quote(os.getcwd())}", f"exec {shlex.join(command)}"]
    return "\n".join(lines) + "\n"


def _qemu(found: packages.Packages, parts: Path, exchange: Path, megabytes: int, processors: int) -> list[str]:
    root = found.programs.root
    share = "local,path={},mount_tag={},security_model=none,multidevs=remap"
    command = [str(root / "usr/bin/qemu-system-x86_64"), "-L", str(root / "usr/share/qemu")]
    command += ["-L", str(root / "usr/share/seabios"), "-nodefaults", "-no-user-config", "-no-reboot"]
    command += ["-display", "none", "-serial", "stdio", "-machine", "q35", "-m", str(megabytes)]
    # software emulation: /dev/kvm may be there and not work, as in many containers; tests use one processor, since
    # emulating two takes the guest twice as long; wide vectors are slow to emulate
    command += ["-accel", "tcg", "-cpu", "Nehalem", "-smp", str(processors)]
    command += ["-kernel", str(parts / "kernel"), "-initrd", str(parts / "initrd"), "-append", _QUIET]
    command += ["-virtfs", f"{share.format('/', 'host')},readonly=on"]
    command += ["-virtfs", f"{share.format(root, 'packages')},readonly=on"]
    command += ["-virtfs", share.format(exchange, "exchange")]
    return command
