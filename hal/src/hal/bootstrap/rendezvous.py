"""How the ranks of a job meet: who serves the store, where it listens, and how the others find it."""

from __future__ import annotations

import os

from hal.bootstrap.address import is_loopback, parse_address
from hal.bootstrap.dial import Target, check_timeout
from hal.bootstrap.launch import Launch
from hal.bootstrap.publication import Publication
from hal.bootstrap.server import StoreServer, new_secret
from hal.bootstrap.store import Store
from hal.interface.errors import UsageError

# how long rank 0 keeps serving after its own goodbye, for ranks that are still about to say theirs
_LINGER = 10.0


def connect(launch: Launch, *, timeout: float = 60.0, secret: str | None = None) -> Store:
    """This rank's connection to its job's store, waiting up to `timeout` seconds for it to be there.

    Where another process serves the store (`hal run` does), all ranks connect to it. Otherwise rank 0 serves it, in a
    thread of its process, until it closes its own `Store`: at `launch.store_address`, or on one host at a free port
    that it publishes in a file private to the user. `secret` defaults to `HAL_JOB_SECRET`; without any, only loopback
    addresses are allowed. A store found by file has a random secret of its own, which is in the file. A job has one
    store at a time; after `close` on every rank the next `connect` opens a new one.

    `timeout` is also the default for the store's operations. Raises what `Store.connect` does, `UsageError` where the
    launcher implies no address, and `TransportError` where the address cannot be bound.
    """
    check_timeout(timeout)
    secret = secret or os.environ.get("HAL_JOB_SECRET") or None
    if launch.store_address is not None:
        return _meet_at(launch, launch.store_address, secret, timeout)
    if launch.size == 1:
        return _serve(launch, StoreServer(1, secret=new_secret()), timeout)
    return _meet_by_file(launch, timeout)


def _meet_at(launch: Launch, address: str, secret: str | None, timeout: float) -> Store:
    if launch.rank == 0 and not launch.store_external:
        host, port = parse_address(address)
        # a host's own name may resolve to an address that others cannot reach, so it is not what is bound
        bound = host if is_loopback(host) else ""
        return _serve(launch, StoreServer(launch.size, host=bound, port=port, secret=secret, rejoin=False), timeout)
    target = Target(address, secret)
    host_rank = None if launch.store_external else 0
    return Store.find(lambda: target, rank=launch.rank, size=launch.size, timeout=timeout, host_rank=host_rank)


def _meet_by_file(launch: Launch, timeout: float) -> Store:
    if not launch.one_host or launch.job_id is None:
        raise UsageError(
            f"{launch.launcher} started {launch.size} ranks, {launch.local_size} of them on this host, and implies no "
            "address at which they could meet: set HAL_STORE=host:port (a free port of rank 0's host) and, for several "
            "hosts, HAL_JOB_SECRET for every rank",
            rank=launch.rank,
        )
    publication = Publication(launch.job_id)
    if launch.rank == 0:
        return _serve(launch, StoreServer(launch.size, secret=new_secret(), rejoin=False), timeout, publication)
    return Store.find(publication.read, rank=launch.rank, size=launch.size, timeout=timeout, host_rank=0)


def _serve(launch: Launch, server: StoreServer, timeout: float, publication: Publication | None = None) -> Store:
    server.start()

    def stop(linger: float = _LINGER) -> None:
        try:
            if publication is not None:
                publication.withdraw()
        finally:
            server.close(linger=linger)

    try:
        target = Target(server.address, server.secret)
        if publication is not None:
            publication.publish(target)
        return Store.find(
            lambda: target, rank=launch.rank, size=launch.size, timeout=timeout, host_rank=0, on_close=stop
        )
    except BaseException:
        stop(linger=0.0)
        raise
