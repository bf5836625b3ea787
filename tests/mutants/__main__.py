"""The suite against its mutants: `python -m tests.mutants [--jobs 2] [--only NAME ...] [--show] [--write]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from . import page
from .runner import MUTANTS, Verdict, control, examine


def main() -> int:
    """Examine mutants and print the verdicts; exit status 1 where one lives, or where the control fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=MUTANTS, help="these mutants (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants side by side (default: %(default)s)")
    parser.add_argument("--show", action="store_true", help="show what the suite says of each")
    parser.add_argument("--write", action="store_true", help=f"write the matrix to {page.PAGE.name}")
    chosen = parser.parse_args()
    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for verdict in pool.map(examine, [MUTANTS[name] for name in chosen.only or MUTANTS]):
            verdicts.append(verdict)
            how = f"{'' if verdict.own else 'not by its clause: '}{verdict.test}" if verdict.test else "LIVES"
            print(f"{verdict.mutant.name:28} {verdict.mutant.clause} {verdict.seconds:5.1f} s  {how}", flush=True)
            if chosen.show:
                print(verdict.said, flush=True)
    if chosen.write:
        page.write(verdicts)
    return _conclude(verdicts)


def _conclude(verdicts: Sequence[Verdict]) -> int:
    killed = [verdict for verdict in verdicts if verdict.test]
    own = [verdict for verdict in killed if verdict.own]
    print(f"{len(verdicts)} mutants, {len(killed)} killed, {len(own)} by a test of their own clause")
    tests = sorted({verdict.test for verdict in killed})
    told = control(tests) if tests else None
    if told is None:
        return 1
    print(f"the backend as it is: of {len(tests)} tests {told.passed} passed, {len(told.failures)} failed")
    for failure in told.failures:
        print(failure.said)
    return 0 if len(killed) == len(verdicts) and not told.failures else 1


if __name__ == "__main__":
    sys.exit(main())
