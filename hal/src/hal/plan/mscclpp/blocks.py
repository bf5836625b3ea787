"""Translating the operations of a block into instructions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hal.interface.dtypes import ReduceOp
from hal.interface.errors import UsageError, unknown_name
from hal.plan.document import Problem, short
from hal.plan.model import (
    Acquire,
    Barrier,
    BufferKind,
    Flush,
    Instruction,
    Loop,
    Move,
    Post,
    Release,
    Signal,
    Span,
    Sync,
    Wait,
)
from hal.plan.mscclpp.channels import BUFFERS, RankChannels, checked, inside
from hal.plan.mscclpp.operations import FORMS, NAMES, Form, Kind, Row
from hal.plan.mscclpp.options import ImportOptions
from hal.plan.mscclpp.schema import Gpu, Op, Operand, Threadblock
from hal.plan.validate import LOOP_UNIT


@dataclass(frozen=True)
class Setting:
    """What the translation of every block needs to know of the whole plan."""

    gpus: Sequence[Gpu]
    channels: Sequence[RankChannels]
    options: ImportOptions
    reduction: ReduceOp | None
    """What a sum in the file becomes: None, the reduction of the call, where the collective has one."""
    scratch_chunk: int | None
    """Bytes of a scratch chunk that is reused; None where scratch is as long as the data."""
    label: str
    """What messages call the file."""


class BlockTranslation:
    """One block of one rank. Problems are found in the order of the file, each with its place in the block."""

    def __init__(self, setting: Setting, rank: int, block: Threadblock) -> None:
        self._setting = setting
        self._rank = rank
        self._block = block
        self._gpu = setting.gpus[rank]
        own = setting.channels[rank]
        self._channels: dict[str, list[int]] = {"memory": [], "port": [], "switch": []}
        self._remote: dict[str, list[int]] = {"memory": [], "port": [], "switch": []}
        for index, entry in enumerate(block.channels):
            known = own.by_type[entry.channel_type]
            for at, number in enumerate(entry.channel_ids):
                with inside(f".channels[{index}]"), inside(f".channel_ids[{at}]"):
                    checked(f"{entry.channel_type} channel", number, len(known))
                    self._channels[entry.channel_type].append(known[number])
        for index, refs in enumerate(block.remote_buffer_refs):
            for at, number in enumerate(refs.remote_buffer_ids):
                with inside(f".remote_buffer_refs[{index}]"), inside(f".remote_buffer_ids[{at}]"):
                    checked("remote buffer", number, len(self._gpu.remote_buffers))
                    if refs.access_channel_type not in self._gpu.remote_buffers[number].access_channel_types:
                        raise Problem(f"remote buffer {number} has no {refs.access_channel_type} access")
                    self._remote[refs.access_channel_type].append(number)

    def instructions(self) -> Iterator[Instruction]:
        """The instructions of the block."""
        for index, op in enumerate(self._block.ops):
            with inside(f".ops[{index}]"):
                yield from self._op(op, f"ops[{index}]")

    def _op(self, op: Op, at: str) -> Iterator[Instruction]:
        if op.name not in NAMES:
            with inside(".name"):
                raise Problem(unknown_name("operation", short(op.name), NAMES))
        if op.name == "pipeline":
            yield self._pipeline(op, at)
            return
        if op.ops or op.iter_context:
            raise Problem(f"{op.name} has no {'ops' if op.ops else 'iter_context'!r}: a pipeline has")
        place = f"{self._setting.label}:gpus[{self._rank}].threadblocks[{self._block.id}].{at}"
        form = FORMS.get(op.name)
        if form is None:
            yield from self._control(op, place)
        else:
            yield from self._data(op, form, place)

    def _pipeline(self, op: Op, at: str) -> Loop:
        if op.iter_context is None:
            raise Problem("key 'iter_context' is missing")
        unit = op.iter_context.unit_size
        with inside(".iter_context.unit_size"):
            if unit < LOOP_UNIT or unit % LOOP_UNIT:
                raise Problem(f"allowed are multiples of {LOOP_UNIT}, not {unit}")
        body: list[Instruction] = []
        for index, inner in enumerate(op.ops):
            with inside(f".ops[{index}]"):
                if inner.name == "pipeline":
                    raise Problem("a pipeline inside a pipeline is not allowed")
                body += self._op(inner, f"{at}.ops[{index}]")
        chunk = self._setting.scratch_chunk
        slots = 0 if chunk is None else max(1, chunk // unit)
        place = f"{self._setting.label}:gpus[{self._rank}].threadblocks[{self._block.id}].{at}"
        return Loop(unit, tuple(body), slots, source=place)

    # -- what moves no data

    def _control(self, op: Op, place: str) -> Iterator[Instruction]:
        match op.name:
            case "nop":
                yield Sync(source=place)
            case "barrier":
                if op.barrier_id is None or op.num_threadblocks is None:
                    missing = "barrier_id" if op.barrier_id is None else "num_threadblocks"
                    raise Problem(f"key {missing!r} is missing")
                yield Barrier(op.barrier_id, op.num_threadblocks, source=place)
            case "signal" | "rlxsignal":
                yield Signal(self._used(op, "memory", "port"), op.name == "rlxsignal", source=place)
            case "wait" | "rlxwait":
                yield Wait(self._used(op, "memory", "port"), op.name == "rlxwait", source=place)
            case "flush":
                for channel in self._used(op, "port"):
                    if not self._setting.options.ignore_flush:
                        yield Flush(channel, source=place)
            case "sem_acquire" | "sem_release":
                if not op.semaphore_ids:
                    raise Problem("names no semaphore: add 'semaphore_ids'")
                made = Acquire if op.name == "sem_acquire" else Release
                for at, semaphore in enumerate(op.semaphore_ids):
                    with inside(f".semaphore_ids[{at}]"):
                        checked("semaphore", semaphore, len(self._gpu.semaphores))
                        yield made(semaphore, source=place)

    def _used(self, op: Op, *types: str) -> tuple[int, ...]:
        """The plan's numbers of the channels that an operation names, which are of one of these types."""
        if op.channel_type not in types:
            with inside(".channel_type"):
                raise Problem(f"{op.name} goes through a {' or '.join(types)} channel, not {op.channel_type or 'none'}")
        if not op.channel_ids:
            raise Problem("names no channel: add 'channel_ids'")
        own = self._channels[op.channel_type]
        found = []
        for at, number in enumerate(op.channel_ids):
            with inside(f".channel_ids[{at}]"):
                found.append(own[checked(f"{op.channel_type} channel of the block", number, len(own))])
        return tuple(found)

    # -- what moves data

    def _data(self, op: Op, form: Form, place: str) -> Iterator[Instruction]:
        port = op.channel_type == "port"
        if port and not form.port:
            with inside(".channel_type"):
                raise Problem(f"{op.name} does not go through a port channel")
        if op.name in ("pws", "pwsf") and not port:
            with inside(".channel_type"):
                raise Problem(f"{op.name} goes through a port channel, not {op.channel_type or 'none'}")
        rows = form.src
        if port and op.name == "ppkt":
            rows = Row((Kind("own", True),), Kind("own", True))  # what is put is in packets already
        sources = self._spans(op, rows, "src_buff")
        targets = self._spans(op, form.dst, "dst_buff")
        if op.name == "get" and self._setting.options.swap_get_offsets:
            sources, targets = self._swapped(sources, targets)
        part, parts = self._part(op)
        pairs = self._pairs(op, sources, targets) if form.pairs else None
        if port:
            # every form that goes through a port puts each source to its destination
            pairs = pairs or self._pairs(op, sources, targets)
            channels = self._used(op, "port")
            if len(channels) != len(targets):
                with inside(".channel_ids"):
                    raise Problem(f"{len(channels)} channels for {len(targets)} destinations: each needs one")
            for at, ((target, source), channel) in enumerate(zip(pairs, channels, strict=True)):
                peer = self._setting.channels[self._rank].channels[channel].peer
                if target.peer != peer:
                    with inside(f".dst_buff[{at}].buffer_id"):
                        raise Problem(f"a buffer of rank {target.peer}, but the channel leads to rank {peer}")
                dst = replace(target, peer=None)
                signal = op.name in ("pws", "pwsf")
                yield Post(channel, dst, source, signal, op.name == "pwsf", part, parts, source=place)
            return
        if pairs is not None:
            for target, source in pairs:
                yield Move((target,), (source,), part=part, parts=parts, source=place)
            return
        if form.first_last:
            sources = [*sources[1:], sources[0]]
        reduces = len(sources) > 1 or any(s.switch is not None for s in sources)
        operation = self._reduction(op) if reduces else None
        yield Move(tuple(targets), tuple(sources), operation, part=part, parts=parts, source=place)

    def _part(self, op: Op) -> tuple[int, int]:
        if op.tbg_info is None:
            return 0, 1
        with inside(".tbg_info.tb_id"):
            return checked("block of the group", op.tbg_info.tb_id, op.tbg_info.tbg_size), op.tbg_info.tbg_size

    def _reduction(self, op: Op) -> ReduceOp | None:
        if self._setting.options.always_sum:
            return ReduceOp.SUM
        if op.reduce_op is None or op.reduce_op == "sum":
            return self._setting.reduction
        try:
            return ReduceOp.of(op.reduce_op)
        except UsageError as error:
            with inside(".reduce_op"):
                raise Problem(error.message) from None

    def _pairs(self, op: Op, sources: list[Span], targets: list[Span]) -> list[tuple[Span, Span]]:
        if len(sources) == 1:
            sources = sources * len(targets)
        if len(sources) != len(targets):
            raise Problem(f"{len(sources)} sources for {len(targets)} destinations: {op.name} has one for each")
        return list(zip(targets, sources, strict=True))

    def _swapped(self, sources: list[Span], targets: list[Span]) -> tuple[list[Span], list[Span]]:
        def at(span: Span, other: Span, side: str, number: int) -> Span:
            with inside(f".{side}[{number}].index"):
                moved = Span(span.buffer, other.index, span.size, span.peer)
                self._bounds(moved, (self._rank if span.peer is None else span.peer,))
            return moved

        pairs = list(zip(sources, targets, strict=False))
        return (
            [at(s, t, "src_buff", number) for number, (s, t) in enumerate(pairs)],
            [at(t, s, "dst_buff", number) for number, (s, t) in enumerate(pairs)],
        )

    def _spans(self, op: Op, row: Row, side: str) -> list[Span]:
        operands: tuple[Operand, ...] = getattr(op, side)
        if len(operands) < len(row.first):
            with inside(f".{side}"):
                raise Problem(f"{op.name} has {len(row.first)} or more operands here, not {len(operands)}")
        spans: list[Span] = []
        for number, operand in enumerate(operands):
            with inside(f".{side}[{number}]"):
                kind = row.kind(number)
                if kind is None:
                    raise Problem(f"{op.name} has {len(row.first)} operands here, not {len(operands)}")
                spans.append(self._span(op, operand, kind))
                if operand.size != op.src_buff[0].size:
                    with inside(".size"):
                        raise Problem(f"all operands have the same size, the first source {op.src_buff[0].size}")
        return spans

    def _span(self, op: Op, operand: Operand, kind: Kind) -> Span:
        keys = {"own": "type", "remote": "buffer_id", "switch": "switch_channel_id"}
        given = [key for key in keys.values() if getattr(operand, key) is not None]
        if given != [keys[kind.where]]:
            found = " and ".join(map(repr, given)) or "none of them"
            raise Problem(f"{op.name} has {kind} memory here, which {keys[kind.where]!r} names, not {found}")
        owners: tuple[int, ...]
        peer = switch = None
        if kind.where == "own":
            buffer, owners = BUFFERS[str(operand.type)], (self._rank,)
        elif kind.where == "remote":
            number = self._listed(operand.buffer_id, self._remote, op.channel_type, "remote buffer", "buffer_id")
            remote = self._gpu.remote_buffers[number]
            buffer, peer, owners = BUFFERS[remote.type], remote.rank, (remote.rank,)
        else:
            switch = self._listed(
                operand.switch_channel_id, self._channels, "switch", "switch channel", "switch_channel_id"
            )
            own = self._setting.channels[self._rank]
            buffer, owners = own.buffers[switch], own.channels[switch].peers
        if kind.packet and buffer is not BufferKind.SCRATCH:
            raise Problem(f"{op.name} has packets here, which lie in scratch alone, not in {buffer.value}")
        span = Span(buffer, operand.index, operand.size, peer, kind.packet, switch)
        self._bounds(span, owners)
        return span

    def _listed(self, index: int | None, lists: dict[str, list[int]], type_: str | None, what: str, key: str) -> int:
        """The number behind an index into the block's list for a type of channel."""
        assert index is not None
        if type_ not in lists:
            raise Problem(f"key 'channel_type' of the operation is needed, to know which {what} {index} is")
        with inside(f".{key}"):
            return lists[type_][checked(f"{what} of the block's {type_} list,", index, len(lists[type_]))]

    def _bounds(self, span: Span, owners: tuple[int, ...]) -> None:
        if span.size < 1:
            raise Problem("size is 0: allowed is 1 or more")
        for owner in owners:
            gpu = self._setting.gpus[owner]
            chunks = {
                BufferKind.INPUT: gpu.input_chunks,
                BufferKind.OUTPUT: gpu.output_chunks,
                BufferKind.SCRATCH: gpu.scratch_chunks,
            }[span.buffer]
            if span.index + span.size > chunks:
                raise Problem(
                    f"chunks {span.index} to {span.index + span.size - 1}, but the {span.buffer.value} of rank {owner} "
                    f"has {chunks}"
                )
