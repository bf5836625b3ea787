"""Debian packages, fetched and unpacked into a folder of the user's cache: nothing is installed, root is not needed.

The packages come from the sources that this machine's apt has. Lists and packages are kept apart from the system's own,
so that neither is changed. A folder is made once for a set of packages, and is complete when it is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LOCK_PATIENCE = 400.0
"""Seconds to wait for another process that fetches the same packages."""
STEP_PATIENCE = 300.0
"""Seconds that one step of fetching may take."""
LISTS_LIFE = 86_400.0
"""Seconds after which apt's lists are fetched anew."""
_MERGED = ("bin", "sbin", "lib", "lib64")


class Unavailable(Exception):  # noqa: N818 -- said of packages, as `BackendUnavailable` is of backends
    """The packages cannot be had here; the message says why. What needs them is skipped."""


@dataclass(frozen=True)
class Tree:
    """Unpacked packages: `root` stands for `/`."""

    root: Path

    @property
    def library_path(self) -> str:
        """What LD_LIBRARY_PATH needs for the programs of this tree."""
        triplet = f"{platform.machine()}-linux-gnu"
        return os.pathsep.join(str(self.root / folder) for folder in (f"usr/lib/{triplet}", "usr/lib"))

    def environment(self) -> dict[str, str]:
        """This process's environment, in which programs and libraries of the tree are found first."""
        programs = [str(self.root / folder) for folder in ("usr/bin", "usr/sbin")]
        return {
            **os.environ,
            "PATH": os.pathsep.join([*programs, os.environ.get("PATH", os.defpath)]),
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [self.library_path, os.environ.get("LD_LIBRARY_PATH")])),
        }


def unpacked(name: str, packages: Sequence[str], *, without: Sequence[str] = (), dependencies: bool = True) -> Tree:
    """The tree of these packages, made now where it is not there yet.

    With `dependencies` what they need and this machine lacks is in it too, but for the packages in `without`.
    `Unavailable` where there is no apt, or it cannot fetch them. Processes that ask for the same at once wait for one.
    """
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{', '.join(packages)}: Debian packages are needed, and there is no {tool} here")
    said = "\n".join([*packages, "without", *without, str(dependencies)])
    root = cache() / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    with _locked(root.with_name(f"{root.name}.lock")):
        if not root.is_dir():
            _make(root, packages, without, dependencies)
    return Tree(root)


def cache() -> Path:
    """The folder of this user's cache that holds all trees."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    found = Path(home) / "hal-tests" / "debian"
    found.mkdir(parents=True, exist_ok=True)
    return found


def depends(package: str, pattern: str) -> str:
    """The first dependency of a package that matches: what `linux-image-amd64` stands for today, for instance."""
    with _locked(cache() / "lists.lock"):
        options = _lists()
    shown = _run(["apt-cache", *options, "depends", package])
    found = re.search(rf"Depends: ({pattern})\s", shown)
    if found is None:
        raise Unavailable(f"{package} depends on nothing that matches {pattern}")
    return found.group(1)


def _make(root: Path, packages: Sequence[str], without: Sequence[str], dependencies: bool) -> None:
    making = root.with_name(f"{root.name}.part")
    shutil.rmtree(making, ignore_errors=True)
    downloads = making / "downloads"
    downloads.mkdir(parents=True)
    try:
        with _locked(cache() / "lists.lock"):
            options = _lists()
        names = set(packages)
        if dependencies:
            plan = _run(["apt-get", *options, "install", "--simulate", "--no-install-recommends", *packages])
            names |= set(re.findall(r"^Inst (\S+)", plan, re.MULTILINE)) - set(without)
        _run(["apt-get", *options, "download", "-qq", *sorted(names)], cwd=downloads)
        tree = making / "tree"
        for folder in _MERGED:
            (tree / "usr" / folder).mkdir(parents=True)
            (tree / folder).symlink_to(f"usr/{folder}")  # as on today's Debian: packages name both
        for package in sorted(downloads.glob("*.deb")):
            _unpack(package, tree)
        tree.rename(root)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _unpack(package: Path, tree: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as reading:
        try:
            command = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(tree)]
            subprocess.run(command, stdin=reading.stdout, check=True, capture_output=True, timeout=STEP_PATIENCE)
        except (subprocess.SubprocessError, OSError) as error:
            reading.kill()
            raise Unavailable(f"{package.name} cannot be unpacked: {error}") from None


def _lists() -> list[str]:
    """Options by which apt uses lists of our own, fetched where they are missing or old."""
    folder = cache() / "apt"
    lists = folder / "lists"
    for needed in (lists / "partial", folder / "cache" / "archives" / "partial"):
        needed.mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder / 'cache'}", "-o", "Debug::NoLocking=1"]
    stamp = folder / "updated"
    if not stamp.exists() or time.time() - stamp.stat().st_mtime > LISTS_LIFE:
        _run(["apt-get", *options, "-qq", "update"])
        stamp.touch()
    return options


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=STEP_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} has not answered within {STEP_PATIENCE:.0f} s: {' '.join(command)}") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise Unavailable(f"{command[0]} failed: {said[-1]}")
    return done.stdout


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        end = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Unavailable(f"another process has held {path} for {LOCK_PATIENCE:.0f} s") from None
                time.sleep(0.1)
        yield
