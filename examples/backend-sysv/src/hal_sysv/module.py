"""Compiled code as a module of kernels, and their launch."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hal.interface.errors import BackendUnavailable, UsageError

MOST_LANES = 1024
MOST_FIBERS = 1 << 18
MOST_ARGUMENTS = 16


@dataclass(frozen=True)
class Kernel:
    """A kernel of a module, which it keeps."""

    name: str
    module: Module

    def launcher(self, grid: int, block: int, arguments: Sequence[int | float]) -> Callable[[], None]:
        """What runs it on this thread, and returns when it has ended; `UsageError` where that cannot be."""
        if not 1 <= block <= MOST_LANES or not 1 <= grid <= MOST_FIBERS // block:
            raise UsageError(
                f"{grid} blocks of {block} lanes: allowed are 1 to {MOST_LANES} lanes, and {MOST_FIBERS} of all blocks"
            )
        if len(arguments) > MOST_ARGUMENTS or not all(isinstance(one, int) for one in arguments):
            raise UsageError(f"kernel {self.name!r}: arguments are at most {MOST_ARGUMENTS} integers of 64 bits each")
        values = (ctypes.c_uint64 * max(len(arguments), 1))(*(int(one) & ((1 << 64) - 1) for one in arguments))
        count = len(arguments)

        def launch() -> None:
            code = self.module.launch(self.module.address(self.name), grid, block, values, count)
            if code:
                raise BackendUnavailable(f"kernel {self.name!r} was not launched: {os.strerror(code)}")

        return launch


class Module:
    """Its kernels are its attributes."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self.launch = library.hal_sysv_launch
        self.launch.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint]

    def __getattr__(self, name: str) -> Kernel:
        """The kernel of that name."""
        if not name.startswith("__") and hasattr(self._library, name):
            return Kernel(name, self)
        raise AttributeError(f"the module has no kernel {name!r}")

    def address(self, name: str) -> int:
        """Where a kernel begins."""
        return ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value or 0
