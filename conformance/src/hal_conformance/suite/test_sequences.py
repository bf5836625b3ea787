"""Sequences of operations by chance, against a model; a sequence that fails is made as short as it can be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from hal.channels import MemoryChannel, PacketChannel, PortChannel, Semaphore
from hal.interface.device import Memory
from hal.interface.dtypes import DType, ReduceOp
from hal.plan.collective import Collective
from hal_conformance import data, expect, programs
from hal_conformance.conductor import Stage
from hal_conformance.rank import Rank

clause = pytest.mark.clause

HERE = "hal_conformance.suite.test_sequences"
SIZE = 1000
"""Bytes of each piece of memory in a sequence."""

Step = tuple[Any, ...]


def _explore(stage: Stage, part: str, steps: st.SearchStrategy[list[Step]], *, full: int, quick: int) -> None:
    """Run `part` on sequences by chance; the shortest that fails is shown, as the argument of the part."""

    @seed(stage.number)
    @settings(
        max_examples=quick if stage.quick else full,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(steps=steps)
    def body(steps: list[Step]) -> None:
        stage.run(f"{HERE}:{part}", steps=steps)

    body()


PLACE = st.integers(0, SIZE - 1)
LENGTH = st.one_of(st.integers(0, 20), st.sampled_from([63, 64, 65, 255, 256, 400]))
BYTE = st.integers(0, 255)
WHERE = st.one_of(st.none(), st.integers(0, 2))
"""No stream, or one of three."""

MEMORY_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("allocate")),
        st.tuples(st.just("free"), st.integers(0, 7)),
        st.tuples(st.just("fill"), st.integers(0, 7), PLACE, LENGTH, BYTE, WHERE),
        st.tuples(st.just("copy"), st.integers(0, 7), PLACE, st.integers(0, 7), PLACE, LENGTH, WHERE),
        st.tuples(st.just("event"), st.integers(0, 2), st.integers(0, 2)),
        st.tuples(st.just("check"), st.integers(0, 7)),
    ),
    min_size=5,
    max_size=60,
)


def memory_part(rank: Rank, steps: list[Step]) -> None:
    """Memory, streams and events. Before memory is used elsewhere, the stream that has used it is waited for."""
    device = rank.device
    streams = [rank.stream() for _ in range(3)]
    held: list[tuple[Memory, bytearray]] = []
    users: dict[int, int | None] = {}

    def use(address: int, where: int | None) -> None:
        before = users.get(address)
        if before is not None and before != where:
            streams[before].synchronize(30)
        users[address] = where

    for step in steps:
        match step:
            case ("allocate",):
                memory = rank.allocate(SIZE)
                device.fill(memory.address, 0, SIZE)
                held.append((memory, bytearray(SIZE)))
            case ("free", number) if held:
                memory, _ = held.pop(number % len(held))
                use(memory.address, None)
                device.free(memory)
            case ("fill", number, at, length, value, where) if held:
                memory, model = held[number % len(held)]
                length = min(length, SIZE - at)
                use(memory.address, where)
                stream = None if where is None else streams[where]
                device.fill(memory.address + at, value, length, stream)
                model[at : at + length] = bytes([value]) * length
            case ("copy", to, at, source, begin, length, where) if len(held) > 1 and to % len(held) != source % len(
                held
            ):
                (target, model), (origin, other) = held[to % len(held)], held[source % len(held)]
                length = min(length, SIZE - at, SIZE - begin)
                use(target.address, where)
                use(origin.address, where)
                stream = None if where is None else streams[where]
                device.copy(target.address + at, origin.address + begin, length, stream)
                model[at : at + length] = other[begin : begin + length]
            case ("event", first, second):
                event = device.create_event()
                event.record(streams[first])
                event.wait(streams[second])
            case ("check", number) if held:
                memory, model = held[number % len(held)]
                use(memory.address, None)
                expect.equal(rank.read(memory), bytes(model), "memory in the middle of the sequence")
    for memory, model in held:
        use(memory.address, None)
        expect.equal(rank.read(memory), bytes(model), "memory at the end of the sequence")


@clause("HAL-MEM-008", "HAL-STR-001", "HAL-EVT-002")
def test_memory_and_streams(stage: Stage) -> None:
    _explore(stage, "memory_part", MEMORY_STEPS, full=300, quick=60)


CHANNEL_STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["put", "get", "packets", "post", "post and flush"]),
            st.integers(0, 7),
            st.integers(0, 7),
            PLACE,
            PLACE,
            st.sampled_from([1, 3, 4, 64, 100, 400]),
        ),
        st.tuples(st.just("signal"), st.integers(0, 7), st.integers(0, 7)),
        st.tuples(st.just("fill"), st.integers(0, 7), PLACE, LENGTH, BYTE),
        st.tuples(st.just("all_reduce"), st.sampled_from(programs.KINDS), st.sampled_from([1, 16, 250])),
    ),
    min_size=3,
    max_size=25,
)


def channel_part(rank: Rank, steps: list[Step]) -> None:
    """Transfers, signals and collectives among all ranks; every rank keeps the model of all memory."""
    memory = rank.allocate(SIZE)
    rank.device.fill(memory.address, 0, SIZE)
    models = [bytearray(SIZE) for _ in range(rank.size)]
    rank.executor  # noqa: B018 -- all ranks make the group, also those that have no part in what follows

    def part(at: int, length: int) -> Memory:
        return Memory(memory.address + at, length, rank.device)

    for number, step in enumerate(steps):
        match step:
            case ("signal", first, second):
                sender, receiver = first % rank.size, second % rank.size
                if sender != receiver and rank.id == sender:
                    Semaphore(rank.group, receiver).signal()
                elif sender != receiver and rank.id == receiver:
                    Semaphore(rank.group, sender).wait()
            case ("fill", owner, at, length, value):
                length = min(length, SIZE - at)
                models[owner % rank.size][at : at + length] = bytes([value]) * length
                if rank.id == owner % rank.size:
                    rank.device.fill(memory.address + at, value, length)
            case ("all_reduce", kind, count):
                inputs = [data.numbers(rank.random, 1, count, DType.INT32)[0] for _ in range(rank.size)]
                plan = programs.collective_plan(Collective.ALL_REDUCE, kind, rank.size)
                (seen,) = rank.run(plan, inputs, count=count)
                wanted = data.reduced(inputs, DType.INT32, ReduceOp.SUM)
                expect.same_bits(seen, wanted, f"the result of step {number}, an all_reduce by {kind}")
            case (how, first, second, at, begin, length):
                sender, receiver = first % rank.size, second % rank.size
                length = min(length, SIZE - at, SIZE - begin)
                if sender != receiver:
                    if rank.id == sender:
                        _send(rank, how, receiver, part(begin, length))
                    elif rank.id == receiver:
                        _receive(rank, how, sender, part(at, length))
                    models[receiver][at : at + length] = models[sender][begin : begin + length]
    expect.equal(rank.read(memory), bytes(models[rank.id]), "this rank's memory at the end of the sequence")


def _send(rank: Rank, how: str, peer: int, memory: Memory) -> None:
    match how:
        case "put":
            MemoryChannel(rank.group, peer).put(memory)
        case "get":
            MemoryChannel(rank.group, peer).offer(memory)
        case "packets":
            PacketChannel(rank.group, peer).put(memory)
        case _:
            PortChannel(rank.group, peer).post(memory, flush=how == "post and flush")


def _receive(rank: Rank, how: str, peer: int, memory: Memory) -> None:
    match how:
        case "put":
            MemoryChannel(rank.group, peer).accept(memory)
        case "get":
            MemoryChannel(rank.group, peer).get(memory)
        case "packets":
            PacketChannel(rank.group, peer).accept(memory)
        case _:
            PortChannel(rank.group, peer).accept(memory, flush=how == "post and flush")


@clause("HAL-MCH-007", "HAL-PKT-008", "HAL-PCH-008", "HAL-SEM-010", "HAL-EXE-006")
@pytest.mark.ranks("group", least=2)
@pytest.mark.limit(30)
def test_channels_and_collectives(stage: Stage) -> None:
    _explore(stage, "channel_part", CHANNEL_STEPS, full=100, quick=25)
