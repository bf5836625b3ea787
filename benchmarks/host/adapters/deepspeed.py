"""DeepSpeed's all_reduce in shared memory (`csrc/cpu/comm` of its package), and nothing else of DeepSpeed.

`python -m benchmarks.host.adapters.deepspeed FOLDER` compiles it there.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.host.adapters import Array, Call, Loop, unknown

MODULE = "deepspeed_shm_comm"
FOLDER_VARIABLE = "HAL_BENCH_DEEPSPEED"
"""Names the folder where it was compiled."""


class DeepSpeed:
    """All ranks, which find each other by names in shared memory."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.scattered_block = self.rank
        _load(Path(os.environ[FOLDER_VARIABLE]) / f"{MODULE}.so").initialize(self.size, self.rank)
        self.version = f"DeepSpeed {importlib.metadata.version('deepspeed')}"
        self._word = torch.zeros(1)

    def allocate(self, kind: str, count: int) -> Array:
        """An array of NumPy's."""
        return np.empty(count, np.float32)

    def calls(self, collective: str, source: Array, target: Array, *, in_place: bool, kind: str) -> list[Call]:
        """It has all_reduce of a sum, in place."""
        if collective != "all_reduce" or not in_place:
            raise unknown("DeepSpeed in shared memory", collective, in_place)
        return [(torch.ops.deepspeed.inference_all_reduce_, (torch.from_numpy(target),))]

    def loop(self, kind: str, source: Array, calls: list[Call]) -> Loop | None:
        """Calls are made from Python."""
        return None

    def barrier(self) -> None:
        """An all_reduce of one element: there is no barrier."""
        torch.ops.deepspeed.inference_all_reduce_(self._word)

    def close(self) -> None:
        """Remove the names in shared memory that this rank has made; the library leaves them behind."""
        user, address, port = os.getuid(), os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
        for path in Path("/dev/shm").glob(f"*_{user}_{address}_{port}_{self.rank}"):
            path.unlink(missing_ok=True)


def join() -> DeepSpeed:
    """Join through shared memory."""
    return DeepSpeed()


def _load(path: Path) -> Any:
    loader = importlib.machinery.ExtensionFileLoader(MODULE, str(path))
    spec = importlib.util.spec_from_loader(MODULE, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _compile(folder: str) -> None:
    from torch.utils.cpp_extension import load

    places = importlib.util.find_spec("deepspeed")
    assert places is not None
    assert places.submodule_search_locations is not None
    sources = Path(places.submodule_search_locations[0]) / "ops" / "csrc" / "cpu"
    load(
        name=MODULE,
        sources=[str(sources / "comm" / "shm_interface.cpp"), str(sources / "comm" / "shm.cpp")],
        extra_cflags=["-O2", "-fopenmp"],
        extra_ldflags=["-fopenmp"],
        extra_include_paths=[str(sources / "includes")],
        build_directory=folder,
    )


if __name__ == "__main__":
    _compile(sys.argv[1])
