"""`loop.c`: compiled before it is needed, loaded where it is measured."""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import subprocess
from pathlib import Path

from hal.interface.transport import Connection, Registration
from hal.native import INCLUDE

SOURCE = Path(__file__).with_name("loop.c")
PATIENCE = 60.0


class Place(ctypes.Structure):
    """Where messages go: as `place` in loop.c."""

    _fields_ = (
        ("connection", ctypes.c_void_p),
        *((name, ctypes.c_uint64) for name in ("remote", "local", "source", "target")),
        ("patience", ctypes.c_double),
    )


def compiled(folder: Path) -> Path:
    """Compile it into a folder; `OSError` or `CalledProcessError` where that fails."""
    compiler = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if compiler is None:
        raise OSError("no C compiler: there is neither cc, gcc nor clang")
    output = folder / "loop.so"
    command = [compiler, "-O2", "-shared", "-fPIC", f"-I{INCLUDE}", "-o", str(output), str(SOURCE)]
    subprocess.run(command, check=True, timeout=120)
    return output


class Loop:
    """The native door of a connection, from C. Messages go from `source` to the peer's `target`, both byte offsets."""

    def __init__(
        self, library: Path, connection: Connection, key: bytes, local: Registration, source: int, target: int
    ) -> None:
        self._library = ctypes.CDLL(os.fspath(library))
        for name in ("post", "stream", "ping_pong"):
            getattr(self._library, f"hal_loop_{name}").restype = ctypes.c_double
        numbers = connection.resolve(key), local.handle, source, target
        self._place = Place(connection.native(), *numbers, PATIENCE)

    def post(self, nbytes: int, count: int) -> float:
        """Seconds of posting one put; `count` of them fit into the queue."""
        return self._checked("post", nbytes, count) / count

    def stream(self, nbytes: int, count: int) -> float:
        """Bytes a second of `count` puts, until all are complete."""
        return nbytes * count / self._checked("stream", nbytes, count)

    def ping_pong(self, memory: int, nbytes: int, count: int, *, first: bool) -> float:
        """The median of half a round trip, in seconds. `memory` is the address to which the offsets refer."""
        times = (ctypes.c_double * count)()
        call = self._library.hal_loop_ping_pong
        arguments = ctypes.c_uint64(nbytes), ctypes.c_int(count), ctypes.c_int(first), times
        if call(ctypes.byref(self._place), ctypes.c_void_p(memory), *arguments) < 0:
            raise RuntimeError(f"ping-pong of {nbytes} bytes failed or stood still")
        return statistics.median(times[1:])  # the first holds the other side's coming

    def _checked(self, name: str, nbytes: int, count: int) -> float:
        call = getattr(self._library, f"hal_loop_{name}")
        seconds: float = call(ctypes.byref(self._place), ctypes.c_uint64(nbytes), ctypes.c_int(count))
        if seconds < 0:
            raise RuntimeError(f"{name} of {nbytes} bytes failed or stood still")
        return seconds
