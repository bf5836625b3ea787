"""The `rocm` section of the configuration."""

from __future__ import annotations

import attrs

from hal.gpu.settings import GpuSettings


@attrs.frozen
class RocmSettings(GpuSettings):
    """How the ROCm backend uses memory and launches kernels."""
