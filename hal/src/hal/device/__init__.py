"""Portable device code: C++ headers for kernels, and what the host needs to use them.

The headers (`include_path()`) hold channels, semaphores, packets, reductions and the plan executor. They include one
file that a vendor supplies, `intrinsics.h`, and nothing else; `docs/device.md` has its contract. `kernel_source` is
the executor for one element type, `pack` the form in which it takes a lowered program, `hal.device.group` the memory
that the executors of a group share.
"""

from hal.device.channels import MemoryChannel, PortChannel, SemaphoreEnd
from hal.device.pack import Packed, pack
from hal.device.source import ENTRY, include_path, kernel_source, sources

__all__ = [
    "ENTRY",
    "MemoryChannel",
    "Packed",
    "PortChannel",
    "SemaphoreEnd",
    "include_path",
    "kernel_source",
    "pack",
    "sources",
]
