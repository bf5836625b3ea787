"""What takes long to make, kept in a file: made once, also where all ranks of a job want it at the same moment."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE = 60.0
"""Seconds to wait for who makes the same; then it is made twice."""
_DIGEST = 32


def kept_or_made(path: Path, make: Callable[[], bytes]) -> bytes:
    """What an earlier call with this path has kept there, else what `make` returns, kept for later ones.

    Whoever asks meanwhile, from another thread or process, waits for it. What `make` raises is passed on, and nothing
    is kept. A file that is not whole, or that others could have altered, is made anew; where nothing can be kept, or
    nobody be waited for, everyone makes it.
    """
    found = _kept(path)
    if found is None:
        with _alone(path.with_name(f"{path.name}.lock")):
            found = _kept(path)
            if found is None:
                found = make()
                _keep(path, found)
    return found


def _kept(path: Path) -> bytes | None:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            return None  # what others may write is not loaded
        data = path.read_bytes()
    except (OSError, RuntimeError):
        return None
    image = data[_DIGEST:]
    return image if image and hashlib.sha256(image).digest() == data[:_DIGEST] else None


def _keep(path: Path, image: bytes) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            try:
                file.write(hashlib.sha256(image).digest() + image)
                file.flush()
                os.replace(file.name, path)
            except OSError:
                os.unlink(file.name)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except (OSError, RuntimeError):
        yield
        return
    try:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # who waits with it in hand finds what was made
        os.close(handle)
