"""The suite against mutants, each in a process of its own with a deadline."""

from __future__ import annotations

import multiprocessing
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from .one import FOUND, ROOT, Run, run

sys.path[:0] = FOUND
from hal_mutant import every  # noqa: E402, F401 -- fills the catalogue
from hal_mutant.catalogue import MUTANTS, Mutant  # noqa: E402

del sys.path[: len(FOUND)]  # for this process the mutants are no backend

__all__ = ["MUTANTS", "PRELOADED", "ROOT", "Mutant", "Verdict", "control", "examine", "suite"]

LIMIT = 20.0
"""Seconds that a test of the suite may take."""
DEADLINE = 400.0
"""Seconds that one run may take."""
PRELOADED = ["pytest", "hal_conformance.cli", "hypothesis.stateful", "tests.mutants.one"]
"""What the process that all others are forked from has imported: no backend."""


@attrs.frozen
class Verdict:
    """How a mutant ended: the test that killed it (none where it lives), and whether that is one of its clause."""

    mutant: Mutant
    test: str
    own: bool
    said: str
    seconds: float


def suite(mutant: str, *options: str, limit: float = LIMIT, deadline: float = DEADLINE) -> Run:
    """Run tests of the suite against a mutant, or against the backend as it is where it has no name."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.NamedTemporaryFile("r", prefix="hal-mutant-") as log:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=run, args=(there, mutant, [*options, f"--hal-limit={limit:g}"], log.name))
        process.start()
        there.close()
        try:
            if here.poll(deadline):
                told: Run = here.recv()
                if told.status in (0, 1):
                    return told
        except EOFError:
            pass
        finally:
            process.terminate()
            process.join(10)
            process.kill()
            process.join(10)
            here.close()
        raise RuntimeError(f"{mutant or 'the control'}: the suite has not run, see\n{Path(log.name).read_text()}")


def examine(mutant: Mutant, *, whole: bool = True) -> Verdict:
    """The verdict on one mutant: first by the tests of its clause, then, if it lives and `whole`, by all others."""
    ranks = f"--hal-ranks={mutant.ranks}"
    seconds = 0.0
    for options in ([f"--hal-clause={mutant.clause}"], [])[: 1 + whole]:
        told = suite(mutant.name, ranks, "--exitfirst", *options)
        seconds += told.seconds
        if told.failures:
            failure = told.failures[0]
            return Verdict(mutant, failure.test, mutant.clause in failure.clauses, failure.said, seconds)
    return Verdict(mutant, "", False, "", seconds)


def control(tests: Sequence[str]) -> Run:
    """The backend as it is, through the same wrapper, under the tests that have killed mutants."""
    sizes = sorted({2, *(int(found[1]) for test in tests if (found := re.search(r"\[(\d+)-", test)))} - {1})
    return suite("", f"--hal-ranks={','.join(map(str, sizes))}", *(f"--hal-test={test}" for test in tests), limit=60.0)
