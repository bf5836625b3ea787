"""The RDMA ports of this machine with their GIDs, as the kernel lists them; libibverbs is not needed for it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

SYSFS = Path("/sys/class/infiniband")
_KINDS = {"IB/RoCE v1": "RoCE v1", "RoCE v2": "RoCE v2"}


@attrs.frozen
class Gid:
    """One address of a port. `kind` is InfiniBand, RoCE v1 or RoCE v2."""

    index: int
    value: bytes
    kind: str
    interface: str = ""

    @property
    def address(self) -> ipaddress.IPv6Address:
        """It, as the address that it is written like."""
        return ipaddress.IPv6Address(self.value)

    def __str__(self) -> str:
        mapped = self.address.ipv4_mapped
        return f"GID {self.index}, {mapped or self.address}"


@attrs.frozen
class Port:
    """One port. `state` is ACTIVE, DOWN or another word of the kernel's, `layer` InfiniBand or Ethernet."""

    device: str
    number: int
    state: str
    layer: str
    rate: str
    gids: tuple[Gid, ...]

    @property
    def name(self) -> str:
        """As settings and messages name it."""
        return f"{self.device} port {self.number}"

    @property
    def active(self) -> bool:
        """Whether it carries data."""
        return self.state == "ACTIVE"

    @property
    def speed(self) -> float:
        """Gigabits a second; 0 where the kernel does not say."""
        found = re.match(r"[\d.]+", self.rate)
        return float(found.group()) if found else 0.0


def ports(root: Path = SYSFS) -> list[Port]:
    """All ports, by device and number."""
    if not root.is_dir():
        return []
    return [
        _port(folder)
        for device in sorted(root.iterdir())
        for folder in sorted((device / "ports").glob("*"), key=lambda path: int(path.name))
    ]


def _port(folder: Path) -> Port:
    layer = _read(folder / "link_layer")
    state = _read(folder / "state").partition(":")[2].strip()
    device = folder.parent.parent.name
    return Port(device, int(folder.name), state, layer, _read(folder / "rate"), tuple(_gids(folder, layer)))


def _gids(folder: Path, layer: str) -> Iterator[Gid]:
    for path in sorted((folder / "gids").glob("*"), key=lambda path: int(path.name)):
        text = _read(path)
        value = bytes.fromhex(text.replace(":", "")) if text else b""
        if len(value) != 16 or not any(value):
            continue
        said = _read(folder / "gid_attrs" / "types" / path.name)
        kind = "InfiniBand" if layer == "InfiniBand" else _KINDS.get(said, said)
        yield Gid(int(path.name), value, kind, _read(folder / "gid_attrs" / "ndevs" / path.name))


def _read(path: Path) -> str:
    """A line of the kernel's, or nothing: entries that are not in use cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
