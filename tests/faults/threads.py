"""Ranks as threads of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from hal_collectives import Communicator

from .ranks import DEADLINE


def on_each(comms: Sequence[Communicator], body: Callable[[Communicator], Any]) -> list[Any]:
    """Run `body` for each rank in a thread; what it returned or raised, by rank."""
    results: list[Any] = [None] * len(comms)

    def run(rank: int) -> None:
        try:
            results[rank] = body(comms[rank])
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(len(comms))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads), "a rank hangs"
    return results
