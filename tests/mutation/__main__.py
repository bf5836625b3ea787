"""The mutation campaign as a command: `python -m tests.mutation [--most N] [--ranks 2,3] [--list]`."""

from __future__ import annotations

import argparse
import sys

from .campaign import NO_CATEGORY, Results, examine, table
from .originals import RANKS, originals


def main() -> int:
    """Run the campaign and print the table; exit status 1 where the verifier made a mistake."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--most", type=float, help="at most so many mutants of a kind from each plan (default: all)")
    parser.add_argument("--ranks", default=",".join(map(str, RANKS)), help="rank counts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list every mutant that is equivalent, with its reason")
    chosen = parser.parse_args()
    results = Results()
    for original in originals(tuple(int(n) for n in chosen.ranks.split(","))):
        results.add(examine(original, chosen.most, chosen.seed))
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
    for problem in results.wrong:
        print(f"WRONG: {problem}")
    return 1 if results.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
