"""Parts of tests for the tests of worlds: each ends in another way."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

from hal.interface.errors import NotSupported, PeerFailure
from hal_conformance import expect
from hal_conformance.expect import Resource
from hal_conformance.rank import Rank


def fine(rank: Rank, value: Any = None) -> Any:
    print("a word of rank", rank.id)
    rank.exchange()
    return value


def own_number(rank: Rank) -> int:
    return rank.id


def chance(rank: Rank) -> list[int]:
    return [rank.random.randrange(1 << 30) for _ in range(3)]


def mismatch(rank: Rank) -> None:
    if rank.id == rank.size - 1:
        expect.equal(3, 4, "a number")


def consequence(rank: Rank) -> None:
    if rank.id == 0:
        raise PeerFailure("another rank has failed", peer=1)
    expect.equal("seen", "expected", "a text")


def refusal(rank: Rank) -> None:
    raise NotSupported("not today")


def refusal_of_one(rank: Rank) -> None:
    if rank.id == 0:
        raise NotSupported("not today")


def lack(rank: Rank) -> None:
    raise Resource("too small a machine")


def hang(rank: Rank) -> None:
    if rank.id == rank.size - 1:
        time.sleep(600)


def crash(rank: Rank) -> None:
    if rank.id == rank.size - 1:
        ctypes.string_at(0)
    time.sleep(600)


def end(rank: Rank) -> None:
    if rank.id == 0:
        os._exit(3)


def leave(rank: Rank) -> None:
    sys.exit("the end")


def death(rank: Rank) -> str:
    if rank.id == 0:
        rank.die()
    return "alive"


def unpicklable(rank: Rank) -> object:
    return lambda: None
