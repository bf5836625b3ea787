"""Making communicators: of the job this process belongs to, or of threads of this process."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from hal import bootstrap, config
from hal.bootstrap import Launch, SharedStore, Store, StoreServer
from hal.interface.errors import PeerFailure, UsageError
from hal.plan.trace_file import TraceFile
from hal.runtime.backends import Backend
from hal.runtime.group import Group, open_device
from hal.runtime.hosts import Transports, check_names
from hal_collectives.communicator import Communicator
from hal_collectives.plan_files import check_pins
from hal_collectives.selection import table_in

T = TypeVar("T")


def init(
    *,
    config_path: str | os.PathLike[str] | None = None,
    launch: Launch | None = None,
    backend: str | None = None,
    timeout: float | None = None,
    **overrides: Any,
) -> Communicator:
    """The communicator of all ranks of this job; every rank calls it.

    Who this process is comes from `hal run`, torchrun, mpirun or srun, or from `launch`; without a launcher it is a
    single rank. The backend and all settings come from `hal.yaml` and the environment; `backend`, `timeout` and
    `overrides` (`bootstrap__timeout=5`: the key with `__` for its dots) replace them.
    """
    values = {name.replace("__", "."): value for name, value in overrides.items()}
    settings = config.load(
        None if config_path is None else str(config_path), {**values, "backend": backend, "timeout": timeout}
    )
    logging.getLogger("hal").setLevel(settings.log_level.upper())
    place = launch or bootstrap.detect()
    store = bootstrap.connect(place, timeout=settings.bootstrap.timeout)
    try:
        return connect(store, settings, local_rank=place.local_rank)
    except BaseException:
        store.close()
        raise


def connect(store: Store, settings: config.Config, *, local_rank: int = 0, name: str = "world") -> Communicator:
    """The communicator of all ranks that share `store`, which it, or the last that is made from it, closes."""
    check_pins(settings)
    table = None if settings.selection_table is None else table_in(settings.selection_table)
    device = open_device(settings.backend, settings.section(settings.backend))
    try:
        if settings.trace is not None:
            device.record(TraceFile(settings.trace, store.rank), store.rank)
        group = Group(
            device,
            store,
            tuple(range(store.size)),
            name=name,
            timeout=settings.timeout,
            verify=settings.verify == "always",
            join_timeout=max(settings.timeout, settings.bootstrap.timeout),
            transports=_transports(settings),
            backend=Backend(settings.backend, settings.section),
        )
    except BaseException:
        device.close()
        raise
    return Communicator(group, pins=settings.algorithms, table=table, local_rank=local_rank, owned=SharedStore(store))


def _transports(settings: config.Config) -> Transports:
    if settings.origin("transports").kind != "default":
        check_names(settings.transports)  # a misspelt name shows on one host too
    return Transports(settings.transports, settings.section, settings.host_id)


@contextlib.contextmanager
def local(size: int, *, backend: str | Sequence[str] | None = None, **overrides: Any) -> Iterator[list[Communicator]]:
    """Communicators of `size` ranks in this process, each for a thread of its own. `overrides` as of `init`.

    `backend` is a name for all ranks, or one for each. Where a rank cannot join, the others do not wait for it, and its
    error is raised here.
    """
    if not 1 <= size <= 1024:
        raise UsageError(f"{size} ranks: 1 to 1024 are allowed in one process")
    names = [backend] * size if backend is None or isinstance(backend, str) else list(backend)
    if len(names) != size:
        raise UsageError(f"{len(names)} backends for {size} ranks: one name for all, or one for each, is needed")
    values = {name.replace("__", "."): value for name, value in overrides.items()}
    loaded = {name: config.load(None, {**values, "backend": name}) for name in names}
    with StoreServer(size) as server, ThreadPoolExecutor(size, thread_name_prefix="hal-rank") as pool:
        errors: list[BaseException] = []  # in the order of time: those behind the first may be its consequences

        def join(rank: int) -> Communicator:
            settings = loaded[names[rank]]
            store = Store.connect(server.address, rank=rank, secret=server.secret, timeout=settings.bootstrap.timeout)
            try:
                return connect(store, settings, local_rank=rank)
            except BaseException:
                store.close()
                raise

        def make(rank: int) -> Communicator | None:
            try:
                return join(rank)
            except BaseException as error:
                errors.append(error)
                server.mark_ended(rank, f"it could not join: {error}")
                return None

        comms = [comm for comm in pool.map(make, range(size)) if comm is not None]
        try:
            if errors:
                raise errors[0]
            yield comms
        finally:
            for comm in comms:
                comm.close()


def run_local(size: int, function: Callable[..., T], *args: Any, **overrides: Any) -> list[T]:
    """Run `function(comm, *args)` on `size` ranks, each a thread of this process; the results by rank.

    `overrides` are as of `local`. When one rank raises, the others' calls are aborted, and its error is raised here.
    """
    with local(size, **overrides) as comms:
        results: list[T | None] = [None] * size
        errors: list[BaseException] = []

        def body(rank: int) -> None:
            try:
                results[rank] = function(comms[rank], *args)
            except BaseException as error:
                errors.append(error)
                comms[rank].abort()

        threads = [threading.Thread(target=body, args=(r,), name=f"hal-rank-{r}") for r in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise next((e for e in errors if not isinstance(e, PeerFailure)), errors[0])
        return results  # type: ignore[return-value]  # every rank that raised nothing has stored its result
