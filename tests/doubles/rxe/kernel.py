"""The guest's kernel: what QEMU boots, and the modules that make the RDMA device, in the order of loading."""

from __future__ import annotations

import lzma
import re
import struct
from collections.abc import Sequence
from pathlib import Path

# crc32_generic is used by rdma_rxe without being among the needs that it declares
MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay", "crc32_generic", "ib_uverbs", "rdma_rxe", "rdma_ucm")
_SETUP_SECTORS = 0x1F1
_PAYLOAD = 0x248  # offset and length of the compressed kernel, from the end of the setup code
_XZ = b"\xfd7zXZ\0"
_ELF = b"\x7fELF"


def image(tree: Path) -> bytes:
    """The kernel to boot. Taken out of its compressed file, since unpacking in an emulated machine takes seconds.

    The layout is that of Linux' boot protocol. What is compressed in another way is booted as it is.
    """
    (compressed,) = (tree / "boot").glob("vmlinuz-*")
    data = compressed.read_bytes()
    offset, length = struct.unpack_from("<II", data, _PAYLOAD)
    start = ((data[_SETUP_SECTORS] or 4) + 1) * 512 + offset
    payload = data[start : start + length]
    if payload.startswith(_XZ):
        kernel = lzma.LZMADecompressor().decompress(payload)
        if kernel.startswith(_ELF):
            return kernel
    return data


def modules(tree: Path, names: Sequence[str] = MODULES) -> dict[str, bytes]:
    """These modules and what they need, in the order of loading; what is built into the kernel is left out."""
    (folder,) = (tree / "usr" / "lib" / "modules").iterdir()
    files = {_name(path): path for path in folder.rglob("*.ko*")}
    built_in = {_name(Path(line)) for line in (folder / "modules.builtin").read_text().splitlines()}
    loaded: dict[str, bytes] = {}

    def load(name: str) -> None:
        if name in loaded or name in built_in:
            return
        data = files[name].read_bytes()
        data = lzma.decompress(data) if files[name].suffix == ".xz" else data
        needs = re.search(rb"\0depends=([^\0]*)\0", data)
        for need in filter(None, needs.group(1).decode().split(",") if needs else ()):
            load(need.replace("-", "_"))
        loaded[name] = data

    for name in names:
        load(name)
    return loaded


def _name(path: Path) -> str:
    return path.name.split(".ko")[0].replace("-", "_")
