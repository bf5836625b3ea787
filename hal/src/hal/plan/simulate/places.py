"""Which instruction of the plan a record is about, in words."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from hal.plan.model import Instruction, Move, Post, Signal, Wait
from hal.plan.simulate.program import END, LOOP, MOVE, POST, Agent, Program
from hal.plan.simulate.record import Record
from hal.plan.text import Path, describe, instruction_at
from hal.plan.timeline import Kind


@dataclass(frozen=True, slots=True)
class Place:
    """An instruction in a block, or what a port delivers; as `hal.plan.timeline.Interval` has it."""

    rank: int
    block: int
    path: Path
    text: str
    kind: Kind
    nbytes: int
    peer: int | None
    port: int | None = None


class Places:
    """Finds the places of a program's records."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._sequences: dict[int, tuple[_Sequence, object]] = {}
        self._texts: dict[tuple[int, int, Path], tuple[Instruction, str, int | None]] = {}

    def at(self, agent: Agent, record: Record, index: int) -> Place:
        """The place of the `index`-th instruction that the agent ran."""
        if record.starts is not None:
            return self._delivery(agent, record, index)
        pc, piece = self._sequence(agent).at(index)
        op, path = agent.shape.code[pc], self._sequence(agent).paths[pc]
        instruction, text, peer = self._known(agent, path)
        whole = op[2] if op[0] in (MOVE, POST) else 0
        unit = self._sequence(agent).units[pc]
        nbytes = whole if unit is None else max(0, min(whole - piece * unit, unit))
        return Place(agent.rank, agent.number, path, text, _kind(instruction), nbytes, peer)

    def where(self, agent: Agent, pc: int) -> Path:
        """The path of the instruction that an agent stands at."""
        return self._sequence(agent).paths[pc]

    def _sequence(self, agent: Agent) -> _Sequence:
        known = self._sequences.get(id(agent.shape))
        if known is None:
            known = self._sequences[id(agent.shape)] = (_Sequence(agent, self._program.pieces), agent.shape)
        return known[0]

    def _known(self, agent: Agent, path: Path) -> tuple[Instruction, str, int | None]:
        key = (agent.rank, agent.number, path)
        found = self._texts.get(key)
        if found is None:
            instruction = instruction_at(self._program.plan, agent.rank, agent.number, path)
            channels = self._program.plan.ranks[agent.rank].channels
            text = describe(instruction, channels)
            peers = _peers(instruction, agent.rank, [c.peers for c in channels])
            found = self._texts[key] = (instruction, text, peers.pop() if len(peers) == 1 else None)
        return found

    def _delivery(self, agent: Agent, record: Record, index: int) -> Place:
        """What the port delivered; an own place where it followed another delivery at once."""
        peer = self._program.plan.ranks[agent.rank].channels[agent.number].peer
        nbytes = record.sizes[index]
        text = f"deliver {nbytes} bytes to {peer}" if nbytes else f"deliver a signal to {peer}"
        return Place(agent.rank, 0, (), f"{text} (channel {agent.number})", "post", nbytes, peer, agent.number)


class _Sequence:
    """In which order a block runs its code."""

    def __init__(self, agent: Agent, pieces: dict[int, int]) -> None:
        self.paths: list[Path] = []
        self.units: list[int | None] = []
        # stretches of code: where they begin in the record, in the code, their length, how often they run
        self._stretches: list[tuple[int, int, int, int]] = []
        outer, inner, unit = -1, 0, None
        begun = 0
        code = agent.shape.code
        for pc, op in enumerate(code):
            if op[0] == END:
                length = inner
                self._stretches.append((begun, pc - length, length, pieces[unit] if unit is not None else 1))
                begun += length * self._stretches[-1][3]
                self.paths.append((outer,))
                self.units.append(None)
                unit = None
                continue
            if unit is None:
                outer += 1
                self.paths.append((outer,))
            else:
                self.paths.append((outer, inner))
                inner += 1
            self.units.append(unit)
            if op[0] == LOOP:
                unit, inner = op[1], 0
            elif unit is None:
                self._stretches.append((begun, pc, 1, 1))
                begun += 1
        self._starts = [stretch[0] for stretch in self._stretches]

    def at(self, index: int) -> tuple[int, int]:
        """Which instruction of the code is the `index`-th that runs, and the piece it works on."""
        begun, first, length, _ = self._stretches[bisect_right(self._starts, index) - 1]
        piece, offset = divmod(index - begun, length)
        return first + offset, piece


def _kind(instruction: Instruction) -> Kind:
    name: Kind = type(instruction).__name__.lower()  # type: ignore[assignment]  # the kinds are the names of the classes
    return name


def _peers(instruction: Instruction, rank: int, channels: list[tuple[int, ...]]) -> set[int]:
    """The other ranks that an instruction is about."""
    match instruction:
        case Move():
            found: set[int | None] = set()
            for span in (*instruction.dst, *instruction.src):
                found |= set(channels[span.switch]) if span.switch is not None else {span.peer}
            return {p for p in found if p is not None and p != rank}
        case Post(channel=channel):
            return set(channels[channel])
        case Signal() | Wait():
            return {channels[c][0] for c in instruction.channels}
        case _:
            return set(channels[instruction.channel]) if hasattr(instruction, "channel") else set()
