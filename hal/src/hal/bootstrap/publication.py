"""How ranks on one host find each other without a given address: a file that only this user can read or write.

Rank 0 writes the store's address and a fresh secret into it; the others look for it. A file left by a job that was
killed does no harm: nobody answers at its address with its secret, so ranks go on looking until it is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import tempfile
from pathlib import Path

from hal.bootstrap.address import parse_address
from hal.bootstrap.dial import Target
from hal.interface.errors import TransportError, UsageError

_MAX_SIZE = 4096


def private_folder() -> Path:
    """The user's own folder for such files, made if needed; `TransportError` where it is not private.

    It lies in `XDG_RUNTIME_DIR` where that exists, else in the folder for temporary files.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base if base and Path(base).is_dir() else tempfile.gettempdir()) / f"hal-{os.getuid()}"
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
    except OSError as error:
        raise TransportError(f"the folder {folder} for the job's rendezvous cannot be used: {error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise TransportError(
            f"{folder} must be a folder of user {os.getuid()} with mode 0700, it is of user {found.st_uid} with mode "
            f"{stat.S_IMODE(found.st_mode):04o}: remove it, or set XDG_RUNTIME_DIR to a private folder"
        )
    return folder


class Publication:
    """The file of one job, named by its id."""

    def __init__(self, job_id: str) -> None:
        self.path = private_folder() / f"job-{hashlib.sha256(job_id.encode()).hexdigest()[:32]}.json"
        self._written: bytes | None = None

    def publish(self, target: Target) -> None:
        """Put the store's address and secret there in one step, in place of what a former job left."""
        content = json.dumps({"address": target.address, "secret": target.secret}).encode()
        draft = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}")
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                os.write(handle, content)
            finally:
                os.close(handle)
            draft.replace(self.path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise TransportError(f"the store's address cannot be written to {self.path}: {error}") from error
        self._written = content

    def read(self) -> Target | None:
        """What is published; None where nothing is, or nothing that can be read as such."""
        content = self._content()
        if content is None:
            return None
        try:
            data = json.loads(content)
            parse_address(data["address"])
            return Target(data["address"], str(data["secret"]), published=True)
        except (ValueError, TypeError, KeyError, AttributeError, UsageError):
            return None

    def withdraw(self) -> None:
        """Remove the file, unless another store has replaced it since."""
        if self._written is not None and self._content() == self._written:
            self.path.unlink(missing_ok=True)

    def _content(self) -> bytes | None:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise TransportError(f"{self.path} must be a file that only user {os.getuid()} can access: remove it")
            return os.read(handle, _MAX_SIZE)
        finally:
            os.close(handle)
