"""The schema of an MSCCL++ execution plan (version 0.9 of that project), read strictly.

A key that this reader does not know is refused, since nobody could say what is lost without it. Numbers and names are
checked here, references from one part of the document to another by the translation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hal.interface.errors import unknown_name
from hal.plan.document import Decoder, choice, number_up_to, record, sequence, short, text, truth, whole_number
from hal.plan.validate import MOST_CHUNKS

LARGEST_SIZE = (1 << 64) - 1
"""The largest message size, which stands for no limit."""

COLLECTIVES = {
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "sendrecv": "custom",
    "test": "custom",
    "custom": "custom",
}
"""The collectives of the format and what they are here. In its `sendrecv` every rank sends and receives."""

OBSOLETE = {"buff": "buffer_type"}
"""Keys of older versions of the format, and what took their place."""


@dataclasses.dataclass(frozen=True, slots=True)
class Operand:
    """A range of chunks: of an own buffer (`type`), of a remote one (`buffer_id`), or of a switch group's."""

    index: int
    size: int
    type: str | None = None
    buffer_id: int | None = None
    switch_channel_id: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class BlockGroup:
    """The share of one block in an operation of a group of blocks."""

    tb_id: int
    tbg_size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Iteration:
    """How a pipeline cuts its operations."""

    unit_size: int
    num_chunks: int


@dataclasses.dataclass(frozen=True, slots=True)
class Op:
    """An operation; which fields it has depends on its name."""

    name: str
    channel_type: str | None = None
    channel_ids: tuple[int, ...] = ()
    src_buff: tuple[Operand, ...] = ()
    dst_buff: tuple[Operand, ...] = ()
    tbg_info: BlockGroup | None = None
    barrier_id: int | None = None
    num_threadblocks: int | None = None
    semaphore_ids: tuple[int, ...] = ()
    reduce_op: str | None = None
    iter_context: Iteration | None = None
    ops: tuple[Op, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class BlockChannels:
    """The channels of one type that a block uses, by their numbers among the rank's."""

    channel_type: str
    channel_ids: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class BufferRefs:
    """The remote buffers that a block reaches through one type of channel, by their numbers among the rank's."""

    access_channel_type: str
    remote_buffer_ids: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Threadblock:
    """A block."""

    id: int
    ops: tuple[Op, ...]
    channels: tuple[BlockChannels, ...] = ()
    remote_buffer_refs: tuple[BufferRefs, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class RankGroup:
    """The ranks of a switch channel."""

    size: int
    ranks: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Channels:
    """Channels of one type: to a peer each, or for switch channels of a group each."""

    channel_type: str
    connected_to: tuple[int, ...] = ()
    buffer_type: str | None = None
    rank_groups: tuple[RankGroup, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteBuffer:
    """A buffer of another rank."""

    rank: int
    type: str
    access_channel_types: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Semaphore:
    """A counting semaphore of a rank."""

    init_value: int


@dataclasses.dataclass(frozen=True, slots=True)
class Gpu:
    """What one rank does."""

    id: int
    input_chunks: int
    output_chunks: int
    scratch_chunks: int
    threadblocks: tuple[Threadblock, ...]
    channels: tuple[Channels, ...] = ()
    remote_buffers: tuple[RemoteBuffer, ...] = ()
    semaphores: tuple[Semaphore, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A whole file."""

    name: str
    collective: str
    protocol: str
    inplace: bool
    gpus: tuple[Gpu, ...]
    reuse_resources: bool = False
    num_threads_per_block: int = 1024
    buffer_alignment: int = 16
    use_double_scratch_buffer: bool = False
    min_message_size: int = 0
    max_message_size: int = LARGEST_SIZE


def is_plan(document: Any) -> bool:
    """Whether a JSON document means to be an MSCCL++ plan: it has ranks under `gpus`, and no schema."""
    return type(document) is dict and "gpus" in document and "schema" not in document


def _object(made: type[Any], decoders: Mapping[str, Decoder]) -> Decoder:
    def refuse(key: str) -> str:
        if key in OBSOLETE:
            return f"the key {key!r} is obsolete: version 0.9 of the format has {OBSOLETE[key]!r} in its place"
        return unknown_name("key", short(key), decoders)

    required = [f.name for f in dataclasses.fields(made) if f.default is dataclasses.MISSING]
    return record(made, decoders, required, refuse)


def _names(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_BUFFER = choice("buffer", {"i": "i", "o": "o", "s": "s"})
_CHANNEL = choice("type of channel", _names("memory", "port", "switch"))
_numbers = sequence(whole_number)
_size = number_up_to(LARGEST_SIZE)

_operand = _object(
    Operand,
    {
        "type": _BUFFER,
        "buffer_id": whole_number,
        "switch_channel_id": whole_number,
        "index": whole_number,
        "size": whole_number,
    },
)


def _op(inner: Mapping[str, Decoder]) -> Decoder:
    return _object(
        Op,
        {
            "name": text,
            "channel_type": choice("type of channel", _names("memory", "port", "switch", "none")),
            "channel_ids": _numbers,
            "src_buff": sequence(_operand),
            "dst_buff": sequence(_operand),
            "tbg_info": _object(BlockGroup, {"tb_id": whole_number, "tbg_size": whole_number}),
            "barrier_id": whole_number,
            "num_threadblocks": whole_number,
            "semaphore_ids": _numbers,
            "reduce_op": text,
            "iter_context": _object(Iteration, {"unit_size": whole_number, "num_chunks": whole_number}),
            **inner,
        },
    )


_block = _object(
    Threadblock,
    {
        "id": whole_number,
        # a pipeline inside a pipeline has `ops`, which no inner operation may have
        "ops": sequence(_op({"ops": sequence(_op({}))})),
        "channels": sequence(_object(BlockChannels, {"channel_type": _CHANNEL, "channel_ids": _numbers})),
        "remote_buffer_refs": sequence(
            _object(BufferRefs, {"access_channel_type": _CHANNEL, "remote_buffer_ids": _numbers})
        ),
    },
)

_gpu = _object(
    Gpu,
    {
        "id": whole_number,
        "input_chunks": number_up_to(MOST_CHUNKS),
        "output_chunks": number_up_to(MOST_CHUNKS),
        "scratch_chunks": number_up_to(MOST_CHUNKS),
        "threadblocks": sequence(_block),
        "channels": sequence(
            _object(
                Channels,
                {
                    "channel_type": _CHANNEL,
                    "connected_to": _numbers,
                    "buffer_type": _BUFFER,
                    "rank_groups": sequence(_object(RankGroup, {"size": whole_number, "ranks": _numbers})),
                },
            )
        ),
        "remote_buffers": sequence(
            _object(RemoteBuffer, {"rank": whole_number, "type": _BUFFER, "access_channel_types": sequence(_CHANNEL)})
        ),
        "semaphores": sequence(_object(Semaphore, {"init_value": whole_number})),
    },
)

read: Decoder = _object(
    Document,
    {
        "name": text,
        "collective": choice("collective", _names(*COLLECTIVES)),
        "protocol": choice("protocol", _names("Simple", "LL")),
        "inplace": truth,
        "reuse_resources": truth,
        "num_threads_per_block": whole_number,
        "buffer_alignment": whole_number,
        "use_double_scratch_buffer": truth,
        "min_message_size": _size,
        "max_message_size": _size,
        "gpus": sequence(_gpu),
    },
)
"""Reads a document into a `Document`; `Problem` where it does not follow the schema."""
