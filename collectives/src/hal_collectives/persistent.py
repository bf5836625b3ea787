"""Persistent collectives: a call that is checked and prepared once, and then made again and again.

`comm.all_reduce(x)` calls; `op = comm.all_reduce.prepare(x)` does all of it but the communication, and `op()` that. MPI
calls this a persistent request (`MPI_Allreduce_init`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, Self, cast, overload

from hal.interface.executor import CallShape, Executable
from hal.plan.collective import Collective
from hal.runtime.placed import PlacedExecutable
from hal_collectives.buffers import Buffer
from hal_collectives.caller import NOT_REMEMBERED, Caller, Remember
from hal_collectives.work import Queue

if TYPE_CHECKING:
    from hal_collectives.communicator import Communicator

P = ParamSpec("P")


class CollectiveCall(Protocol[P]):
    """A collective of one communicator."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call it."""

    def prepare(self, *args: P.args, **kwargs: P.kwargs) -> Callable[[], Any]:
        """Prepare the call with these arguments; what is returned makes it, as often as it is called.

        Arguments are checked, the algorithm is chosen and loaded, and new outputs are made, here and not again: each
        call reads and writes the same arrays, which are kept alive. It returns, waits, and raises what the plain call
        would. For the forms with variable counts all ranks prepare together, since they tell each other their counts.
        """


def collective(
    which: Collective | None = None,
    *,
    in_place: bool = False,
    source_at_root: bool = False,
    target_at_root: bool = False,
) -> Callable[[Callable[Concatenate[Communicator, P], Any]], CollectiveMethod[P]]:
    """Makes a method of `Communicator` a collective that can be called and prepared.

    `which` names that whose calls may be remembered, and the flags say what its arguments mean: whether `out` is `x`
    where it is not given, and whether the root alone has a source or a target.
    """

    def decorate(body: Callable[Concatenate[Communicator, P], Any]) -> CollectiveMethod[P]:
        names = tuple(p.name for p in inspect.signature(body).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD)
        call = CallShape(names[1:], in_place=in_place, source_at_root=source_at_root, target_at_root=target_at_root)
        return CollectiveMethod(body, which, call)

    return decorate


class CollectiveMethod(Generic[P]):
    """A collective as an attribute of `Communicator`."""

    def __init__(
        self, body: Callable[Concatenate[Communicator, P], Any], which: Collective | None, shape: CallShape
    ) -> None:
        self._body = body
        self._which = which
        self._shape = shape
        functools.update_wrapper(cast("Any", self), body)

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Communicator, owner: type) -> CollectiveCall[P]: ...
    def __get__(self, instance: Communicator | None, owner: type) -> Self | CollectiveCall[P]:
        if instance is None:
            return self
        # bound to what the communicator is made of, not to itself: it goes, and is closed, with its last reference
        core = instance.core
        call: Any = functools.partial(self._body, core)
        call.prepare = functools.partial(self._prepare, core)
        table = None if self._which is None else core.caller.table(self._which)
        if table is not None:
            call = table.front(call, instance.rank, self._shape)
        if owner.__dict__.get(self._name) is self and type(instance) is owner:
            instance.__dict__[self._name] = call  # found there from now on, at the cost of a method
        return cast("CollectiveCall[P]", call)

    def _prepare(self, core: Communicator, /, *args: P.args, **kwargs: P.kwargs) -> Callable[[], Any]:
        prepared: Callable[[], Any] = self._body(core.preparing(Preparation(core.caller)), *args, **kwargs)
        return prepared


class Preparation(Caller):
    """Takes one call where a communicator's caller would make it."""

    def __init__(self, caller: Caller) -> None:
        self.__dict__.update(caller.__dict__)
        self._caller = caller
        self._refresh: Callable[[], None] | None = None

    def copied(self, src: Buffer, *, keep: bool) -> Buffer:
        """See `Caller.copied`; copied before each call."""
        copy = self._caller.copied(src, keep=False)
        self._refresh = lambda: self.arguments.arrays.copy(copy, src)
        return copy

    def finish(
        self,
        executable: Executable,
        operation: str,
        src: Buffer | None,
        dst: Buffer | None,
        async_op: bool,
        timeout: float | None,
        remember: Remember = NOT_REMEMBERED,
        *,
        queue: Queue | None = None,
    ) -> Any:
        """What makes the call: the executor's own where it has such a thing and no copy is needed, or a function."""
        caller, refresh = self._caller, self._refresh
        seconds = self.arguments.seconds(operation, self.group.timeout if timeout is None else timeout)

        def call() -> Any:
            caller.check_open(operation)
            if refresh is not None:
                refresh()
            return caller.launch(executable, operation, src, dst, async_op, seconds, queue=queue)

        table = remember[0]
        if table is None or async_op or refresh is not None:
            return call
        source, target = ((b.address, b.nbytes) if b else (0, 0) for b in (src, dst))
        direct = executable
        if isinstance(executable, PlacedExecutable):
            found = executable.direct(*source, *target)
            if found is None:
                return call
            direct = found
        return table.bind(direct, *source, *target, seconds, dst.given if dst else None, call)
