"""What programs on the doubles share: arrays on a device as NumPy's, and what calls say that are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hal.interface.errors import HalError
from hal_collectives import Communicator, DeviceArray


class Seen:
    """Device memory as NumPy sees memory: that of the doubles is memory of this process."""

    def __init__(self, owner: DeviceArray) -> None:
        self._owner = owner
        self.__array_interface__ = owner.__cuda_array_interface__ | {"version": 3}


class OnADouble:
    """A communicator whose registered arrays are NumPy's, wherever they lie."""

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._comm, name)

    def empty(self, shape: int, dtype: Any) -> Any:
        """See `Communicator.empty`."""
        made = self._comm.empty(shape, dtype)
        return np.asarray(Seen(made)) if isinstance(made, DeviceArray) else made


def said_by(tried: Mapping[str, Callable[[], object]]) -> dict[str, str]:
    """The error that each call raises; "nothing" where it raises none."""
    said = {}
    for name, call in tried.items():
        try:
            call()
            said[name] = "nothing"
        except HalError as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said
