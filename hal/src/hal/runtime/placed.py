"""Plans that demand something of where input and output lie, on buffers that lie as the caller has them.

Most plans are right whether output and input share memory or not. An aliased plan is right only where they do, another
only where they do not, and some write to their input, which belongs to the caller. What they demand is met by copies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from hal.interface.device import Device
from hal.interface.errors import NotSupported
from hal.interface.executor import Executable
from hal.plan.layout import Layout
from hal.plan.lower import walk
from hal.plan.memo import once_per_plan
from hal.plan.model import BufferKind, Move, Plan, Post


class PlacedExecutable(Executable):
    """Runs another executable, with its input and output where its plans need them."""

    def __init__(self, inner: Executable, device: Device) -> None:
        self.inner = inner
        self._device = device

    def direct(self, src: int, src_bytes: int, dst: int, dst_bytes: int) -> Executable | None:
        """What runs on these buffers with nothing to be copied; None where there is something."""
        return None

    def enqueue(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float, stream: Any) -> None:
        """See `Executable.enqueue`. `NotSupported` where something would have to be copied."""
        inner = self.direct(src, src_bytes, dst, dst_bytes)
        if inner is None:
            raise NotSupported(
                "this plan needs a copy of its input or output on these buffers, which a call on a stream does not "
                "make: give other buffers (in place or out of place), another algorithm, or call it without a stream"
            )
        inner.enqueue(src, src_bytes, dst, dst_bytes, timeout, stream)

    def check(self) -> None:
        """See `Executable.check`."""
        self.inner.check()

    @contextlib.contextmanager
    def _room(self, nbytes: int) -> Iterator[int]:
        """Memory that other ranks can map, for one run."""
        if not nbytes:
            yield 0
            return
        memory = self._device.allocate(nbytes)
        try:
            yield memory.address
        finally:
            self._device.free(memory)

    def _copy(self, dst: int, src: int, nbytes: int) -> None:
        if nbytes and dst != src:
            self._device.copy(dst, src, nbytes)


class _InOutput(PlacedExecutable):
    """The input is first copied to its place in the output."""

    def __init__(self, inner: Executable, device: Device, offset: int) -> None:
        super().__init__(inner, device)
        self._offset = offset

    def direct(self, src: int, src_bytes: int, dst: int, dst_bytes: int) -> Executable | None:
        return self.inner if src == dst + self._offset or not src_bytes else None

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        place = dst + self._offset if src_bytes else 0
        self._copy(place, src, src_bytes)
        self.inner.run(place, src_bytes, dst, dst_bytes, timeout)


class _InRoom(PlacedExecutable):
    """Input and output share memory of their own, so that nothing but the output of the call is written to."""

    def __init__(self, inner: Executable, device: Device, input_at: int, output_at: int) -> None:
        super().__init__(inner, device)
        self._input_at = input_at
        self._output_at = output_at

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        with self._room(max(self._input_at + src_bytes, self._output_at + dst_bytes)) as room:
            source = room + self._input_at if src_bytes else 0
            target = room + self._output_at if dst_bytes else 0
            self._copy(source, src, src_bytes)
            self.inner.run(source, src_bytes, target, dst_bytes, timeout)
            self._copy(dst, target, dst_bytes)


class _InputApart(PlacedExecutable):
    """The input is copied: always where the plan writes to it, else where the output shares its memory."""

    def __init__(self, inner: Executable, device: Device, always: bool) -> None:
        super().__init__(inner, device)
        self._always = always

    def direct(self, src: int, src_bytes: int, dst: int, dst_bytes: int) -> Executable | None:
        overlap = src < dst + dst_bytes and dst < src + src_bytes
        return None if self._always or overlap else self.inner

    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        if (inner := self.direct(src, src_bytes, dst, dst_bytes)) is not None:
            inner.run(src, src_bytes, dst, dst_bytes, timeout)
            return
        with self._room(src_bytes) as room:
            self._copy(room, src, src_bytes)
            self.inner.run(room, src_bytes, dst, dst_bytes, timeout)


def placed(
    executable: Executable,
    device: Device,
    rank: int,
    plans: Sequence[Plan],
    layouts: Sequence[Layout],
    *,
    keeps_apart: bool = False,
) -> Executable:
    """What runs `rank`'s part of one of `plans`, whichever it may be, on any buffers; often `executable` itself.

    `layouts` are those of the plans, `keeps_apart` is the executor's. Copies are made on this rank alone and before and
    after the run, so that ranks need not agree on where their buffers lie.
    """
    for plan, layout in zip(plans, layouts, strict=True):
        places = layout.shared(plan, rank) if plan.aliased else None
        if places is None:
            continue
        within = len(layout.inputs[rank]) <= len(layout.outputs[rank])
        if within and all(other.in_place for other in plans):
            return _InOutput(executable, device, places[0])
        return _InRoom(executable, device, *places)
    writes = any(_writes_input(plan) for plan in plans)
    own = plans[:1] if keeps_apart else plans
    if writes or not all(plan.in_place for plan in own):
        return _InputApart(executable, device, writes)
    return executable


@once_per_plan
def _writes_input(plan: Plan) -> bool:
    """Whether a plan writes to any rank's input that is no output too."""
    instructions = (i for rank in plan.ranks for block in rank.blocks for i in walk(block))
    return any(
        span.buffer is BufferKind.INPUT
        for i in instructions
        if isinstance(i, Move | Post)
        for span in (i.dst if isinstance(i, Move) else (i.dst,))
    )
