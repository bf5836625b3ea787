"""The native part: addresses are integers, sizes bytes."""

from collections.abc import Callable, Sequence
from typing import Any

class Arena:
    """Anonymous shared memory."""

    base: int
    nbytes: int
    inode: int
    fd: int
    def __init__(self, pid: int, fd: int = ..., inode: int = ..., nbytes: int = ...) -> None: ...
    def discard(self, offset: int, nbytes: int) -> None: ...

class Recorder:
    """The last records of a rank, as many as there is room for."""

    def __init__(self, capacity: int) -> None: ...
    def take(self) -> tuple[bytes, int]: ...

class Link:
    """A member whose memory is not mapped."""

    def __init__(
        self,
        connection: int,
        owner: object,
        own: int,
        own_handle: int,
        mirror: int,
        mirror_handle: int,
        peer_block: int,
        peer_mirror: int,
    ) -> None: ...
    def detach(self) -> None: ...

class Lane:
    """One member's view of a group."""

    rank: int
    size: int
    scratch_bytes: int
    launch: int
    running: bool
    sleeps: int
    yields: int
    linked: bool
    roams: bool
    def __init__(
        self,
        rank: int,
        members: Sequence[tuple[int, int, int]],
        arena_bytes: int,
        scratch_bytes: int,
        first_launch: int,
        spin: int,
        yields: int,
        links: Sequence[Link | None] = ...,
        roams: bool = ...,
    ) -> None: ...
    def child(
        self,
        in_parent: Sequence[int],
        rank: int,
        members: Sequence[tuple[int, int, int]],
        scratch_bytes: int,
        links: Sequence[Link | None] = ...,
    ) -> Lane: ...
    def record(self, recorder: Recorder) -> None: ...
    def fail(self, failure: int, member: int) -> None: ...
    unusable: str | None
    def leave(self) -> None: ...
    def settled(self) -> bool: ...
    def deserted(self) -> bool: ...
    def failure(self) -> tuple[int, int, int]: ...
    def calls(self, launch: int) -> list[tuple[int, int, int, int, int, int] | None]: ...
    def reports(self, launch: int) -> list[tuple[str, list[tuple[int, int, int, int, int, int, int]]]]: ...

class Program:
    """A decoded program."""

    def __init__(
        self,
        lane: Lane,
        blocks: Sequence[Sequence[int]],
        semaphores: Sequence[int],
        dtype: int,
        slots: int,
        maps_input: bool,
        maps_output: bool,
        in_place: bool,
        scratch_reach: int,
        claims: Sequence[Sequence[int]] = (),
        roams: bool = True,
        goes_on: bool = False,
    ) -> None: ...

class Executable:
    """A collective bound to a lane."""

    ran_mapped: bool
    ran_plain: bool
    number: int
    def __init__(
        self,
        lane: Lane,
        collective: int,
        dtype: int,
        op: int,
        root: int,
        count: int,
        plan: int,
        any: Program,
        mapped: Program | None = None,
        single_copy: bool = False,
        in_place: bool = False,
    ) -> None: ...
    def run(self, input: int, input_bytes: int, output: int, output_bytes: int, timeout_ns: int) -> int: ...
    def repeat(
        self, input: int, input_bytes: int, output: int, output_bytes: int, timeout_ns: int, count: int
    ) -> float: ...

class FastCalls:
    """Calls made before, by the shape of their arguments."""

    enabled: bool
    def __init__(self) -> None: ...
    def front(
        self,
        slow: Callable[..., Any],
        rank: int,
        parameters: Sequence[str],
        in_place: bool,
        source_at_root: bool,
        target_at_root: bool,
    ) -> Callable[..., Any]: ...
    def remember(
        self,
        source: object,
        target: object,
        op: object,
        root: int,
        executable: object,
        native: Executable,
        timeout_ns: int,
    ) -> None: ...
    def bind(
        self,
        executable: object,
        native: Executable,
        input: int,
        input_bytes: int,
        output: int,
        output_bytes: int,
        timeout_ns: int,
        result: object,
        slow: Callable[[], object],
    ) -> Callable[[], Any]: ...
    def clear(self) -> None: ...

def readable(pid: int, address: int) -> bool: ...
def lane_bytes(members: int, scratch_bytes: int) -> int: ...
def reduce(
    dtype: int, op: int, divisor: int, srcs: Sequence[int], dsts: Sequence[int], count: int, streaming: bool
) -> None: ...
def copy(dst: int, src: int, nbytes: int, streaming: bool) -> None: ...
def fill(dst: int, value: int, nbytes: int) -> None: ...
def kernel_isa() -> str: ...
def kernel_isas() -> list[str]: ...
def set_kernel_isa(name: str) -> None: ...

class Regions:
    """Memory that TCP connections of this process let peers reach."""

    def __init__(self) -> None: ...
    def add(self, address: int, nbytes: int) -> int: ...
    def withdraw(self, handle: int) -> None: ...

class TcpConnection:
    """A connection over a socket, which it takes over."""

    address: int
    failure: str
    def __init__(self, regions: Regions, fd: int) -> None: ...
    def put(self, remote: int, remote_offset: int, local: int, offset: int, nbytes: int) -> int: ...
    def get(self, remote: int, remote_offset: int, local: int, offset: int, nbytes: int) -> int: ...
    def atomic_add(self, remote: int, remote_offset: int, value: int) -> int: ...
    def flush(self, timeout_ns: int) -> int: ...
    def close(self) -> None: ...
