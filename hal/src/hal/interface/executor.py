"""The executor: how a device runs the collectives of a group. One for each rank of a group."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hal.interface.capability import Capability
from hal.interface.errors import NotSupported, UsageError
from hal.plan.collective import Collective
from hal.plan.lower import Program
from hal.plan.model import Plan

if TYPE_CHECKING:
    from hal.interface.transport import Transport


@dataclass(frozen=True)
class Membership:
    """A rank's place in a group, and how it reaches the others while the group is set up."""

    rank: int
    size: int
    exchange: Callable[[bytes], list[bytes]]
    """Gives these bytes to all members and returns everybody's, by rank. Has a deadline. Every member calls it as
    often as the others do."""
    world_ranks: tuple[int, ...]
    """For each member its rank in the job, for messages."""
    transports: tuple[Transport | None, ...] = ()
    """For each member the transport by which it is reached (capability REMOTE_MEMBERS), None where its memory is mapped
    here. Both ends of a pair have the same one. Empty where all memory is mapped."""
    timeout: float = 60.0
    """Deadline of making a connection, in seconds."""


@dataclass(frozen=True)
class Call:
    """What a rank calls. An executor compares it among the ranks before any of them returns."""

    collective: Collective
    dtype: int
    op: int
    root: int
    count: int
    plan: int
    """The first 8 bytes of a digest over the plans that may run."""
    pays_in_place: bool = False
    """Whether the program for mapped buffers pays only where the output of every rank is its input. An executor that
    can tell takes the other program for the rest; both give the same result."""


def check_pair(rank: int, size: int, sender: int, receiver: int) -> None:
    """`UsageError` unless `rank` is one of two different members of a group of `size` (`Executor.pair`)."""
    inside = min(sender, receiver) >= 0 and max(sender, receiver) < size
    if sender == receiver or rank not in (sender, receiver) or not inside:
        raise UsageError(f"rank {rank} has no channel from rank {sender} to rank {receiver}", rank=rank)


class Executable(abc.ABC):
    """A collective bound to a group, an element count and a type: what a call runs."""

    @abc.abstractmethod
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        """Run it, on buffers at these addresses (0 where a buffer has no bytes), and return when this rank is done.

        The buffers must hold what the layout says; the caller has checked that. They may be changed as soon as this
        returns. Ranks launch the same executables in the same order. `UsageError` for a timeout that is not above 0 and
        for buffers that are too short, with nothing done. Else it raises on every rank alike: `UsageError` where
        ranks call different things (the group stays usable, outputs are undefined), `StallTimeout` when a rank's
        deadline passes, `PeerFailure` when a rank dies; after these two the group is unusable. An executor may let a
        rank that waits for nobody in a call return from it before the others have come, where it has made that call
        before: what concerns the others is raised by one of its next calls then, and the group is unusable.
        """

    def enqueue(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float, stream: Any) -> None:
        """Run it on a stream, after the work enqueued there and before what comes later (capability ENQUEUE).

        It returns at once. `stream` is a `Stream` of the device or that of another library for the same device. Ranks
        enqueue the same executables in the same order, on whatever streams: they run one after the other. Buffers stay
        as they are, and this object alive, until the call has ended. Errors in the arguments are raised here; what goes
        wrong later, as `run` has it, is raised by `check`, by the next call of the group, and by `synchronize` of a
        stream of the device. The deadline begins when the call does. While the stream is captured the call becomes part
        of the graph, and is made when that is launched.
        """
        raise NotSupported(f"this executor runs nothing on a stream: capability {Capability.ENQUEUE.value}")

    def check(self) -> None:  # noqa: B027 -- nothing was enqueued, so that there is nothing to raise
        """Raise what went wrong in enqueued calls that have ended. Does not wait."""


@dataclass(frozen=True)
class CallShape:
    """What the arguments of a collective mean.

    `parameters` are the names of those that may be given by position: `x`, which is the source; `out`, the target;
    `op`; and the other rank, which is `root`, `dst` or `src`. With `in_place` the target is `x` where `out` is None;
    the source or the target may be the root's alone, and None on other ranks.
    """

    parameters: tuple[str, ...]
    in_place: bool = False
    source_at_root: bool = False
    target_at_root: bool = False


class FastCalls(Protocol):
    """A table of calls made before, so that making one again is one native call.

    One serves one collective of one communicator. `source` and `target` are objects with the buffer protocol or None.
    """

    enabled: bool
    """Where false, nothing is found."""

    def front(self, slow: Callable[..., Any], rank: int, shape: CallShape) -> Callable[..., Any]:
        """What is called in place of `slow`, with the same arguments: it runs the call remembered for such arguments.

        It returns the target, or what `slow` does where there is none, and has the attributes of `slow`.
        """

    def remember(self, source: Any, target: Any, op: object, root: int, executable: Executable, timeout: float) -> None:
        """Let `executable` serve arguments of this shape: type, lengths, place relative to each other."""

    def bind(
        self,
        executable: Executable,
        src: int,
        src_bytes: int,
        dst: int,
        dst_bytes: int,
        timeout: float,
        result: Any,
        slow: Callable[[], Any],
    ) -> Callable[[], Any]:
        """What runs `executable` on just these buffers and returns `result`, in one native call without arguments.

        It returns what `slow` does, and does nothing itself, where the table is not enabled or the call is refused.
        """

    def clear(self) -> None:
        """Forget everything."""


class Executor(abc.ABC):
    """Runs plans for one rank of a group."""

    rank: int
    size: int
    keeps_apart: bool = False
    """Whether `mapped` is passed over, on all ranks, where it is not made for in place and some rank's input and output
    share memory. Where not, whoever calls has to copy."""

    @property
    @abc.abstractmethod
    def scratch_bytes(self) -> int:
        """Scratch that one launch may use, on each rank."""

    @abc.abstractmethod
    def load(self, call: Call, program: Program, mapped: Program | None = None) -> Executable:
        """Bind a program. `mapped` is run in its place where the buffers it reaches are mapped on every rank."""

    def stretches(self, plan: Plan) -> bool:
        """Whether a plan's rings of scratch are to be as long as there is room, for instance because memory that was
        read long ago costs less to write than what another processor still holds. All ranks say the same."""
        return False

    def fast_calls(self) -> FastCalls | None:
        """A new, empty table of calls; None where this executor has none. Calls work the same without."""
        return None

    @abc.abstractmethod
    def pair(self, sender: int, receiver: int) -> Executor:
        """The executor for messages from one member to another, this rank being one of them.

        It has two ranks, the sender 0 and the receiver 1, and runs independently of this executor. No communication
        is needed to make it.
        """

    @abc.abstractmethod
    def is_mapped(self, address: int, nbytes: int) -> bool:
        """Whether other members can reach this memory directly."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Make calls of all members raise `PeerFailure`, now and later. From any thread."""

    @abc.abstractmethod
    def close(self) -> None:
        """Leave the group. Later calls raise; the other members' current calls do too. Closing twice is allowed."""
