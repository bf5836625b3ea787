"""Ranks of this process that sit on several hosts: what they share is reached by transports alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from hal import config
from hal.bootstrap import Store, StoreServer
from hal_collectives import Communicator
from hal_collectives.launch import connect

T = TypeVar("T")

TIMEOUT = 20.0
LAYOUTS = ["ab", "aab", "abc", "aabb", "abca", "abcd"]
"""For each rank the letter of its host."""


@contextlib.contextmanager
def on_hosts(
    hosts: Sequence[str], errors: list[BaseException | None] | None = None, **overrides: Any
) -> Iterator[list[Communicator]]:
    """A communicator for each rank, whose host it is. `overrides` are settings; a list gives each rank its own.

    What each rank raises as it makes its own is added to `errors`.
    """
    size = len(hosts)
    with StoreServer(size) as server, ThreadPoolExecutor(size) as pool:

        def make(rank: int) -> Communicator:
            own = {name: value[rank] if isinstance(value, list) else value for name, value in overrides.items()}
            values = {"timeout": TIMEOUT, "tcp.interface": "127.0.0.1", "host_id": hosts[rank], **own}
            settings = config.load(None, {name.replace("__", "."): value for name, value in values.items()})
            store = Store.connect(server.address, rank=rank, secret=server.secret, timeout=TIMEOUT)
            try:
                return connect(store, settings, local_rank=rank)
            except BaseException:
                store.close()
                raise

        comms = [pool.submit(make, rank) for rank in range(size)]
        made = [future.result() for future in comms if future.exception() is None]
        if errors is not None:
            errors += [future.exception() for future in comms]
        try:
            yield [future.result() for future in comms]
        finally:
            list(pool.map(Communicator.close, made))


def run_on_hosts(hosts: Sequence[str], function: Callable[[Communicator], T], **overrides: Any) -> list[T]:
    """Run `function` on every rank, each in a thread of its own; the results by rank."""
    with on_hosts(hosts, **overrides) as comms, ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(function, comms))
