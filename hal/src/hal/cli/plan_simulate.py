"""`hal plan simulate`: how long a plan takes on a topology, and why."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hal.cli.output import console, table
from hal.cli.plan import plans
from hal.cli.plan_source import HELP, Ranks, Root, print_warnings, read_plan
from hal.config import kinds
from hal.interface.errors import UsageError

if TYPE_CHECKING:
    from hal.plan import Plan
    from hal.plan.simulate import Load, Prediction, Step

_SHOWN_STEPS = 24
_SHOWN_LOADS = 10


def register() -> None:
    """Add the command to `hal plan`."""
    plans.command("simulate")(simulate_plan)


def simulate_plan(
    plan: Annotated[
        str,
        typer.Argument(metavar="FILE", help=HELP),
    ],
    topology: Annotated[Path, typer.Option("--topology", metavar="FILE", help="The topology as YAML.")],
    size: Annotated[str, typer.Option("--size", metavar="SIZE", help="Bytes of the larger buffer, such as 64M.")],
    dtype: Annotated[str, typer.Option("--dtype", metavar="TYPE", help="The element type.")] = "float32",
    ranks: Ranks = None,
    root: Root = None,
    timeline: Annotated[
        Path | None, typer.Option("--timeline", metavar="OUT", help="Write what ran when, as a Chrome trace.")
    ] = None,
    timeline_ranks: Annotated[
        str | None, typer.Option("--timeline-ranks", metavar="R,R", help="The ranks of the trace, such as 0,1,7.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict how long a plan takes on a topology: time, critical path, how busy links are."""
    from hal.interface.dtypes import DType
    from hal.plan.garbage import no_garbage_search
    from hal.plan.simulate import load_topology, simulate
    from hal.plan.timeline import to_chrome_trace

    kind = DType.of(dtype)
    nbytes = _size(size)
    chosen = None if timeline_ranks is None else _rank_numbers(timeline_ranks)
    if chosen is not None and timeline is None:
        raise UsageError("--timeline-ranks says what --timeline writes: give that too")
    links = load_topology(topology)
    with no_garbage_search():
        found = read_plan(plan, ranks, root)
        print_warnings(plan, found.warnings)
        read = found.plan
        # `load` has validated a file, and installed algorithms are valid: for 1,024 ranks that alone takes a minute
        count = _count(read, nbytes, kind.itemsize)
        prediction = simulate(read, links, count, kind, validate=False)
    if timeline is not None:
        trace = to_chrome_trace(prediction.timeline(chosen))
        try:
            timeline.write_text(json.dumps(trace))
        except OSError as error:
            raise UsageError(f"{timeline}: cannot be written: {error.strerror}") from None
    if as_json:
        typer.echo(json.dumps(_facts(prediction), indent=2))
    else:
        _print(prediction)


def _size(text: str) -> int:
    try:
        return kinds.size(0)(text)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None


def _rank_numbers(text: str) -> set[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 10 for word in words):
        raise UsageError(f"--timeline-ranks is {text!r}: allowed are rank numbers with commas between, such as 0,1,7")
    return {int(word) for word in words}


def _count(plan: Plan, nbytes: int, itemsize: int) -> int:
    """The count of the largest call whose larger buffer has at most so many bytes, as `hal bench` counts."""
    chunks = max(max(rank.input_chunks, rank.output_chunks) for rank in plan.ranks)
    return nbytes // itemsize * plan.split // max(chunks, plan.split)


def _facts(prediction: Prediction) -> dict[str, Any]:
    from hal.plan import digest

    return {
        "plan": prediction.plan.name,
        "digest": digest(prediction.plan),
        "collective": prediction.plan.collective,
        "ranks": prediction.plan.size,
        "topology": prediction.topology,
        "bytes": prediction.nbytes,
        "count": prediction.count,
        "dtype": prediction.dtype.label,
        "seconds": prediction.time,
        "algbw": prediction.algbw,
        "busbw": prediction.busbw,
        "critical_path": [{**_fields(step), "seconds": step.seconds} for step in prediction.critical_path],
        "loads": [_fields(load) for load in prediction.loads],
    }


def _fields(record: Step | Load) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__slots__}


def _print(prediction: Prediction) -> None:
    from hal.plan.simulate.quantities import show_seconds

    out = console()
    out.print(
        f"{prediction.plan.name} ({prediction.plan.collective}) on {prediction.plan.size} ranks of "
        f"{prediction.topology}, {prediction.nbytes} bytes of {prediction.dtype.label}:"
    )
    out.print(
        f"{show_seconds(prediction.time)}, algbw {prediction.algbw / 1e9:.4g} GB/s, "
        f"busbw {prediction.busbw / 1e9:.4g} GB/s"
    )
    steps = prediction.critical_path
    shares: defaultdict[str, float] = defaultdict(float)
    for step in steps:
        shares[step.text.partition(" ")[0]] += step.seconds
    parts = [f"{show_seconds(seconds)} {verb}" for verb, seconds in sorted(shares.items(), key=lambda s: -s[1])]
    out.print(f"Of the critical path of {len(steps)} steps: {', '.join(parts)}")
    out.print(_steps_table(steps))
    loads = [
        [load.kind, _some(load.names), f"{load.carried:.6g}", f"{load.utilisation:.1%}"]
        for load in prediction.loads[:_SHOWN_LOADS]
    ]
    if loads:
        out.print(table("Busiest", ["kind", "which", "carried", "utilisation"], loads))


def _steps_table(steps: Sequence[Step]) -> Any:
    from hal.plan.simulate.quantities import show_seconds
    from hal.plan.text import path_text

    half = _SHOWN_STEPS // 2
    shown = steps if len(steps) <= _SHOWN_STEPS else [*steps[:half], None, *steps[-half:]]
    rows = []
    for step in shown:
        if step is None:
            rows.append(["…", "", "", "", f"{len(steps) - 2 * half} more", "--json shows all"])
            continue
        where = "port" if step.port is not None else path_text(step.path)
        rows.append(
            [show_seconds(step.end), show_seconds(step.seconds), f"{step.rank}.{step.block}", where, step.text,
             step.waited_for]
        )  # fmt: skip
    return table("Critical path", ["until", "for", "rank.block", "at", "instruction", "began after"], rows)


def _some(names: Sequence[str]) -> str:
    """The first few names."""
    few = ", ".join(itertools.islice(names, 3))
    return few if len(names) <= 3 else f"{few}, and {len(names) - 3} like these"
