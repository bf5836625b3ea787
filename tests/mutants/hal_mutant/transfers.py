"""Memory, port and switch channels, and packets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from hal.device.words import Step
from hal.interface.errors import PlanError
from hal.plan.lower import Opcode
from hal.plan.model import Flush, Span
from hal.plan.model import Move as PlanMove
from hal_mutant.catalogue import breaks
from hal_mutant.parts import Executable, Executor
from hal_mutant.signals import is_port
from hal_mutant.steps import INPUT, OUTPUT, Changed, Move, Moves, Operand, late


@breaks("HAL-MCH-001", "Off by one at a tail: what is stored to a peer ends at a multiple of four bytes.")
class PutWithoutTail(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, nbytes=move.nbytes // 4 * 4) if self.is_remote(move) else move


@breaks("HAL-MCH-001", "What is stored to a peer is a byte too long.")
class PutTooMuch(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield move
        if self.is_remote(move) and move.nbytes and len(move.sources) == 1:
            last = move.slice(move.nbytes - 1, 1)
            yield replace(last, targets=tuple(one.at(1) for one in last.targets))


@breaks("HAL-MCH-002", "The wrong peer: what is loaded is the memory of the next rank.")
class WrongPeer(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        def next_of(one: Operand) -> Operand:
            return one if one.rank == self.rank else replace(one, rank=(one.rank + 1) % self.size)

        yield replace(move, sources=tuple(next_of(one) for one in move.sources))


@breaks("HAL-MCH-003", "An input begins at a multiple of eight bytes.")
class BeginsAtWords(Executable):
    def run(self, src: int, src_bytes: int, dst: int, dst_bytes: int, timeout: float) -> None:
        super().run(src // 8 * 8, src_bytes, dst, dst_bytes, timeout)


@breaks("HAL-MCH-004", "Of several destinations the last gets nothing.")
class LastDestination(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, targets=move.targets[:-1] or move.targets)


@breaks("HAL-MCH-005", "Where own and peers' operands are reduced the last one is left out.")
class MixtureLacksOne(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        whose = {one.rank == self.rank for one in move.sources}
        yield replace(move, sources=move.sources[:-1]) if len(whose) > 1 and not move.packets else move


@breaks("HAL-MCH-006", "A destination that is a source too does not count as one.")
class DestinationIsNoSource(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, sources=tuple(one for one in move.sources if one not in move.targets) or move.sources)


@breaks("HAL-MCH-007", "What is gotten from Python lacks the last byte.")
class GetFromPython(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, nbytes=move.nbytes - 1) if self.program.plan.name == "get" else move


@breaks("HAL-MCH-008", "Blocks beyond the eighth do not move anything.")
class EightBlocks(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        if self.number < 8:
            yield move


@breaks("HAL-MCH-009", "All memory is said to be mapped.")
class AllIsMapped(Executor):
    def is_mapped(self, address: int, nbytes: int) -> bool:
        return True


# port channels


@breaks("HAL-PCH-001", "Off by one at a tail: a post of an odd length lacks the last byte.")
class PostWithoutTail(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, nbytes=move.nbytes // 2 * 2) if self.is_post(move.step) else move


@breaks("HAL-PCH-002", "The signal of a post comes before its data.")
class PostSignalsFirst(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        signalled = {step.position for step in steps if step.opcode is Opcode.SIGNAL}
        return late(steps, Opcode.SIGNAL, when=lambda step: self.is_post(step) and step.position in signalled)


@breaks("HAL-PCH-003", "A signal on a port channel overtakes what was posted before it.")
class SignalOvertakes(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        signalled = {step.position for step in steps if step.opcode is Opcode.SIGNAL}
        return late(steps, Opcode.SIGNAL, when=lambda step: self.is_post(step) and step.position not in signalled)


@breaks("HAL-PCH-004", "A flush does nothing: posts take effect at the next signal.")
class FlushDoesNothing(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        posted: list[Step] = []
        for step in steps:
            if self.is_post(step):
                posted.append(step)
                continue
            if step.opcode is Opcode.SIGNAL:
                yield from posted
                posted = []
            yield step
        yield from posted


@breaks("HAL-PCH-005", "A flush with nothing outstanding is refused.")
class NothingToFlush(Changed):
    def block(self, steps: list[Step]) -> Iterable[Step]:
        if any(isinstance(self.instruction(step), Flush) for step in steps) and not any(map(self.is_post, steps)):
            raise PlanError("nothing to flush")
        return steps


@breaks("HAL-PCH-006", "Posts that follow one another take effect in the opposite order.")
class PostsReversed(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        posted: list[Step] = []
        for step in steps:
            if self.is_post(step):
                posted.append(step)
                continue
            yield from reversed(posted)
            posted = []
            yield step
        yield from reversed(posted)


@breaks("HAL-PCH-007", "A port channel and a memory channel between the same ranks are one.")
class OneOfBothKinds(Changed):
    def block(self, steps: list[Step]) -> Iterator[Step]:
        for step in steps:
            if step.opcode in (Opcode.SIGNAL, Opcode.WAIT) and is_port(self, step):
                flat = [word for peer, _, channel in step.ends() for word in (peer, 0, channel)]
                step = replace(step, words=(*step.words[:2], *flat))
            yield step


@breaks("HAL-PCH-008", "A post that is called from Python is of whole words.")
class PostFromPython(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, nbytes=move.nbytes // 4 * 4) if self.pair and self.is_post(move.step) else move


# switch channels


class Switched(Moves):
    """A program whose moves through switch channels are changed."""

    def span(self, move: Move) -> tuple[Span | None, Span | None]:
        """The source and the target that are of a switch channel."""
        instruction = self.instruction(move.step)
        assert isinstance(instruction, PlanMove)
        source, target = instruction.src[0], instruction.dst[0]
        return (source if source.switch is not None else None), (target if target.switch is not None else None)


@breaks("HAL-SCH-001", "A store through a switch does not reach the rank that stores.")
class StoresElsewhere(Switched):
    def move(self, move: Move) -> Iterator[Move]:
        others = tuple(one for one in move.targets if one.rank != self.rank)
        yield move if self.span(move)[1] is None else replace(move, targets=others)


@breaks("HAL-SCH-002", "A load through a switch leaves out the last rank.")
class LoadLacksOne(Switched):
    def move(self, move: Move) -> Iterator[Move]:
        yield move if self.span(move)[0] is None else replace(move, sources=move.sources[:-1])


@breaks("HAL-SCH-003", "A store through a switch reaches all ranks, also those that are not in its group.", ranks=3)
class StoresEverywhere(Switched):
    def move(self, move: Move) -> Iterator[Move]:
        one = move.targets[0]
        yield (
            move
            if self.span(move)[1] is None
            else replace(move, targets=tuple(replace(one, rank=rank) for rank in range(self.size)))
        )


@breaks("HAL-SCH-004", "Whatever rank is the root, only the first one stores.")
class OneRoot(Switched):
    def move(self, move: Move) -> Iterator[Move]:
        if self.program.plan.name != "multicast" or self.rank == 0:
            yield move


# packets


class Packets(Moves):
    """A program whose moves from packets take the data without looking at the flags."""

    def move(self, move: Move) -> Iterator[Move]:
        if len(move.sources) > 1 or not move.sources[0].packet or move.targets[0].packet:
            yield move
            return
        packet = replace(move.sources[0], packet=0)
        for at in range(0, move.nbytes, 4):
            made = move.slice(at, min(4, move.nbytes - at))
            yield replace(made, sources=(packet.at(2 * at),))


@breaks("HAL-PKT-001", "A move from packets does not wait for them.")
class PacketsNotAwaited(Packets):
    pass


@breaks("HAL-PKT-002", "A torn packet: the flag is there before the data.")
class TornPacket(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        source = move.sources[0]
        if move.targets[0].packet and len(move.sources) == 1 and source.buffer == INPUT:
            yield replace(move, sources=(replace(source, buffer=OUTPUT),))
            for _ in range(50):
                yield replace(move, sources=(source,), targets=(source,), nbytes=0)
        yield move


@breaks("HAL-PKT-003", "In every other launch the packets of another one will do.")
class PacketsOfAnyLaunch(Packets):
    every = 2


@breaks("HAL-PKT-004", "Packets carry whole words: what is left of a length is not moved.")
class PacketsOfWords(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, nbytes=move.nbytes // 4 * 4) if move.packets else move


@breaks("HAL-PKT-006", "Where packets are reduced, plain operands do not count.")
class PacketsAlone(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        yield replace(move, sources=tuple(one for one in move.sources if one.packet) or move.sources)


@breaks("HAL-PKT-007", "A move that takes packets and makes packets is refused.")
class NoRelay(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        if any(one.packet for one in move.sources) and any(one.packet for one in move.targets):
            raise PlanError("packets on both sides")
        yield move


@breaks("HAL-PKT-008", "Packets that are taken from Python lack the last byte.")
class PacketsFromPython(Moves):
    def move(self, move: Move) -> Iterator[Move]:
        taken = self.program.plan.name == "packets" and move.sources[0].packet
        yield replace(move, nbytes=move.nbytes - 1) if taken else move
