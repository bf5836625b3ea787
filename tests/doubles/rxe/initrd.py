"""The guest's first file system: an archive that mounts the host's files, read-only, and runs one script."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

FOLDERS = ("bin", "dev", "lower", "modules", "new", "overlay", "packages", "proc", "sys")


def archive(busybox: Path, init: Path, modules: Mapping[str, bytes]) -> bytes:
    """A cpio archive in the form that Linux calls newc."""
    parts: list[bytes] = []

    def add(name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        path = name.encode() + b"\0"
        # inode, mode, user, group, links, time, size, device of the file, device that it is, length of the name, sum
        fields = (len(parts) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
        parts.extend((head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)))

    for folder in FOLDERS:
        add(folder, stat.S_IFDIR | 0o755)
    add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    add("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes())
    add("init", stat.S_IFREG | 0o755, init.read_bytes())
    add("modules.list", stat.S_IFREG | 0o644, "\n".join(modules).encode())
    for name, data in modules.items():
        add(f"modules/{name}.ko", stat.S_IFREG | 0o644, data)
    add("TRAILER!!!", 0)
    return b"".join(parts)
