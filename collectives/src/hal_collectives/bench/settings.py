"""What is to be measured: the options of `hal bench`, checked."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError, unknown_name
from hal.plan.collective import Collective
from hal_collectives.bench.formulas import MEASURED

ALL = "all"
ALL_ROOTS = -1
AVERAGES = ("rank0", "avg", "min", "max")
"""How the times of the ranks become one; nccl-tests' `-a` takes them as the numbers 0 to 3."""
PLOT_FORMATS = (".png", ".svg", ".pdf")

# nccl-tests' names where they are not names of ours already
_NCCL_DTYPES = {"f8e4m3": DType.FLOAT8_E4M3, "f8e5m2": DType.FLOAT8_E5M2}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of a benchmark. Names and sizes are read already; `check` compares them with each other.

    `factor` or `step` leads from a size to the next; `ops` counts for reductions alone; `root` is a rank or -1 for
    each in turn; `iterations` calls are timed together, after `warmup` calls that are not, `rounds` times; `average`
    is one of `AVERAGES`; `mapped` says that buffers are the communicator's registered memory. `timeout` (seconds)
    replaces the configured one; `json` and `plot` are files that rank 0 writes; `config` is the configuration's file.
    """

    collectives: tuple[str, ...]
    min_bytes: int = 8
    max_bytes: int = 128 << 20
    factor: int | None = 2
    step: int | None = None
    iterations: int = 20
    warmup: int = 5
    rounds: int = 3
    dtypes: tuple[str, ...] = ("float32",)
    ops: tuple[str, ...] = ("sum",)
    root: int = 0
    average: str = "max"
    mapped: bool = True
    validate: bool = True
    timeout: float | None = None
    json: str | None = None
    plot: str | None = None
    config: str | None = None

    def check(self, ranks: int) -> None:
        """Raise `UsageError` for the first thing that cannot be, in a job of `ranks` ranks."""
        if ranks < 1:
            raise UsageError(f"--ranks is {ranks}: expected 1 or more")
        if ranks == 1 and self.collectives == (Collective.SEND_RECV.label,):
            raise UsageError("send_recv needs at least 2 ranks: no rank sends to itself")
        if self.min_bytes > self.max_bytes:
            raise UsageError(f"-b is {self.min_bytes} and -e is {self.max_bytes}: the sizes go from -b up to -e")
        if (self.factor is None) == (self.step is None):
            raise UsageError("sizes grow by a factor (-f) or by an increment (-i): give one of them")
        if self.factor is not None and self.factor < 2:
            raise UsageError(f"-f is {self.factor}: expected a factor of at least 2 (or an increment in bytes with -i)")
        for option, number, least in (
            ("-n", self.iterations, 1),
            ("-w", self.warmup, 0),
            ("--rounds", self.rounds, 1),
        ):
            if number < least:
                raise UsageError(f"{option} is {number}: expected {least} or more")
        if not ALL_ROOTS <= self.root < ranks:
            raise UsageError(f"-r is {self.root}: expected a rank, 0 to {ranks - 1}, or -1 for each in turn")
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise UsageError(f"-T is {self.timeout:g}: expected a number of seconds above 0")
        self._check_ops()
        _check_file("--json", self.json)
        _check_file("--plot", self.plot)
        _check_plot(self.plot)

    def _check_ops(self) -> None:
        if not any(Collective.of(one).reduces for one in self.collectives):
            return
        if not any(allowed(dtype, op) for dtype in self.dtypes for op in self.ops):
            ReduceOp.of(self.ops[0]).check(DType.of(self.dtypes[0]))

    def to_json(self) -> str:
        """As one line, for the processes of the ranks and for the results."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings that `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        arguments: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        return cls(**arguments)


def allowed(dtype: str, op: str) -> bool:
    """Whether the operation is defined on the type."""
    return not (ReduceOp.of(op).is_bitwise and DType.of(dtype).is_float)


def read_collectives(names: Iterable[str]) -> tuple[str, ...]:
    """The collectives that the names mean, `all` for every one; `UsageError` for an unknown name."""
    known = [one.label for one in MEASURED]
    chosen: list[str] = []
    for name in names:
        if name != ALL and name not in known:
            raise UsageError(unknown_name("collective", name, [*known, ALL]))
        chosen += known if name == ALL else [name]
    return tuple(dict.fromkeys(chosen))


def read_dtypes(name: str) -> tuple[str, ...]:
    """The element types that a name means: ours, nccl-tests', or `all`."""
    if name == ALL:
        return tuple(one.label for one in DType)
    return ((_NCCL_DTYPES.get(name) or DType.of(name)).label,)


def read_ops(name: str) -> tuple[str, ...]:
    """The reductions that a name means, `all` for every one."""
    return tuple(one.label for one in ReduceOp) if name == ALL else (ReduceOp.of(name).label,)


def read_average(text: str) -> str:
    """How times of ranks become one, by name or by nccl-tests' number."""
    if text in AVERAGES:
        return text
    if text.isascii() and text.isdigit() and int(text) < len(AVERAGES):
        return AVERAGES[int(text)]
    raise UsageError(unknown_name("way to average (-a)", text, AVERAGES))


def _check_file(option: str, name: str | None) -> None:
    if name is None:
        return
    if Path(name).is_dir():
        raise UsageError(f"{option} is {name!r}: expected a file, this is a folder")
    if not Path(name).absolute().parent.is_dir():
        raise UsageError(f"{option} is {name!r}: its folder does not exist")


def _check_plot(name: str | None) -> None:
    if name is None:
        return
    if Path(name).suffix.lower() not in PLOT_FORMATS:
        raise UsageError(f"--plot is {name!r}: expected a name that ends with one of {', '.join(PLOT_FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib, which is not installed: pip install 'hal-collectives[plot]'")
