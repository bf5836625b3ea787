"""The `ib` section of the configuration."""

from __future__ import annotations

import math
import re

import attrs

from hal.config import kinds, setting

_DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,63}", re.ASCII)
_TICK = 4.096e-6


def _device() -> kinds.Kind[str]:
    def read(raw: object) -> str:
        if not isinstance(raw, str) or _DEVICE.fullmatch(raw) is None:
            raise ValueError
        return raw

    return kinds.Kind("the name of an RDMA device", "a name as `rdma link` lists them, such as mlx5_0", read)


def _within(least: int, most: int) -> kinds.Kind[int]:
    integer = kinds.integer(at_least=least)

    def read(raw: object) -> int:
        number = integer(raw)
        if number > most:
            raise ValueError
        return number

    return kinds.Kind("a number allowed here", f"an integer from {least} to {most}", read)


@attrs.frozen
class IbSettings:
    """Which port the ib backend uses, and how its connections work."""

    posting: str = setting(
        "native", kinds.choice("native", "pyverbs"), "who talks to libibverbs: the compiled module, or pyverbs"
    )
    device: str | None = setting(None, _device(), "the RDMA device; else the one whose active port is the fastest")
    port: int | None = setting(None, _within(1, 255), "port of the device, from 1; else the fastest that is active")
    gid_index: int | None = setting(None, _within(0, 255), "index of the port's GID; else RoCE v2 with IPv4 first")
    queues: int = setting(1, _within(1, 64), "queue pairs of a connection; large puts are spread over them")
    stripe_size: int = setting("1M", kinds.size(at_least=4096), "least bytes of a put that is spread over queue pairs")
    queue_depth: int = setting(256, _within(4, 32768), "requests in flight on one queue pair")
    inline_size: int = setting("64", kinds.size(), "most bytes of a put that are sent with its request")
    ack_timeout: float = setting(
        "1s", kinds.duration(), "how long a packet may stay unacknowledged; rounded up to 4.096 µs times a power of two"
    )
    retries: int = setting(7, _within(0, 7), "repetitions of an unacknowledged packet before the peer counts as gone")
    rnr_retries: int = setting(7, _within(0, 7), "repetitions for a peer that is not ready; 7 is without end")
    post_timeout: float = setting("30s", kinds.duration(), "how long put, get and atomic_add wait for a full queue")

    @property
    def ack_exponent(self) -> int:
        """`ack_timeout` as queue pairs have it."""
        return min(max(math.ceil(math.log2(self.ack_timeout / _TICK)), 1), 31)
