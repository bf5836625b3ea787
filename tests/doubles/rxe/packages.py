"""What the machine is made of: Debian packages, unpacked into the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import debian

PROGRAMS = (
    "busybox-static",
    "ibverbs-providers",
    "ibverbs-utils",
    "iproute2",
    "libibverbs1",
    "librdmacm1",
    "perftest",
    "python3-pyverbs",
    "qemu-system-x86",
    "seabios",
)
NOT_NEEDED = ("initramfs-tools", "kmod", "linux-base", "rdma-core", "systemd", "systemd-sysv", "udev")
"""Dependencies that serve an installed system."""
GENERIC = r"linux-image-[\w.+-]+-amd64"
"""The kernel: the generic flavour has rdma_rxe and 9p, the cloud flavour has not."""


@dataclass(frozen=True)
class Packages:
    """Unpacked packages: `programs` for host and guest, and the tree of the kernel."""

    programs: debian.Tree
    kernel: Path


def fetch() -> Packages:
    """Both trees, made now where they are not there yet; `debian.Unavailable` where they cannot be had."""
    programs = debian.unpacked("rxe", PROGRAMS, without=NOT_NEEDED)
    image = debian.depends("linux-image-amd64", GENERIC)
    return Packages(programs, debian.unpacked("rxe-kernel", [image], dependencies=False).root)
