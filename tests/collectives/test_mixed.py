"""Groups whose ranks have devices of different backends: the host's, and that of the example backend `sysv`."""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from hal import plugins
from hal.channels import Semaphore, SwitchChannel
from hal.interface.device import Memory
from hal.interface.dtypes import DType
from hal.interface.errors import BackendUnavailable, HalError, NotSupported, PeerFailure, StallTimeout, UsageError
from hal.plan.builder import PlanBuilder
from hal.runtime import backends
from hal.runtime.bridged import BridgedExecutable, BridgedExecutor
from hal_collectives import Communicator, local, run_local
from hal_collectives.algorithms import get
from hal_host.executor import HostExecutor
from hal_sysv.device import SysvDevice

from ..faults.threads import on_each
from .calling import Jobs, run_all, shown
from .cases import Case, covering, matrix
from .hosts import run_on_hosts
from .test_channels import ways_to_send

T = TypeVar("T")
MIXED = ["host", "sysv", "sysv", "host"]


@functools.cache
def sample() -> list[Case]:
    return covering(matrix(memories=["plain", "registered", "mixed"]), seed=11, candidates=4)


def run(body: Callable[[Communicator], T], size: int = 2, **settings: Any) -> list[T]:
    return run_local(size, body, backend=MIXED[:size], **{"timeout": 20, **settings})


def said(call: Callable[[], object]) -> HalError:
    """What a call raises."""
    with pytest.raises(HalError) as caught:
        call()
    return caught.value


def where(x: NDArray[Any]) -> tuple[int, int]:
    return x.__array_interface__["data"][0], x.nbytes


@pytest.mark.parametrize("order", [["sysv", "host", "sysv"], MIXED])
def test_a_covering_sample(order: list[str]) -> None:
    jobs = Jobs(sample(), len(order), seed=5)
    problems = shown(run_local(len(order), lambda comm: run_all(comm, jobs), timeout=20, backend=order))
    assert not problems, f"\n{problems}"


def test_on_several_hosts() -> None:
    jobs = Jobs(sample()[:30], 3, seed=6)
    problems = shown(run_on_hosts("aba", lambda comm: run_all(comm, jobs), backend=["host", "sysv", "sysv"]))
    assert not problems, f"\n{problems}"


def test_what_is_alike_on_several_hosts_is_refused() -> None:
    """Its ranks reach those of other hosts in the mixed group alone."""

    def body(comm: Communicator) -> str:
        if comm.rank == 2:
            with comm.split(0) as part:  # type: ignore[union-attr]  # a color gives a group
                return str(part.size)
        error = said(lambda: comm.split(1))
        assert isinstance(error, NotSupported)
        return error.message

    message = "the ranks are on 2 hosts, and the device of rank {} reaches members by mapped memory alone: it lacks"
    lacks = [f"{message.format(rank)} the capability remote_members" for rank in range(2)]
    assert run_on_hosts("aba", body, backend=["sysv", "sysv", "host"]) == [*lacks, "1"]


@pytest.mark.parametrize("registered", [True, False])
def test_all_ranks_run_the_same_plan(registered: bool) -> None:
    """The copies are registered memory: whether the host's arrays are decides for all."""
    plain, mapped = (get("all_gather", name).build(2) for name in ("publish", "direct_mapped"))

    def body(comm: Communicator) -> bool:
        make = comm.empty if registered else np.empty
        x, out = make(8, np.int32), make(16, np.int32)
        x[:] = comm.rank
        executable: Any = comm.caller.group.load(plain, 8, DType.INT32, mapped=mapped)
        executable.run(*where(x), *where(out), 20)
        assert (out == np.repeat([0, 1], 8)).all()
        native = (executable._inner if isinstance(executable, BridgedExecutable) else executable).native
        return bool(native.ran_mapped)

    assert run(body) == [registered] * 2


def test_what_a_plan_does_not_write_stays() -> None:
    p = PlanBuilder("custom", name="half", ranks=2, input_chunks=1, output_chunks=2)
    for rank in p.ranks:
        rank.block().copy(rank.output[1], rank.input[0])
    plan = p.build()

    def body(comm: Communicator) -> None:
        executable = comm.caller.group.load(plan, 4, DType.INT32)
        for turn in range(3):
            x, out = np.full(4, turn, np.int32), np.arange(8, dtype=np.int32) + turn
            executable.run(*where(x), *where(out), 20)
            assert out.tolist() == [turn, turn + 1, turn + 2, turn + 3, *[turn] * 4]

    run(body)


def test_async_messages_and_prepared_calls() -> None:
    def body(comm: Communicator) -> None:
        x, got = np.full(1000, comm.rank), np.empty(1000, int)
        pending = [comm.send(x, 1 - comm.rank, async_op=True), comm.recv(got, 1 - comm.rank, async_op=True)]
        total = np.full(7, comm.rank + 1)
        added = comm.all_reduce.prepare(total)
        for turn in range(1, 6):
            added()
            assert (total == 3 * 2 ** (turn - 1)).all()
        works = [comm.all_gather(x, async_op=True) for _ in range(3)]
        assert all((work.wait() == [[0] * 1000, [1] * 1000]).all() for work in (*works,))
        for work in pending:
            work.wait()
        assert (got == 1 - comm.rank).all()

    run(body)


def test_channels() -> None:
    """They reach the copies: a put, a get, packets, posts; a store to all, which leaves what it does not write."""

    def body(comm: Communicator) -> list[bytes]:
        group, device, seen = comm.caller.group, comm.device, []

        def filled(value: int) -> Memory:
            made = device.allocate(100)
            device.fill(made.address, value, 100)
            return made

        source, target = filled(10 + comm.rank), filled(1)
        for send, receive in ways_to_send(group, 1 - comm.rank):
            for sender in (0, 1):
                if comm.rank == sender:
                    send(source)
                else:
                    receive(target)
                    seen.append(ctypes.string_at(target.address, 100))
            device.fill(target.address, 1, 100)
        Semaphore(group, 1 - comm.rank).signal() if comm.rank else Semaphore(group, 1).wait()
        switch = SwitchChannel(group)
        switch.load_reduce(source, target, DType.UINT8, root=1)
        seen.append(ctypes.string_at(target.address, 100))
        switch.store(source, target, root=1)
        seen.append(ctypes.string_at(target.address, 100))
        device.free(source)
        device.free(target)
        return seen

    expected = [[*[11] * 4, 1, 11], [*[10] * 4, 21, 11]]
    assert run(body) == [[bytes([value]) * 100 for value in values] for values in expected]


def test_groups_of_some_of_the_ranks() -> None:
    """Those whose ranks have devices of one backend are plain ones."""

    def body(comm: Communicator) -> list[str]:
        kinds = []
        for alike, color in ((True, int(MIXED[comm.rank] == "host")), (False, comm.rank // 2)):
            with comm.split(color) as part:  # type: ignore[union-attr]  # a color gives a group
                x = np.full(5, comm.rank)
                part.all_reduce(x)
                assert (x == (3 if alike else 4 * color + 1)).all()
                kinds.append(type(part.caller.group.executor).__name__)
        return kinds

    plain = {"host": HostExecutor.__name__, "sysv": "SysvExecutor"}
    inside = {"host": HostExecutor.__name__, "sysv": BridgedExecutor.__name__}
    assert run(body, 4) == [[plain[name], inside[name]] for name in MIXED]


def test_ranks_that_disagree_find_out_and_go_on() -> None:
    def body(comm: Communicator) -> str:
        x = np.ones(4 + comm.rank)
        error = said(lambda: comm.all_reduce(x))
        assert isinstance(error, UsageError)
        assert (comm.all_reduce(np.ones(4)) == 2).all()
        return error.message

    assert set(run(body)) == {
        "ranks disagree on what they call\n"
        "  rank 0: all_reduce(4 elements of float64, op sum)\n"
        "  rank 1: all_reduce(5 elements of float64, op sum)"
    }


@pytest.mark.parametrize("late", [0, 1])
def test_a_rank_that_does_not_call(late: int) -> None:
    with local(2, timeout=0.5, backend=MIXED[:2]) as comms:
        x = [np.ones(3), np.ones(3)]
        error = said(lambda: comms[1 - late].all_reduce(x[1 - late]))
        assert isinstance(error, StallTimeout)
        assert f"rank {1 - late}, block 0, at instruction 2 «wait {late} (channel 0)»: waits" in error.message
        assert f"rank {late}: has not entered this call" in error.message
        assert isinstance(said(lambda: comms[late].all_reduce(x[late])), StallTimeout)


@pytest.mark.parametrize("aborts", [0, 1])
def test_abort(aborts: int) -> None:
    with local(2, timeout=20, backend=MIXED[:2]) as comms:

        def body(comm: Communicator) -> None:
            if comm.rank == aborts:
                threading.Timer(0.1, comm.abort).start()
            comm.recv(np.empty(3), 1 - comm.rank) if comm.rank != aborts else comm.barrier()

        began = time.monotonic()
        for error in on_each(comms, body):
            assert isinstance(error, PeerFailure)
        assert time.monotonic() - began < 10


def test_a_rank_that_leaves() -> None:
    with local(2, timeout=20, backend=MIXED[:2]) as comms:
        comms[1].close()
        assert isinstance(said(lambda: comms[0].all_reduce(np.ones(3))), PeerFailure)
        assert "closed" in said(lambda: comms[1].all_reduce(np.ones(3))).message


@pytest.mark.parametrize("call", ["barrier", "pair"])
def test_a_device_that_fails_ends_the_others_calls(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fails(device: SysvDevice, dst: int, src: int, nbytes: int, stream: object = None) -> None:
        raise BackendUnavailable("the device is lost")

    def body(comm: Communicator) -> Any:
        x = np.ones(3)
        if call == "barrier":
            return comm.barrier() if comm.rank == 0 else comm.all_reduce(x)
        return comm.recv(x, 1) if comm.rank == 0 else comm.send(x, 0)

    with local(2, timeout=20, backend=MIXED[:2]) as comms:
        monkeypatch.setattr(SysvDevice, "copy", fails)
        began = time.monotonic()
        other, own = on_each(comms, body)
        assert isinstance(own, BackendUnavailable)
        assert own.message == "the input: the device is lost"
        assert (own.rank, own.operation) == (1, "all_reduce" if call == "barrier" else "send_recv")
        assert isinstance(other, PeerFailure)
        assert time.monotonic() - began < 10


def test_bad_arguments_leave_it_usable() -> None:
    def body(comm: Communicator) -> None:
        group = comm.caller.group
        x, out = np.ones(8, np.int32), np.empty(8, np.int32)
        executable = group.load(get("all_reduce", "ring").build(2), 8, DType.INT32)
        assert "timeout is 0" in said(lambda: executable.run(*where(x), *where(out), 0)).message
        assert "its input, which has 16" in said(lambda: executable.run(where(x)[0], 16, *where(out), 9)).message
        for call in (comm.on, lambda stream: executable.enqueue(*where(x), *where(out), 9, stream)):
            assert isinstance(said(lambda call=call: call(comm.device.create_stream())), NotSupported)
        executable.run(*where(x), *where(out), 20)
        assert (out == 2).all()

    run(body)


def test_without_the_host_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    found = plugins.discover()
    others = plugins.Registry(tuple(b for b in found.backends if b.name != "host"), found.broken)
    monkeypatch.setattr(backends, "discover", lambda: others)
    error = said(lambda: run(repr))
    assert isinstance(error, BackendUnavailable)
    assert "(host: rank 0; sysv: rank 1), which meet in memory of the backend 'host', and rank 1" in error.message
    assert "unknown backend 'host'" in error.message
    assert "pip install hal-host" in error.message


def test_it_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "hal"):
        texts = run(repr, 4)
        run_local(2, repr, backend="sysv", timeout=20)
    assert texts[2] == "<Communicator rank 2 of 4, group world, backends host, sysv, sysv, host>"
    assert [record.getMessage() for record in caplog.records] == [
        "ranks have devices of different backends (host: ranks 0, 3; sysv: ranks 1, 2): their collectives run on the "
        "CPUs of the hosts, with copies from and to the other devices"
    ]


def test_backends_that_are_not_one_for_each_rank() -> None:
    with pytest.raises(UsageError, match="2 backends for 3 ranks"), local(3, backend=["host", "sysv"]):
        pass
