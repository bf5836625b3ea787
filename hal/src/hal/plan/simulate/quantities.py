"""The kinds of value that a topology file has beside those of `hal.config`: bandwidths, latencies, vertices."""

from __future__ import annotations

import math
import re

from hal.config.kinds import Kind

_TIME = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})\s*(ns|us|ms|s)?", re.ASCII)
_PER_SECOND = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0, None: 1.0}
_LONGEST = 3600.0
_RATE = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})\s*([KMGT]?)(bit|B)/s", re.ASCII)
_RATE_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_FASTEST = 1e18
_VERTEX = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}", re.ASCII)


def latency() -> Kind[float]:
    """Seconds as a float: a number, or text with a unit (`300ns`, `1.5us`, `2ms`, `1s`); 0 or more."""

    def read(raw: object) -> float:
        if isinstance(raw, str):
            match = _TIME.fullmatch(raw.strip())
            if match is None:
                raise ValueError
            seconds = float(match[1]) / _PER_SECOND[match[2]]
        elif isinstance(raw, int | float) and not isinstance(raw, bool):
            seconds = float(raw)
        else:
            raise ValueError
        if not (math.isfinite(seconds) and 0 <= seconds <= _LONGEST):
            raise ValueError
        return seconds

    allowed = "seconds as a number, or text such as 300ns, 1.5us, 2ms; from 0 to 3600 seconds"
    return Kind("a latency", allowed, read, show_seconds)


def bandwidth() -> Kind[float]:
    """Bytes a second as a float: a number, or text such as `50GB/s`, `400Gbit/s` (powers of ten); more than 0."""

    def read(raw: object) -> float:
        if isinstance(raw, str):
            match = _RATE.fullmatch(raw.strip())
            if match is None:
                raise ValueError
            rate = float(match[1]) * _RATE_UNITS[match[2]] / (8 if match[3] == "bit" else 1)
        elif isinstance(raw, int | float) and not isinstance(raw, bool):
            rate = float(raw)
        else:
            raise ValueError
        if not 0 < rate <= _FASTEST:
            raise ValueError
        return rate

    allowed = "bytes a second as a number, or text such as 50GB/s or 400Gbit/s (powers of ten); more than 0"
    return Kind("a bandwidth", allowed, read, lambda rate: f"{rate / 1e9:g}GB/s")


def vertex() -> Kind[int | str]:
    """A vertex of a graph: a rank as an integer, or the name of a switch."""

    def read(raw: object) -> int | str:
        if isinstance(raw, str) and _VERTEX.fullmatch(raw):
            return raw
        if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
            return raw
        raise ValueError

    return Kind("a vertex", "the number of a rank, or the name of a switch, which begins with a letter", read)


def show_seconds(seconds: float) -> str:
    """Seconds in the unit that suits them: `1.25 us`."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"
