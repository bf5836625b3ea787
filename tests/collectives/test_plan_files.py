"""A user's own plan files, pinned in the configuration; and plans that demand something of where buffers lie."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hal.reference
from hal import config
from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import ConfigError, NotSupported, PlanError, UsageError
from hal.plan import (
    BufferKind,
    Channel,
    ChannelKind,
    Instruction,
    Loop,
    Move,
    Plan,
    RankPlan,
    Signal,
    Span,
    Sync,
    Wait,
    save,
)
from hal_collectives import Communicator, run_local
from hal_collectives.algorithms import get
from hal_collectives.plan_files import check_pins

from .groups import Ranks, host_ranks
from .oracle import difference, pool
from .verdicts import plan_path

Array = NDArray[Any]
INPUT, OUTPUT, SCRATCH = BufferKind
PAIR = (Channel(ChannelKind.MEMORY, (1,)), Channel(ChannelKind.SWITCH, (0, 1)))
OTHER_PAIR = (Channel(ChannelKind.MEMORY, (0,)), Channel(ChannelKind.SWITCH, (0, 1)))


def pair(
    name: str, collective: str, chunks: tuple[int, int, int], block: Callable[[int], list[Instruction]], **more: Any
) -> Plan:
    """An even plan of two ranks, each with one block."""
    ranks = (
        RankPlan(*chunks, (tuple(block(0)),), PAIR),
        RankPlan(*chunks, (tuple(block(1)),), OTHER_PAIR),
    )
    return Plan(name, collective, ranks, **{"align": 16, "even": True, **more})


MEET: list[Instruction] = [Sync(), Signal((0,)), Wait((0,)), Sync()]


def exchange(rank: int, target: Span) -> list[Instruction]:
    """Send the other's block of the input through scratch, and reduce one's own with what comes."""
    other = 1 - rank
    return [
        Move((Span(SCRATCH, 0, peer=other),), (Span(INPUT, other),)),
        *MEET,
        Move((target,), (Span(INPUT, rank), Span(SCRATCH, 0)), final=True),
    ]


def scatter() -> Plan:
    return pair("scatter", "reduce_scatter", (2, 1, 1), lambda r: exchange(r, Span(OUTPUT, 0)), aliased=True)


def gather() -> Plan:
    """The rank's block of the output is read where the input lies."""

    def block(rank: int) -> list[Instruction]:
        other = 1 - rank
        return [
            Move((Span(SCRATCH, 0, peer=other),), (Span(INPUT, 0),)),
            *MEET,
            Move((Span(OUTPUT, other),), (Span(SCRATCH, 0),)),
        ]

    return pair("gather", "all_gather", (1, 2, 1), block, aliased=True)


def swap() -> Plan:
    """all_to_all that leaves a rank's own block where it is."""

    def block(rank: int) -> list[Instruction]:
        other = 1 - rank
        return [
            Move((Span(SCRATCH, 0, peer=other),), (Span(INPUT, other),)),
            *MEET,
            Move((Span(OUTPUT, other),), (Span(SCRATCH, 0),)),
        ]

    return pair("swap", "all_to_all", (2, 2, 1), block, aliased=True)


def scribbler() -> Plan:
    """all_reduce that uses its input as scratch."""

    def block(rank: int) -> list[Instruction]:
        return [
            Move((Span(SCRATCH, 0, peer=1 - rank),), (Span(INPUT, 0),)),
            *MEET,
            Move((Span(INPUT, 0),), (Span(INPUT, 0), Span(SCRATCH, 0)), final=True),
            Sync(),
            Move((Span(OUTPUT, 0),), (Span(INPUT, 0),)),
        ]

    return pair("scribbler", "all_reduce", (1, 1, 1), block)


def apart() -> Plan:
    """all_reduce that writes to its output before it has read its input."""

    def block(rank: int) -> list[Instruction]:
        return [
            Move((Span(SCRATCH, 0, peer=1 - rank),), (Span(INPUT, 0),)),
            *MEET,
            Move((Span(OUTPUT, 0),), (Span(SCRATCH, 0),)),
            Sync(),
            Move((Span(OUTPUT, 0),), (Span(INPUT, 0), Span(OUTPUT, 0)), final=True),
        ]

    return pair("apart", "all_reduce", (1, 1, 1), block, in_place=False)


COUNT = 64


def buffers(comm: Communicator, collective: str, in_place: bool) -> tuple[Array, Array]:
    """Input and output of a call, the input filled with numbers that tell rank and place."""
    held = {"all_gather": (1, 2), "reduce_scatter": (2, 1), "all_to_all": (2, 2), "all_reduce": (1, 1)}[collective]
    numbers = np.arange(held[0] * COUNT, dtype=np.int32) + 1000 * comm.rank
    if not in_place:
        return numbers, np.full(held[1] * COUNT, -1, np.int32)
    both = np.full(max(held) * COUNT, -1, np.int32)
    own = slice(comm.rank * COUNT, (comm.rank + 1) * COUNT)
    x, out = both[own] if held[0] < held[1] else both, both[own] if held[0] > held[1] else both
    x[:] = numbers
    return x, out


def expected(collective: str, rank: int) -> Array:
    count = np.arange(COUNT, dtype=np.int32)
    match collective:
        case "all_gather":
            return np.concatenate([count, count + 1000])
        case "reduce_scatter":
            return 2 * (count + rank * COUNT) + 1000
        case "all_to_all":
            return np.concatenate([count + rank * COUNT, count + rank * COUNT + 1000])
        case _:
            return 2 * count + 1000


@pytest.mark.parametrize("make", [gather, scatter, swap, scribbler, apart])
def test_buffers_lie_where_a_plan_needs_them(make: Callable[[], Plan], tmp_path: Path) -> None:
    plan = make()
    save(plan, tmp_path / "plan.json")

    def body(comm: Communicator) -> None:
        for _ in range(2):
            for in_place in (False, True):
                x, out = buffers(comm, plan.collective, in_place)
                given = x.copy()
                getattr(comm, plan.collective)(x, out)
                assert np.array_equal(out, expected(plan.collective, comm.rank)), f"in place: {in_place}"
                if not in_place:
                    assert np.array_equal(x, given), "the input is the caller's"

    # a plan that changes its input is none that the verifier passes
    settings = {"verify": "never"} if plan.name == "scribbler" else {}
    pins = {f"algorithms__{plan.collective}": [{"plan": str(tmp_path / "plan.json")}]}
    run_local(2, body, timeout=20, **settings, **pins)


# the executors agree on what only even plans have


def parted(rank: int) -> list[Instruction]:
    moves = [Move((Span(SCRATCH, 0, 2, peer=1 - rank),), (Span(INPUT, 0, 2),), part=i, parts=3) for i in range(3)]
    copies = [Move((Span(SCRATCH, 2, 2),), (Span(SCRATCH, 0, 2),), part=i, parts=2) for i in range(2)]
    whole = Move((Span(OUTPUT, 0, 2),), (Span(INPUT, 0, 2), Span(SCRATCH, 2, 2)), final=True)
    return [*moves, *MEET, *copies, Sync(), whole]


def looped(slots: int) -> Callable[[int], list[Instruction]]:
    def block(rank: int) -> list[Instruction]:
        body: tuple[Instruction, ...] = (
            Move((Span(SCRATCH, 0, 2, peer=1 - rank),), (Span(INPUT, 0, 2),), part=1, parts=2),
            *MEET,
            Move((Span(SCRATCH, 2, 2),), (Span(SCRATCH, 0, 2),), part=1, parts=2),
            Sync(),
            Move((Span(OUTPUT, 0, 2),), (Span(INPUT, 0, 2), Span(SCRATCH, 2, 2)), part=1, parts=2, final=True),
            *MEET,
        )
        first = tuple(Move(i.dst, i.src, final=i.final, part=0, parts=2) if isinstance(i, Move) else i for i in body)
        return [Loop(64, first, slots), Loop(64, body, slots)]

    return block


def packed(rank: int) -> list[Instruction]:
    there, here = (Span(SCRATCH, 0, 2, peer=p, packet=True) for p in (1 - rank, None))
    return [
        *(Move((there,), (Span(INPUT, 0, 2),), part=i, parts=2) for i in range(2)),
        Move((Span(SCRATCH, 4, 2),), (here,)),
        Sync(),
        Move((Span(OUTPUT, 0, 2),), (Span(INPUT, 0, 2), Span(SCRATCH, 4, 2)), final=True),
    ]


def stored(rank: int) -> list[Instruction]:
    """Multicast to the scratch of both, then a reduction over both."""
    chunk = Span(SCRATCH, rank, switch=1)
    return [
        Move((Span(SCRATCH, 2 + rank),), (Span(INPUT, 0),)),
        Sync(),
        Move((chunk,), (Span(SCRATCH, 2 + rank),)),
        Move((Span(SCRATCH, 4),), (Span(INPUT, 0),)),
        *MEET,
        Move((Span(OUTPUT, 0),), (Span(SCRATCH, 0), Span(SCRATCH, 1)), final=True),
        Move((Span(OUTPUT, 1),), (Span(SCRATCH, 4, switch=1),), final=True),
        *MEET,
    ]


EVEN = {
    "parts": pair("parts", "all_reduce", (2, 2, 4), parted, split=2),
    "whole scratch": pair("whole", "all_reduce", (2, 2, 4), looped(0), split=2),
    "a ring": pair("ring", "all_reduce", (2, 2, 4), looped(40), split=2, scratch_chunk_bytes=8192),
    "packets": pair("packets", "all_reduce", (2, 2, 6), packed, split=2),
    "switch": pair("switch", "custom", (2, 2, 5), stored, split=2),
}


@pytest.fixture(scope="module")
def ranks() -> Any:
    with host_ranks(2, host__scratch_size="32M") as made:
        yield made


@pytest.mark.parametrize("what", EVEN)
def test_the_executors_agree(ranks: Ranks, what: str) -> None:
    plan = EVEN[what]
    for group in ranks.groups:
        group.verify = plan.collective != "custom"
    for dtype in (DType.INT8, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64):
        for op in (ReduceOp.SUM, ReduceOp.AVG):
            for units in (0, 1, 3, 50):
                count = 2 * units * 16 // dtype.itemsize
                inputs = [pool(dtype, rank, True)[:count] for rank in range(2)]
                wanted = hal.reference.run(plan, inputs, op=op).outputs
                assert all(
                    difference(again, once, dtype) is None
                    for seed in range(2)
                    for again, once in zip(
                        hal.reference.run(plan, inputs, op=op, schedule=seed, max_pieces=3).outputs, wanted, strict=True
                    )
                )
                for number, got in enumerate(ranks.run(plan, inputs, op, count=count, launches=2)):
                    assert difference(got, wanted[number % 2], dtype) is None, (dtype, op, units, number)


def test_a_device_without_switches_refuses(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    group = ranks.groups[0]
    monkeypatch.setattr(type(group.device), "capabilities", frozenset())
    with pytest.raises(NotSupported, match=r"has switch channels, and .* neither multicast nor switch_emulation"):
        group.load(EVEN["switch"], 8, DType.INT32)


def test_a_plan_that_reaches_others_needs_one_beside_it(ranks: Ranks) -> None:
    with pytest.raises(PlanError, match="reaches other ranks' inputs or outputs: give it as `mapped`"):
        ranks.groups[0].load(get("all_gather", "direct_mapped").build(2), 8, DType.INT32)


# the configuration


def written(tmp_path: Path, rules: list[dict[str, Any]]) -> Path:
    save(swap(), tmp_path / "swap.json")
    file = tmp_path / "hal.yaml"
    lines = [f"    - {json.dumps(rule)}" for rule in rules]
    file.write_text("\n".join(["algorithms:", "  all_to_all:", *lines]))
    return file


def test_a_plan_lies_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    file = written(tmp_path, [{"plan": "swap.json", "max_bytes": "1K"}, {"algorithm": "staged"}])
    settings = config.load(file, env={}, cwd="/")
    first, second = settings.algorithms.all_to_all or ()
    assert (first.plan, first.algorithm, first.max_bytes) == (str(tmp_path / "swap.json"), None, 1024)
    assert (second.plan, second.algorithm) == (None, "staged")
    assert str(first) == f"{tmp_path}/swap.json up to 1K"
    check_pins(settings)


@pytest.mark.parametrize(
    ("rule", "line", "problem"),
    [
        ({"plan": "none.json"}, 3, r"all_to_all\[0\].plan: there is no file .*none.json"),
        ({"plan": "."}, 3, r"all_to_all\[0\].plan: .* is not a regular file"),
        ({"plan": 3}, 3, r"all_to_all\[0\].plan: 3 is not a plan file: allowed is the path of a plan as JSON"),
        ({"plan": "swap.json", "algorithm": "staged"}, 3, "names both an algorithm and a plan: one is allowed"),
        ({"max_bytes": 1}, 3, "names no algorithm: add `algorithm: NAME`"),
    ],
)
def test_a_rule_that_cannot_be(tmp_path: Path, rule: dict[str, Any], line: int, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"hal.yaml:{line}: algorithms.{problem}|hal.yaml:{line}: .*{problem}"):
        config.load(written(tmp_path, [rule]), env={}, cwd=tmp_path)


def test_a_file_that_holds_no_plan_of_the_collective(tmp_path: Path) -> None:
    file = written(tmp_path, [{"plan": "swap.json"}])
    (tmp_path / "swap.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"hal.yaml:2: algorithms.all_to_all\[0\].plan: .*swap.json: schema"):
        check_pins(config.load(file, env={}, cwd=tmp_path))
    save(gather(), tmp_path / "swap.json")
    with pytest.raises(ConfigError, match="is a plan for all_gather, not for all_to_all"):
        check_pins(config.load(file, env={}, cwd=tmp_path))


def test_a_plan_serves_its_own_number_of_ranks(tmp_path: Path) -> None:
    save(swap(), tmp_path / "swap.json")

    def body(comm: Communicator) -> None:
        with pytest.raises(UsageError, match=r"pinned for all_to_all: 'swap \([0-9a-f]{16}\)' serves 2 ranks, not 3"):
            comm.all_to_all(np.ones(12, np.int32))

    run_local(3, body, timeout=20, algorithms__all_to_all=[{"plan": str(tmp_path / "swap.json")}])


def test_a_file_fits_the_sizes_that_it_is_made_for(tmp_path: Path) -> None:
    raw = json.loads(plan_path("allreduce_packet").read_text())
    (tmp_path / "some.json").write_text(json.dumps({**raw, "min_message_size": 128, "max_message_size": 256}))

    def body(comm: Communicator) -> list[bool]:
        served = []
        for count in (16, 32, 64, 80):
            assert (comm.all_reduce(np.ones(count, np.float32)) == 2).all()
            *_, executable = comm._caller.calls._kept.values()
            served.append(hasattr(executable, "inner"))  # what is made for plans that demand something of buffers
        return served

    pins: dict[str, Any] = {"algorithms__all_reduce": [{"plan": str(tmp_path / "some.json")}]}
    assert run_local(2, body, timeout=20, **pins) == [[False, True, True, False]] * 2


def test_a_plan_that_reduces_by_one_operation_alone(tmp_path: Path) -> None:
    file = tmp_path / "min.json"
    file.write_text(plan_path("reduce_pack").read_text().replace('"reduce_op": "sum"', '"reduce_op": "min"'))

    def body(comm: Communicator) -> None:
        with pytest.raises(UsageError, match=r"reduces by min, whatever a call asks for, and this one asks sum"):
            comm.all_reduce(np.ones(8, np.int32))
        assert (comm.all_reduce(np.full(8, comm.rank + 1, np.int32), op="min") == 1).all()

    run_local(2, body, timeout=20, verify="never", algorithms__all_reduce=[{"plan": str(file)}])


LAUNCH = "import sys; from hal.bootstrap.launcher import run_ranks; sys.exit(run_ranks(sys.argv[2:], int(sys.argv[1])))"
PROGRAM = """
import sys
import numpy as np
import hal_collectives

with hal_collectives.init(config_path=sys.argv[1], timeout=20) as comm:
    for count in (32, 640):
        for make in (np.empty, comm.empty):
            for op, wanted in (("sum", 3), ("max", 2), ("avg", 1.5)):
                x = make(count, np.float64)
                x[:] = comm.rank + 1
                assert (comm.all_reduce(x, op=op) == wanted).all(), (op, x)
print("done")
"""


@pytest.mark.parametrize("name", ["allreduce", "allreduce_packet", "reduce_nvls"])
def test_ranks_that_are_processes(tmp_path: Path, name: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "plan.json").write_bytes(plan_path(name).read_bytes())
    (tmp_path / "hal.yaml").write_text("algorithms: {all_reduce: [{plan: plan.json}]}\n")
    program = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "hal.yaml")]
    command = [sys.executable, "-c", LAUNCH, "2", *program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("done") == 2
