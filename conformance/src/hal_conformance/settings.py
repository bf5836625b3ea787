"""What a run is told: backend, ranks, profiles, seed. The options of pytest and those of `hal conformance` end here."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from hal import config
from hal.interface.errors import UsageError, nearest, unknown_name
from hal_conformance import SUITE
from hal_conformance.clauses import clauses

QUICK_RANKS = (2,)
FULL_RANKS = (1, 2, 3, 4, 8)
MOST_RANKS = 64
DEFAULT_LIMIT = 60.0
"""Seconds that one test may take; the machine may be busy."""
_FIRST = (
    "discovery", "config", "memory", "streams", "kernels", "executor", "semaphores", "memory-channel", "packets",
    "port-channel", "switch-channel", "reductions", "plans", "sequences", "collectives", "enqueue", "faults",
    "transport",
)  # fmt: skip
_FOUND = {path.stem.removeprefix("test_").replace("_", "-") for path in SUITE.glob("test_*.py")}
PROFILES = (*(name for name in _FIRST if name in _FOUND), *sorted(_FOUND.difference(_FIRST)))
"""The names of the profiles, which are those of the suite's modules, in the order in which they run: that in which a
backend is written, so that the first failure is the one to see to first."""


@attrs.frozen
class Settings:
    """One run of the suite."""

    backend: str
    ranks: tuple[int, ...]
    """Sizes of the groups that tests of groups run on."""
    profiles: tuple[str, ...]
    """Those to run; empty for all."""
    seed: int
    quick: bool
    report: Path | None
    known_failures: Path | None
    tests: tuple[str, ...]
    """Ids of tests, or patterns of them; empty for all."""
    limit: float
    """Seconds that a test may take, unless it says that it is a longer or shorter one."""
    ranks_given: bool = True
    """Whether the sizes were asked for, so that no others may be used."""
    clauses: tuple[str, ...] = ()
    """Ids of clauses, of which the tests are run; empty for all."""

    @property
    def complete(self) -> bool:
        """Whether nothing is left out."""
        return not self.profiles and not self.tests and not self.clauses

    def rerun(self, test: str, size: int | None) -> str:
        """The command that runs one test again, with the same seed."""
        return self._command("" if size is None else str(size), tests=[test])

    def command(self) -> str:
        """The command that does the whole run again."""
        ranks = ",".join(map(str, self.ranks)) if self.ranks_given else ""
        return self._command(ranks, profiles=self.profiles, tests=self.tests, clauses=self.clauses)

    def _command(
        self, ranks: str, *, profiles: Sequence[str] = (), tests: Sequence[str] = (), clauses: Sequence[str] = ()
    ) -> str:
        words = ["hal", "conformance", "--backend", self.backend, "--seed", str(self.seed)]
        if self.quick:
            words.append("--quick")
        if ranks:
            words += ["--ranks", ranks]
        if self.known_failures is not None:
            words += ["--known-failures", str(self.known_failures)]
        if self.limit != DEFAULT_LIMIT:
            words += ["--limit", f"{self.limit:g}"]
        for option, values in (("--profile", profiles), ("--clause", clauses), ("--test", tests)):
            words += [word for value in values for word in (option, value)]
        return shlex.join(words)


OPTIONS = (
    ("--hal-backend", {"metavar": "NAME", "help": "the backend to test; by default that of the configuration"}),
    ("--hal-ranks", {"metavar": "N,...", "help": "sizes of groups"}),
    ("--hal-profile", {"metavar": "PROFILE", "action": "append", "help": f"only this one of {', '.join(PROFILES)}"}),
    ("--hal-test", {"metavar": "ID", "action": "append", "help": "only the test of this id; * stands for anything"}),
    ("--hal-clause", {"metavar": "ID", "action": "append", "help": "only the tests of this clause"}),
    ("--hal-seed", {"metavar": "N", "help": "where chance begins"}),
    ("--hal-quick", {"action": "store_true", "help": "fewer ranks and repetitions"}),
    ("--hal-report", {"metavar": "DIR", "help": "write results.json, report.html and junit.xml there"}),
    ("--hal-limit", {"metavar": "SECONDS", "help": "how long a test may take"}),
    ("--hal-known-failures", {"metavar": "FILE", "help": "in place of the file that the backend's package ships"}),
)
"""The options of pytest. They have a prefix, since pytest has options of many origins."""


def settings_of(options: pytest.Config) -> Settings:
    """The settings in pytest's options; `UsageError` for values that cannot be used."""
    quick = bool(options.getoption("--hal-quick"))
    report, known = options.getoption("--hal-report"), options.getoption("--hal-known-failures")
    return Settings(
        backend=options.getoption("--hal-backend") or config.load().backend,
        ranks=parse_ranks(options.getoption("--hal-ranks"), QUICK_RANKS if quick else FULL_RANKS),
        profiles=check_profiles(options.getoption("--hal-profile") or []),
        seed=parse_seed(options.getoption("--hal-seed")),
        quick=quick,
        report=None if report is None else Path(os.path.abspath(report)),
        known_failures=None if known is None else Path(os.path.abspath(known)),
        tests=tuple(options.getoption("--hal-test") or ()),
        limit=parse_limit(options.getoption("--hal-limit")),
        ranks_given=options.getoption("--hal-ranks") is not None,
        clauses=check_clause_ids(options.getoption("--hal-clause") or []),
    )


def parse_ranks(text: str | None, default: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of groups: `4` or `1,2,8`."""
    if text is None:
        return default
    words = text.split(",")
    if not all(word.strip().isdigit() and 1 <= int(word) <= MOST_RANKS for word in words):
        raise UsageError(f"ranks are {text!r}: allowed is a number of 1 to {MOST_RANKS}, or several, as in 1,2,4")
    return tuple(dict.fromkeys(int(word) for word in words))


def parse_seed(text: str | None) -> int:
    """A seed; 0 where none is given, so that two runs do the same."""
    if text is None:
        return 0
    if not text.isdigit():
        raise UsageError(f"seed is {text!r}: allowed is a number of 0 or more")
    return int(text)


def parse_limit(text: str | None) -> float:
    """Seconds above 0."""
    try:
        limit = DEFAULT_LIMIT if text is None else float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise UsageError(f"limit is {text!r}: allowed is a number of seconds above 0")
    return limit


def check_profiles(names: list[str]) -> tuple[str, ...]:
    """Profiles that exist."""
    for name in names:
        if name not in PROFILES:
            raise UsageError(unknown_name("profile", name, PROFILES))
    return tuple(names)


def check_clause_ids(ids: Sequence[str]) -> tuple[str, ...]:
    """Clauses that exist."""
    for one in ids:
        if one not in clauses():
            near = nearest(one, [known.lower() for known in clauses()])
            hint = f"; did you mean {near.upper()!r}?" if near else ""
            raise UsageError(f"unknown clause {one!r}: allowed are the ids of the specification{hint}")
    return tuple(ids)
