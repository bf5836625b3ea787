"""The settings that every backend for GPUs has, in its section of the configuration."""

from __future__ import annotations

import attrs

from hal.config import kinds, setting


@attrs.frozen
class GpuSettings:
    """How a backend for GPUs uses memory and launches kernels."""

    segment_size: int = setting(
        "1G", kinds.size(at_least=1 << 24), "device memory that a process takes at once, for all that HAL allocates"
    )
    scratch_size: int = setting(
        "4M",
        kinds.size(at_least=1 << 18),
        "scratch of a communicator on each rank, half of it for one launch; packets have as much again",
    )
    threads: int = setting(512, kinds.integer(at_least=1), "threads of a thread block of the executor, at most 1024")
    copies: str = setting(
        "kernel",
        kinds.choice("kernel", "engine"),
        "what copies through port channels: the kernel itself, or the device's copy engines, for a thread of the host",
    )
    multicast: bool = setting(
        "false",
        kinds.truth(),
        "whether scratch is multicast memory, which switch channels of all ranks use; each rank needs its own device",
    )
