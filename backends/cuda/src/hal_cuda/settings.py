"""The `cuda` section of the configuration."""

from __future__ import annotations

import attrs

from hal.gpu.settings import GpuSettings


@attrs.frozen
class CudaSettings(GpuSettings):
    """How the CUDA backend uses memory and launches kernels."""
