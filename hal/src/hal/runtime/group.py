"""A group: the ranks that communicate, each with its device, and the store through which they meet."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace

from hal.bootstrap import Store
from hal.interface.capability import Capability
from hal.interface.device import Device
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import NotSupported, PeerFailure, PlanError, UsageError
from hal.interface.executor import Call, Executable, Executor, Membership
from hal.plan.codec import digest
from hal.plan.collective import Collective
from hal.plan.layout import Layout
from hal.plan.lower import lower, uses_switches
from hal.plan.memo import once_per_plan
from hal.plan.model import Plan
from hal.plan.proven import prove
from hal.plan.stretch import stretch
from hal.plan.validate import validate
from hal.runtime.backends import Backend, open_common, tell
from hal.runtime.bridged import BridgedExecutor
from hal.runtime.disagreement import NO_ROOT
from hal.runtime.hosts import Hosts, Transports, meet, unable
from hal.runtime.placed import placed


class Group:
    """This rank's membership in a group.

    `rank` counts within the group, `members` are the ranks of the job in the order of the group. Made by all members
    at the same time; making one, `split` and `close` are calls that all members make alike. With `verify` every plan
    is proven right before its first run (`hal.plan.verify`). `timeout` is the deadline of its calls, in seconds, and of
    its making too unless `join_timeout` says otherwise: processes may start later than that apart. `transports` are
    those by which members of other hosts may be reached, and say which host this is; without them all members share
    one. `backend` is that of the device: members may then have devices of different ones. `hosts` and `backends` are
    what the members know of each other already.
    """

    def __init__(
        self,
        device: Device,
        store: Store,
        members: tuple[int, ...],
        *,
        name: str,
        timeout: float,
        verify: bool = True,
        join_timeout: float | None = None,
        transports: Transports | None = None,
        hosts: Hosts | None = None,
        backend: Backend | None = None,
        backends: tuple[str, ...] | None = None,
    ) -> None:
        if store.rank not in members:
            raise UsageError(f"rank {store.rank} makes a group of ranks {members} without being one of them")
        self.device = device
        self.store = store
        self.members = members
        self.name = name
        self.timeout = timeout
        self.verify = verify
        self.rank = members.index(store.rank)
        self.size = len(members)
        self._exchanges = itertools.count()
        self._splits = itertools.count()
        self._shrinks: Counter[tuple[int, ...]] = Counter()
        self._patience = timeout if join_timeout is None else join_timeout
        self._transports = transports
        self._hosts = hosts
        if transports is not None:
            transports.keep()
        self._backend = backend
        self.backends = backends
        """The backend of each member's device, where that is known."""
        self._runs_on = device
        """What runs the plans: in a mixed group the host backend's device."""
        try:
            self.executor = self._join()
        except BaseException:
            self._release()
            if self._runs_on is not device:
                self._runs_on.close()
            raise
        self._patience = timeout

    def _join(self) -> Executor:
        own = self._backend
        if own is None:
            return self.device.create_executor(self._membership())
        if self.backends is None:
            self.backends = tell(own, self.exchange, self.members, self.rank)
        if self.mixed:
            self._runs_on = open_common(own, self.device, self.backends, self.exchange, self.members)
        executor = self._runs_on.create_executor(self._membership())
        if self._runs_on is self.device:
            return executor
        return BridgedExecutor(executor, self.device, self._runs_on, self.members)

    @property
    def mixed(self) -> bool:
        """Whether members have devices of different backends: see `hal.runtime.backends`."""
        return len(set(self.backends or ())) > 1

    def _membership(self) -> Membership:
        membership = Membership(self.rank, self.size, self.exchange, self.members, timeout=self._patience)
        if self._transports is None:
            return membership
        if self._hosts is None:
            self._hosts = meet(self.exchange, self.members, self._transports, self._runs_on.capabilities)
        if len(set(self._hosts.hosts)) == 1:
            return membership
        if Capability.REMOTE_MEMBERS not in self._runs_on.capabilities:  # of ranks that a mixed group had connected
            raise unable(self._hosts.hosts, self.members[self.rank])
        names = [self._hosts.transport(self.rank, other) for other in range(self.size)]
        remote = [self._hosts.remote(self.rank, other) for other in range(self.size)]
        opened = (self._transports.open(n) if far and n else None for n, far in zip(names, remote, strict=True))
        return replace(membership, transports=tuple(opened))

    def _release(self) -> None:
        transports, self._transports = self._transports, None
        if transports is not None:
            transports.release()

    @property
    def hosts(self) -> int:
        """How many hosts its members are on."""
        return 1 if self._hosts is None else len(set(self._hosts.hosts))

    @property
    def ranks_per_host(self) -> int | None:
        """How many members each host has, where those of a host follow each other and all have as many; else None."""
        return self.size if self._hosts is None else self._hosts.ranks_per_host

    def exchange(self, value: bytes) -> list[bytes]:
        """Give `value` to all members through the store; everybody's, in the order of the group."""
        key = f"{self.name}/{next(self._exchanges)}"
        return self.store.all_gather(key, value, self.members, self._patience)

    def load(
        self,
        plan: Plan,
        count: int,
        dtype: DType,
        op: ReduceOp = ReduceOp.SUM,
        *,
        mapped: Plan | None = None,
        layout: Callable[[Plan], Layout] | None = None,
        collective: Collective | None = None,
        executor: Executor | None = None,
        identity: int | None = None,
        pays_in_place: bool = False,
    ) -> Executable:
        """Bind `plan` to a call of `count` elements; every member loads and runs the same.

        `mapped` runs in its place where the buffers that it reaches are mapped memory on every rank. `layout` places
        the chunks of a variable-count call. `collective` is what messages call it, `executor` that of a pair where
        it is not the group's, `identity` the number by which ranks see that they run the same plans (by default made
        from the plans), `pays_in_place` whether `mapped` pays only where the output of every rank is its input.
        `PlanError` for a plan that is malformed or not proven, made for another number of ranks, or
        too large for the executor's scratch; `NotSupported` where it uses a switch and the device has nothing of the
        kind. Where a plan demands that input and output share memory, or that they do not, or writes to its input,
        copies are made as needed.
        """
        executor = executor or self.executor
        plans = [plan] if mapped is None else [plan, mapped]
        programs = []
        layouts = []
        for each in plans:
            if each.size != executor.size:
                raise PlanError(f"plan {each.name!r} is made for {each.size} ranks, the group has {executor.size}")
            check(each)
            _check_switches(each, self._runs_on)
            if self.verify:
                prove(each, variable=layout is not None)
            where = layout(each) if layout else Layout.uniform(each, count, dtype.itemsize)
            ready, where = stretch(each, where, executor.scratch_bytes) if executor.stretches(each) else (each, where)
            program = lower(ready, executor.rank, where, dtype, op)
            if program.scratch_bytes > executor.scratch_bytes:
                raise PlanError(
                    f"plan {each.name!r} needs {program.scratch_bytes} bytes of scratch for {count} elements of "
                    f"{dtype.label}, a launch has {executor.scratch_bytes}: take another algorithm, or more scratch "
                    f"({self._runs_on.properties.name}: `scratch_size` is for two launches)"
                )
            programs.append(program)
            layouts.append(where)
        if programs[0].maps_input or programs[0].maps_output:
            raise PlanError(
                f"plan {plan.name!r} reaches other ranks' inputs or outputs: give it as `mapped`, beside a plan that "
                "does not, for calls whose buffers are not mapped"
            )
        call = Call(
            collective or Collective.of(plan.collective),
            dtype,
            op,
            NO_ROOT if plan.root is None else plan.root,
            count,
            _identity(plans) if identity is None else identity,
            pays_in_place,
        )
        loaded = executor.load(call, *programs)
        return placed(loaded, self.device, executor.rank, plans, layouts, keeps_apart=executor.keeps_apart)

    def split(self, color: int | None, key: int = 0) -> Group | None:
        """The group of the members that give the same `color`, ordered by `key` and then by rank.

        A member whose color is None joins none and gets None. All members call it.
        """
        number = next(self._splits)
        said = self.exchange(f"{'' if color is None else color},{key}".encode())
        chosen = []
        for rank, text in enumerate(said):
            other, _, order = text.decode().partition(",")
            if color is not None and other == str(color):
                chosen.append((int(order), rank))
        if color is None:
            return None
        members = tuple(self.members[rank] for _, rank in sorted(chosen))
        return self._of(members, f"{self.name}.{number}.{color}")

    def shrink(self, without: Collection[int] = (), timeout: float | None = None) -> Group:
        """The group of the members that are still there, in the order of this one, which may have failed.

        Left out are members that died or have left the job, and those of `without`, ranks of this group that may live.
        All others call it with the same `without`, as often as each other; who dies meanwhile is left out too.
        `timeout` seconds (by default the group's) are for them to come, and again for the making; `StallTimeout` names
        those that do not.
        """
        wanted = tuple(member for rank, member in enumerate(self.members) if rank not in without)
        timeout = self.timeout if timeout is None else timeout
        # of one length, however often groups shrink, and another one for ranks that are left out and shrink it as well
        which = hashlib.sha256(repr((self.name, wanted, self._shrinks[wanted])).encode()).hexdigest()[:16]
        self._shrinks[wanted] += 1
        for attempt in itertools.count():
            name = f"shrunk.{which}.{attempt}"
            members = tuple(self.store.survivors(name, wanted, timeout=timeout))
            group, error = self._attempt(members, name, timeout)
            # it counts if all have it: they agree on that, or try again where that is for one who has gone meanwhile
            why = b"" if error is None else f"{type(error).__name__}: {error}".encode()
            failures = self.store.survivors(f"{name}.made", members, why, 2 * timeout)
            if group is not None and len(failures) == len(members) and not any(failures.values()):
                return group
            if group is not None:
                group.close()
            if len(failures) == len(members):
                break
        said = {member: why.decode() for member, why in failures.items() if why}
        if error is None:
            peer, text = next(iter(said.items()))
            raise PeerFailure(f"rank {peer} could not make the group: {text}", rank=self.store.rank, peer=peer)
        for member, text in said.items():
            error.add_note(f"rank {member} could not make the group: {text}")
        raise error

    def _attempt(self, members: tuple[int, ...], name: str, timeout: float) -> tuple[Group | None, Exception | None]:
        try:
            return self._of(members, name, join_timeout=timeout), None
        except Exception as error:
            return None, error

    def _of(self, members: tuple[int, ...], name: str, *, join_timeout: float | None = None) -> Group:
        """The group of some members, which make it together."""
        places = [self.members.index(m) for m in members]
        return Group(
            self.device,
            self.store,
            members,
            name=name,
            timeout=self.timeout,
            verify=self.verify,
            join_timeout=join_timeout,
            transports=self._transports,
            hosts=None if self._hosts is None else self._hosts.of(places),
            backend=self._backend,
            backends=None if self.backends is None else tuple(self.backends[p] for p in places),
        )

    def abort(self) -> None:
        """Make all members' current and later calls raise `PeerFailure`. From any thread."""
        self.executor.abort()

    def close(self) -> None:
        """Leave the group. Closing twice is allowed."""
        self.executor.close()
        self._release()


@once_per_plan
def check(plan: Plan) -> None:
    """Validate a plan that is to run, once; `PlanError` for one that is malformed."""
    validate(plan)


def _check_switches(plan: Plan, device: Device) -> None:
    able = {Capability.MULTICAST, Capability.SWITCH_EMULATION}
    if uses_switches(plan) and not able & device.capabilities:
        raise NotSupported(
            f"plan {plan.name!r} has switch channels, and {device.properties.name} neither "
            f"{' nor '.join(sorted(c.value for c in able))}"
        )


def _identity(plans: list[Plan]) -> int:
    """A number that ranks compare to see that they run the same plans."""
    text = "/".join(digest(p) for p in plans)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def open_device(backend: str, settings: object, index: int = 0) -> Device:
    """Open a device of the named backend; never another backend's. `BackendUnavailable` says what is missing."""
    from hal.plugins import discover

    found = discover().get(backend)
    if "device" not in found.info.facets:
        raise NotSupported(f"backend {backend!r} has no devices, it is a transport")
    return found.open_device(settings, index)
