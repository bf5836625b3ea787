"""Plans on the executor kernel compiled for CPUs: compiling it, running jobs on it, comparing with the reference."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hal import reference
from hal.device import group, include_path, kernel_source, pack
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.executor import Call
from hal.plan.builder import PlanBuilder
from hal.plan.collective import Collective
from hal.plan.layout import Layout
from hal.plan.lower import lower
from hal.plan.model import Barrier, BufferKind, Channel, ChannelKind, Loop, Move, Plan, RankPlan, Signal, Span, Wait
from hal.reference.memory import needed
from hal.runtime.stall import Entry, Failure
from hal_collectives.algorithms import Algorithm, get

from ..collectives.oracle import pool

Array = NDArray[Any]
CPU = Path(__file__).parent / "cpu"
NOBODY = (1 << 64) - 1
PLENTY = 60_000_000_000
SANITIZERS = {"thread": ["-fsanitize=thread"], "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]}


def compiler(name: str) -> str:
    """The compiler of this name; skips where it is not installed."""
    found = shutil.which(os.environ.get("CXX") or "c++") if name == "default" else shutil.which(name)
    if found is None:
        pytest.skip(f"there is no C++ compiler {name!r}")
    return found


def build(
    cache: Path, name: str, sources: dict[str, str], files: Sequence[Path], cxx: str, flags: Sequence[str] = ()
) -> Path:
    """Compile to a program, once for the same sources: those given as text and those in files, with the headers."""
    headers = sorted([*include_path().rglob("*.h"), *CPU.glob("*.h"), *files])
    version = subprocess.run([cxx, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    variant = _digest([cxx, *flags, *sources])
    folder = (
        cache / f"{name}-{variant}-{_digest([version, *sources.values(), *(path.read_text() for path in headers)])}"
    )
    program = folder / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}-{variant}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side; whoever holds it ends in time
        if not program.exists():
            _compile(folder, name, variant, sources, files, [cxx, *flags])
    return program


def _compile(
    folder: Path, name: str, variant: str, sources: dict[str, str], files: Sequence[Path], command: list[str]
) -> None:
    for old in folder.parent.glob(f"{name}-{variant}-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for file, source in sources.items():
        (folder / file).write_text(source)
    common = [*command, "-std=c++17", "-g1", "-pthread", "-Wall", "-Wextra", "-Werror", f"-I{CPU}"]
    common.append(f"-I{include_path()}")
    made = folder / f"{name}.{os.getpid()}"
    objects = []
    steps = []
    for path in [*(folder / file for file in sources), *files]:
        objects.append(str(folder / f"{path.stem}.{os.getpid()}.o"))
        steps.append(subprocess.Popen([*common, "-c", str(path), "-o", objects[-1]], stderr=subprocess.PIPE))
    errors = [step.communicate(timeout=300)[1].decode() for step in steps]
    assert not any(step.returncode for step in steps), "\n".join(errors)
    subprocess.run([*common, *objects, "-o", str(made)], check=True, timeout=300)
    made.rename(folder / name)


def shared_channels() -> Plan:
    """all_reduce of two ranks whose blocks use one channel together, which algorithms never do."""
    ranks = []
    for me in range(2):
        blocks = []
        for half in range(2):
            own, others = (Span(BufferKind.INPUT, half), Span(BufferKind.SCRATCH, half))
            blocks.append(
                (
                    Move((Span(BufferKind.SCRATCH, half, peer=1 - me),), (own,)),
                    Signal((0,)),
                    Wait((0,)),
                    Barrier(0, 2),
                    Move((Span(BufferKind.OUTPUT, half),), (own, others) if me == 0 else (others, own), final=True),
                    Signal((0,)),
                    Wait((0,)),
                )
            )
        ranks.append(RankPlan(2, 2, 2, tuple(blocks), (Channel(ChannelKind.MEMORY, (1 - me,)),)))
    return Plan("shared_channels", "all_reduce", tuple(ranks), split=2)


def even_parts(slots: int) -> Plan:
    """all_reduce of two ranks in equal chunks, of which each block moves a part, in the pieces of a loop."""
    ranks = []
    for me in range(2):
        blocks = []
        for part in range(3):
            own, others = Span(BufferKind.INPUT, 0, 2), Span(BufferKind.SCRATCH, 0, 2)
            there = Span(BufferKind.SCRATCH, 0, 2, peer=1 - me)
            sources = (own, others) if me == 0 else (others, own)
            reduce = Move((Span(BufferKind.OUTPUT, 0, 2),), sources, part=part, parts=3, final=True)
            put = Move((there,), (own,), part=part, parts=3)
            ends = (Signal((part,)), Wait((part,)))
            # through a ring of slots piece by piece, each when the one before is read; else all of it before
            body = (put, *ends, reduce, *ends) if slots else (reduce,)
            before = () if slots else (put, *ends)
            blocks.append((*before, Loop(64, body, slots)))
        channels = (Channel(ChannelKind.MEMORY, (1 - me,)),) * 3
        ranks.append(RankPlan(2, 2, 2, tuple(blocks), channels))
    return Plan(f"even_parts_{slots}", "all_reduce", tuple(ranks), split=2, even=True, align=32)


def many_posts(size: int) -> Plan:
    """all_reduce of two ranks or more in more posts than a queue has room for."""
    p = PlanBuilder("all_reduce", name="many_posts", ranks=size, split=8)
    for rank in p.ranks:
        block = rank.block()
        for chunk in range(8):
            for other in rank.others:
                block.post(other.scratch[8 * rank.id + chunk], rank.input[chunk])
        block.signal(rank.others, port=True)
        block.wait(rank.others, port=True)
        for chunk in range(8):
            sources = [rank.input[chunk] if r is rank else rank.scratch[8 * r.id + chunk] for r in p.ranks]
            block.reduce(rank.output[chunk], sources, final=True)
    return p.build()


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def build_driver(
    cache: Path,
    dtypes: Iterable[DType],
    ops: Iterable[ReduceOp] = tuple(ReduceOp),
    cxx: str = "default",
    sanitizer: str | None = None,
    defines: Sequence[str] = (),
    level: str = "-O1",
) -> Path:
    """The program that runs jobs, with kernels for these types and, of each, these operations."""
    kernels, cases = {}, []
    for dtype in dtypes:
        allowed = [op for op in ops if not (op.is_bitwise and dtype.is_float)]
        kernels[f"{dtype.label}.cpp"] = kernel_source(dtype, allowed, f"execute_{dtype.label}", multicast=True)
        types = ", ".join("unsigned long long" for _ in range(12))
        values = ", ".join(f"a[{i}]" for i in range(12))
        cases.append(
            (f'extern "C" void execute_{dtype.label}({types});', int(dtype), f"execute_{dtype.label}({values})")
        )
    table = "\n".join(
        [
            *(declaration for declaration, _, _ in cases),
            "void launch_kernel(int dtype, const unsigned long long* a) {",
            "  switch (dtype) {",
            *(f"    case {code}: return {call};" for _, code, call in cases),
            "    default: __builtin_trap();",
            "  }",
            "}",
        ]
    )
    flags = [level, *(SANITIZERS[sanitizer] if sanitizer else []), *(f"-D{name}" for name in defines)]
    return build(cache, "driver", kernels | {"table.cpp": table}, [CPU / "driver.cpp"], compiler(cxx), flags)


@dataclass
class Outcome:
    """What a job left behind, by rank."""

    statuses: list[list[group.Status]]
    """Of each launch that the rank entered."""
    outputs: list[list[Array]]
    """After each launch."""
    reports: list[list[Entry]]
    """Of the last launch."""
    failures: list[tuple[Failure, int, int] | None]
    """Why the group failed, whom that is about, and in which launch, as each rank knows."""
    calls: list[list[tuple[int, ...] | None]]
    """What each member called in the last launch, as this rank knows."""
    carried_out: int
    """Triggers that the proxies of the group carried out."""
    multicast: int
    """Loads from and stores to multicast memory."""
    groups: list[bytes]
    """The group part of each rank's memory."""


@dataclass
class Job:
    """A call of a plan on all ranks, several times in a row."""

    plan: Plan
    inputs: list[Array]
    count: int
    dtype: DType
    op: ReduceOp = ReduceOp.SUM
    mapped: Plan | None = None
    in_place: bool = False
    launches: int = 2
    lanes: int = 3
    seed: int = 0
    proxy: bool = False
    multicast: bool = False
    """Whether the group has multicast memory."""
    timeout_ns: int = PLENTY
    first_launch: int = 0
    registered: Sequence[int] | None = None
    """The ranks whose buffers are registered memory; None: all."""
    absent: int = NOBODY
    aborted: int = NOBODY
    offset: int = 0
    """Bytes from an aligned place to where inputs and outputs begin."""
    missing: int = 0
    """Bytes by which the memory of the buffers is shorter than it has to be."""
    different: dict[int, int] = field(default_factory=dict)
    """Ranks that say they call another count in the first launches, and that count."""
    disagree: int = 0
    """How many launches these are."""

    def words(self) -> list[int]:
        """The job for the driver."""
        plans = [self.plan] if self.mapped is None else [self.plan, self.mapped]
        layouts = [Layout.uniform(plan, self.count, self.dtype.itemsize) for plan in plans]
        size = self.plan.size
        programs = [
            [lower(plan, rank, layout, self.dtype, self.op) for plan, layout in zip(plans, layouts, strict=True)]
            for rank in range(size)
        ]
        scratch = max(128, *(program.scratch_bytes for each in programs for program in each))
        head = [size, self.lanes, self.launches, self.seed, int(self.dtype), self.timeout_ns, self.first_launch]
        words = [*head, int(self.proxy), int(self.multicast), scratch, self.disagree, self.absent, self.aborted]
        packed = [
            [pack(program, size, scratch, proxy=self.proxy, multicast=self.multicast) for program in each]
            for each in programs
        ]
        blocks = max(each.blocks for rank in packed for each in rank)
        for rank in range(size):
            call = Call(Collective.of(self.plan.collective), self.dtype, self.op, -1, self.count, 7)
            first, second = (packed[rank] + [None])[:2]
            assert first is not None
            words += [
                *group.call_key(call),
                self.different.get(rank, self.count),
                blocks,
                len(first.words),
                *first.words.tolist(),
            ]
            words += [0] if second is None else [len(second.words), *second.words.tolist()]
            words.append(int(self.registered is None or rank in self.registered))
            words += self._buffers(rank, layouts[0])
        return words

    def _buffers(self, rank: int, layout: Layout) -> list[int]:
        data = np.ascontiguousarray(self.inputs[rank]).view(np.uint8).tobytes()
        nin, nout = len(data), needed(layout.outputs[rank])
        input_at = self.offset
        output_at = self.offset + -(-nin // 256) * 256
        if self.in_place or self.plan.aliased:
            inputs, outputs = layout.inputs[rank], layout.outputs[rank]
            output_at = self.offset
            if inputs and outputs and len(inputs) < len(outputs):
                input_at = self.offset + outputs[rank * self.plan.split][0]
            elif inputs and outputs and len(inputs) > len(outputs):
                output_at = self.offset + inputs[rank * self.plan.split][0]
            elif not (inputs and outputs):
                output_at = self.offset + -(-nin // 256) * 256
        room = max(input_at + nin, output_at + nout)
        padded = data.ljust(-(-nin // 8) * 8, b"\0")
        return [room - self.missing, input_at, nin, output_at, nout, *struct.unpack(f"={len(padded) // 8}Q", padded)]

    def output_bytes(self) -> list[int]:
        """Bytes of each rank's output."""
        layout = Layout.uniform(self.plan, self.count, self.dtype.itemsize)
        return [needed(layout.outputs[rank]) for rank in range(self.plan.size)]

    def expected(self, plan: Plan | None = None) -> list[Array]:
        """The outputs that the reference finds."""
        result = reference.run(
            plan or self.plan, self.inputs, op=self.op, in_place=self.in_place, count=self.count, launches=1
        )
        return result.outputs


def run(program: Path, jobs: Sequence[Job], folder: Path, timeout: float = 100) -> list[Outcome]:
    """Run jobs one after the other, in one process."""
    words = [word & NOBODY for job in jobs for word in job.words()]
    given, left = folder / "jobs", folder / "left"
    given.write_bytes(struct.pack(f"={len(words)}Q", *words))
    done = subprocess.run(
        [str(program), str(given), str(left)], capture_output=True, text=True, timeout=timeout, check=False
    )
    if (done.returncode, done.stdout, done.stderr) != (0, "", ""):
        raise AssertionError(f"the driver ended with {done.returncode}\n{done.stdout}{done.stderr}")
    data = memoryview(left.read_bytes())
    sizes = struct.unpack_from("=3Q", data)
    assert sizes == (64 + 24 * group.MOST_MEMBERS, group.LOCAL_BYTES, group.HOST_BYTES)
    at = 24
    outcomes = []
    for job in jobs:
        outcome = Outcome([], [], [], [], [], 0, 0, [])
        for nbytes in job.output_bytes():
            at = _rank(job, nbytes, data, at, outcome)
        outcomes.append(outcome)
    assert at == len(data)
    return outcomes


def _rank(job: Job, nbytes: int, data: memoryview, at: int, outcome: Outcome) -> int:
    def take(length: int) -> bytes:
        nonlocal at
        taken = bytes(data[at : at + length])
        at += -(-length // 8) * 8
        return taken

    def word() -> int:
        return int.from_bytes(take(8), "little")

    statuses = [group.status(bytes(8) + take(8)) for _ in range(word())]
    outputs = [np.frombuffer(take(nbytes), job.dtype.numpy) for _ in statuses]
    control = take(word())
    assert len(control) == group.control_bytes(job.plan.size)
    last = job.first_launch + job.launches
    outcome.statuses.append(statuses)
    outcome.outputs.append(outputs)
    outcome.reports.append(group.report(control, job.plan.size, last))
    outcome.failures.append(group.failure(control, job.plan.size))
    outcome.calls.append(group.calls(control, job.plan.size, last))
    outcome.carried_out = word()
    outcome.multicast = word()
    outcome.groups.append(take(64 + 24 * group.MOST_MEMBERS))
    return at


def check(job: Job, outcome: Outcome, plan: Plan | None = None) -> None:
    """That every launch on every rank ended well, with the reference's outputs, bit for bit."""
    for rank, expected in enumerate(job.expected(plan)):
        assert outcome.failures[rank] is None
        ends = [(s.launch, s.failure, s.mismatch) for s in outcome.statuses[rank]]
        assert ends == [(job.first_launch + 1 + i, 0, False) for i in range(job.launches)]
        for output in outcome.outputs[rank]:
            np.testing.assert_array_equal(
                output.view(np.uint8), expected.view(np.uint8), f"{job.plan.name}, rank {rank}"
            )


def inputs_of(plan: Plan, count: int, dtype: DType) -> list[Array]:
    """Values of every kind, NaN and infinities among them; different ones on every rank."""
    return [
        pool(dtype, number, True)[count : count + part.input_chunks // plan.split * count]
        for number, part in enumerate(plan.ranks)
    ]


def job_of(plan: Plan, count: int, dtype: DType, op: ReduceOp = ReduceOp.SUM, **rest: Any) -> Job:
    """A job on values of every kind."""
    return Job(plan, inputs_of(plan, count, dtype), count, dtype, op, **rest)


PLAIN = {
    "all_reduce": "one_phase",
    "reduce_scatter": "staged",
}
"""For collectives with mapped algorithms one that runs on any buffers."""


def algorithm_job(algorithm: Algorithm, size: int, count: int, dtype: DType, op: ReduceOp, **rest: Any) -> Job:
    """A job for a built-in algorithm; where it needs mapped buffers, beside one that does not."""
    root = size - 1 if Collective.of(algorithm.collective).rooted else None
    plan = algorithm.build(size, root)
    if not algorithm.mapped:
        return job_of(plan, count, dtype, op, **rest)
    plain = get(algorithm.collective, PLAIN.get(algorithm.collective, "staged")).build(size, root)
    return job_of(plain, count, dtype, op, mapped=plan, **rest)
