"""The memory that the executor kernels of a group share: how large each part is, how it is packed, how it is read.

The layout is that of `group.h`. A rank has:

| part | where | who reaches it |
|---|---|---|
| control block | device memory, exported | all ranks of the group write to it; kernels of others never read it |
| scratch | device memory, exported | all ranks |
| arena | device memory, exported | all ranks; inputs and outputs in it are mapped memory |
| local | device memory | this rank |
| host | host memory that the device reaches | this rank's kernels and host |
| group | device memory, not written by kernels | this rank's kernels |

Everything begins as zero. Scratch need not be cleared, but for that of packets: fresh memory must hold no flag.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hal.device.words import MOST_BARRIERS, MOST_MEMBERS, MOST_SEMAPHORES, MOST_SLOTS
from hal.interface.errors import UsageError
from hal.interface.executor import Call
from hal.runtime.stall import Entry, Failure, Waiting

PHASE_BITS = 20
FAILURE_BITS = 4
MISMATCH = 8
"""The outcome, beside those of `Failure`, where ranks call different things; the group stays usable."""
REPORT_ENTRIES = 256

_HEADER = 128
_ENTRY = struct.Struct("=Q5i4xQQ16x")
_COUNTS = MOST_MEMBERS * MOST_SLOTS
_PARTS = 5

HOST_BYTES = 16
"""Bytes of the host part: the word `abort` and the word `status`."""
LOCAL_BYTES = 32 + 4 * (MOST_BARRIERS + 2 * MOST_SEMAPHORES + 3 * _COUNTS)
"""Bytes of the local part."""
QUEUE_HEAD = 24
"""Where in the local part the head of a proxy's queue lies (`hal.device.channels.queue`)."""
ABORT, STATUS = 0, 8
"""Where in the host part the two words lie: the host writes the first, kernels the second."""


def control_bytes(members: int) -> int:
    """Bytes of a control block in a group of so many."""
    return _report_at(members) + REPORT_ENTRIES * _ENTRY.size


def failure_at(members: int, member: int) -> int:
    """Where in a control block the word lies by which `member` says that the group has failed: launch, whom it is
    about and `Failure`, as `abort_word` makes it, the launch from bit `PHASE_BITS` on. A host may write it, to all."""
    return _failures_at(members) + 8 * member


def _failures_at(members: int) -> int:
    return members * (2 * _HEADER + MOST_SLOTS * 8)


def _report_at(members: int) -> int:
    return -(-(_failures_at(members) + members * 8) // 128) * 128


@dataclass(frozen=True)
class MemberMemory:
    """Where a member's memory is mapped on the device that packs this."""

    control: int
    scratch: int
    """Two halves of `scratch_bytes`, and two for packets."""
    arena: int


def pack_group(
    rank: int,
    members: Sequence[MemberMemory],
    *,
    scratch_bytes: int,
    arena_bytes: int,
    host: int,
    local: int,
    queue: int = 0,
    multicast: int = 0,
) -> bytes:
    """The group part. `scratch_bytes` are those of one launch; `queue` is that of a proxy, or 0.

    `multicast` is the address of multicast memory that stands for the scratch of all members, or 0; a multiple of 16.
    """
    if not 1 <= len(members) <= MOST_MEMBERS:
        raise UsageError(f"a group of executor kernels has 1 to {MOST_MEMBERS} ranks, not {len(members)}")
    head = struct.pack("=8Q", rank, len(members), scratch_bytes, arena_bytes, host, local, queue, multicast)
    ends = b"".join(struct.pack("=3Q", m.control, m.scratch, m.arena) for m in members)
    return head + ends.ljust(MOST_MEMBERS * 24, b"\0")


def call_key(call: Call) -> tuple[int, int, int]:
    """The key of a call, as the three arguments that the kernel takes."""
    what = struct.pack("=BBBBi", int(call.collective), int(call.dtype), int(call.op), 0, call.root)
    return int.from_bytes(what, "little"), call.count, call.plan


def calls(control: bytes, members: int, launch: int) -> list[tuple[int, int, int, int, int, int] | None]:
    """What each member called in a launch, from this rank's control block; None of one that has not entered it.

    Each is (collective, dtype, op, root, count, plan), the codes of `Call`.
    """
    flag = launch % 0xFFFFFFFF + 1
    found: list[tuple[int, int, int, int, int, int] | None] = []
    for member in range(members):
        at = (launch % 2 * members + member) * _HEADER + 16
        words = struct.unpack_from(f"={4 * _PARTS}I", control, at)
        if set(words[1::2]) != {flag}:
            found.append(None)
            continue
        collective, dtype, op, _, root, count, plan = struct.unpack_from("=BBBBiQQ", struct.pack("=10I", *words[::2]))
        found.append((collective, dtype, op, root, count, plan))
    return found


def report(control: bytes, members: int, launch: int) -> list[Entry]:
    """Where the blocks of the rank whose control block this is stood when a launch ended; none where it runs or never
    began. Blocks that a report has no room for are left out."""
    at = _report_at(members)
    found = []
    for number in range(REPORT_ENTRIES):
        tag, waiting, block, position, channel, peer, expected, seen = _ENTRY.unpack_from(control, at + number * 64)
        if tag == launch:
            found.append(Entry(Waiting(waiting), block, position, channel, peer, expected, seen))
    return found


def failure(control: bytes, members: int) -> tuple[Failure, int, int] | None:
    """Why the group has failed, whom that is about, and in which launch; None where it has not.

    Read once the own kernel has ended. Any rank's control block says the same, once the kernels of all ranks that
    have given up have ended, though several may have given up by themselves: the first launch counts, and in it the
    first of them.
    """
    words = struct.unpack_from(f"={members}Q", control, _failures_at(members))
    told = [(word >> PHASE_BITS, number, word) for number, word in enumerate(words) if word]
    if not told:
        return None
    launch, _, word = min(told)
    return Failure(word & ((1 << FAILURE_BITS) - 1)), word >> FAILURE_BITS & 0xFFFF, launch


@dataclass(frozen=True)
class Status:
    """How the last launch ended, from the host part."""

    launch: int
    failure: Failure
    member: int
    """Whom the failure is about."""
    mismatch: bool
    """Ranks called different things."""


def status(host: bytes) -> Status:
    """Read the host part."""
    (word,) = struct.unpack_from("=Q", host, STATUS)
    code = word & ((1 << FAILURE_BITS) - 1)
    member = word >> FAILURE_BITS & 0xFFFF
    failure = Failure.NONE if code == MISMATCH else Failure(code)
    return Status(word >> PHASE_BITS, failure, member, code == MISMATCH)


def abort_word(failure: Failure, member: int) -> int:
    """What the host stores in the word `abort` to end a running launch on all ranks."""
    return int(failure) | member << FAILURE_BITS
