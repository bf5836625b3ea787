"""The mutation campaign as a command: `python -m tests.mutation [--most N] [--ranks 2,3] [--jobs 2] [--list]`.

With `--keep FILE` what is found is written there part by part, and a later run with the same arguments goes on from
there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from .campaign import NO_CATEGORY, Results, examine, table
from .mutators import mutants
from .originals import RANKS, Original, originals

PART = 250
"""Mutants that a process takes at a time, where all are examined."""

Work = tuple[Original, float | None, int, int, int]


def _parts(ranks: tuple[int, ...], most: float | None, seed: int) -> Iterator[Work]:
    for original in originals(ranks):
        parts = 1 if most is not None else 1 + sum(1 for _ in mutants(original.plan)) // PART
        for part in range(parts):
            yield original, most, seed, part, parts


def _name(work: Work) -> str:
    """What a part is called in a file of results."""
    original, most, seed, part, parts = work
    return f"{original.name}, {original.ranks} ranks, most {most}, seed {seed}, part {part} of {parts}"


def _kept(file: Path | None, work: list[Work]) -> tuple[Results, list[Work]]:
    """The results of these parts that a file has, and the parts that it lacks."""
    names = {_name(each) for each in work}
    found: dict[str, Results] = {}
    if file is not None and file.exists():
        for line in file.read_text().splitlines():
            data = json.loads(line)
            if (part := data.pop("part")) in names:
                found[part] = Results.from_json(data)
    results = Results()
    for each in found.values():
        results.add(each)
    return results, [each for each in work if _name(each) not in found]


def main() -> int:
    """Run the campaign and print the table; exit status 1 where the verifier made a mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=float, help="at most so many mutants of a kind from each plan (default: all)")
    parser.add_argument("--ranks", default=",".join(map(str, RANKS)), help="rank counts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list every mutant that is equivalent, with its reason")
    parser.add_argument("--keep", type=Path, help="keep results in this file, and leave out what it has already")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    chosen = parser.parse_args()
    work = list(_parts(tuple(int(n) for n in chosen.ranks.split(",")), chosen.most, chosen.seed))
    results, left = _kept(chosen.keep, work)
    with ProcessPoolExecutor(chosen.jobs, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(examine, *part): part for part in left}
        for done in as_completed(running):
            found = done.result()
            results.add(found)
            if chosen.keep is not None:
                with chosen.keep.open("a") as file:
                    file.write(json.dumps({"part": _name(running[done]), **found.to_json()}) + "\n")
            for problem in found.wrong:  # at once: a campaign may take hours
                print(f"WRONG: {problem}", flush=True)
            print(f"\r{results.mutants.total()} mutants of {results.plans} plans", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(table(results))
    print(
        f"\n{results.plans} plans, {results.runs} random runs of equivalent mutants, "
        f"{results.opinions} refused ones shown to the second opinion."
    )
    for survivor in results.survivors:
        if chosen.list or survivor.why == NO_CATEGORY:
            print(f"- {survivor}: {survivor.why}")
    return 1 if results.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
