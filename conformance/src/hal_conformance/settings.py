"""What a run is told: backend, ranks, profiles, seed. The options of pytest and those of `hal conformance` end here."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import attrs
import pytest

from hal import config
from hal.interface.errors import UsageError, unknown_name
from hal_conformance import SUITE

QUICK_RANKS = (2,)
FULL_RANKS = (1, 2, 3, 4, 8)
MOST_RANKS = 64
DEFAULT_LIMIT = 60.0
"""Seconds that one test may take; the machine may be busy."""
PROFILES = tuple(sorted(path.stem.removeprefix("test_").replace("_", "-") for path in SUITE.glob("test_*.py")))
"""The names of the profiles: those of the suite's modules."""


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

    @property
    def complete(self) -> bool:
        """Whether nothing is left out."""
        return not self.profiles and not self.tests

    def rerun(self, test: str, size: int | None) -> str:
        """The command that runs one test again, with the same seed."""
        words = ["hal", "conformance", "--backend", self.backend, "--seed", str(self.seed)]
        if self.quick:
            words.append("--quick")
        if size is not None:
            words += ["--ranks", str(size)]
        if self.known_failures is not None:
            words += ["--known-failures", str(self.known_failures)]
        if self.limit != DEFAULT_LIMIT:
            words += ["--limit", f"{self.limit:g}"]
        return shlex.join([*words, "--test", test])


OPTIONS = (
    ("--hal-backend", {"metavar": "NAME", "help": "the backend to test; by default that of the configuration"}),
    ("--hal-ranks", {"metavar": "N,...", "help": "sizes of groups"}),
    ("--hal-profile", {"metavar": "PROFILE", "action": "append", "help": f"only this one of {', '.join(PROFILES)}"}),
    ("--hal-test", {"metavar": "ID", "action": "append", "help": "only the test of this id; * stands for anything"}),
    ("--hal-seed", {"metavar": "N", "help": "where chance begins"}),
    ("--hal-quick", {"action": "store_true", "help": "fewer ranks and repetitions"}),
    ("--hal-report", {"metavar": "DIR", "help": "write results.json and junit.xml there"}),
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
