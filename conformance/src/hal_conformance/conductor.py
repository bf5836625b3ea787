"""One run of the suite: what is tested, the worlds it is tested in, and what has come of it so far."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

from hal.interface.errors import BackendUnavailable, UsageError
from hal_conformance import known, text
from hal_conformance.answers import Outcome
from hal_conformance.clauses import clauses
from hal_conformance.known import KnownFailure
from hal_conformance.probing import module_of
from hal_conformance.report.environment import environment, suite
from hal_conformance.results import NotRun, Result, Run, Subject
from hal_conformance.settings import Settings
from hal_conformance.world import Verdict, World, Worlds

PROBE_LIMIT = 120.0


class TestFailed(Exception):  # noqa: N818 -- an outcome
    """A test that did not pass on all ranks; the message is for people, `happened` the part of it that is not known
    beforehand.
    """

    __test__ = False

    def __init__(self, outcome: Outcome, message: str, happened: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.happened = happened
        self.refused = refused


class Conductor:
    """One run."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.worlds = Worlds(settings.backend, quick=settings.quick)
        self._results: dict[str, Result] = {}
        self._left_out: dict[str, NotRun] = {}
        self._started = datetime.datetime.now(datetime.UTC)
        self._clock = time.monotonic()
        self.known: list[KnownFailure] = []
        self._subject: Subject | None = None

    @property
    def subject(self) -> Subject:
        """What is tested; asked for when it is first needed. `BackendUnavailable` where it cannot be tested here."""
        if self._subject is None:
            world = self.worlds.get(1, threads=False)
            verdict = world.run("hal_conformance.probing:describe", {}, seed="", limit=PROBE_LIMIT)
            if verdict.outcome != "pass":
                answer = verdict.answers[0]
                why = verdict.why if answer is None else answer.seen
                raise BackendUnavailable(f"backend {self.settings.backend!r} cannot be tested: {why}\n{verdict.log}")
            assert isinstance(verdict.value, Subject)
            self._subject = verdict.value
        return self._subject

    def read_known_failures(self, tests: Sequence[str]) -> None:
        """Read the backend's known failures; `UsageError` where entries cover none of `tests`, which are all."""
        path = self.settings.known_failures or known.shipped(module_of(self.settings.backend))
        if path is None:
            return
        self.known = known.read(path, self.subject.version)
        if left := known.stale(self.known, tests):
            listed = "\n  ".join(entry.pattern for entry in left)
            raise UsageError(f"{path}: known failures of tests that do not exist:\n  {listed}")

    def known_failure(self, test: str) -> KnownFailure | None:
        """The entry for a test, if there is one."""
        return next((entry for entry in self.known if entry.covers(test)), None)

    def expect(self, tests: Iterable[NotRun]) -> None:
        """Know all tests of the suite, each with the reason for which it has no outcome unless it gets one."""
        self._left_out = {one.test: one for one in tests}

    @property
    def began(self) -> bool:
        """Whether there is anything to report."""
        return bool(self._results)

    def add(self, result: Result) -> None:
        """Keep a result. Of several of one test a failure stays."""
        if (before := self._results.get(result.test)) is None or not before.failed:
            self._results[result.test] = result

    def run(self) -> Run:
        """What has come of it."""
        return Run(
            self.subject,
            self.settings,
            tuple(self._results.values()),
            tuple(one for test, one in self._left_out.items() if test not in self._results),
            self._started.isoformat(timespec="seconds"),
            round(time.monotonic() - self._clock, 1),
            environment(),
            suite(),
        )

    def close(self) -> None:
        """End all ranks."""
        self.worlds.close()


class Stage:
    """Where one test runs: the ranks it was given."""

    def __init__(
        self, conductor: Conductor, test: str, ids: Sequence[str], size: int, *, threads: bool, limit: float
    ) -> None:
        self.size = size
        self.threads = threads
        self.test = test
        self.seed = f"{conductor.settings.seed}:{test}"
        self.number = int.from_bytes(hashlib.sha256(self.seed.encode()).digest()[:8], "little")
        """The seed as a number."""
        self.quick = conductor.settings.quick
        self._conductor = conductor
        self._clauses = [clauses()[one] for one in ids]
        self._limit = limit

    def run(self, function: str, **arguments: Any) -> Any:
        """Run `function` (`module:name`) on all ranks, each with its `Rank` and `arguments`; what all returned.

        `TestFailed` with all there is to know where it did not return the same on every rank.
        """
        world: World = self._conductor.worlds.get(self.size, threads=self.threads)
        verdict: Verdict = world.run(function, arguments, seed=self.seed, limit=self._limit)
        if verdict.outcome == "pass":
            return verdict.value
        resource = verdict.outcome == "resource"
        happened = verdict.why if resource else text.happened(verdict, self.size, threads=self.threads)
        message = text.failure(happened, self._clauses, self.rerun)
        raise TestFailed(verdict.outcome, message, happened, refused=verdict.refused)

    @property
    def rerun(self) -> str:
        """The command that runs the test again."""
        return self._conductor.settings.rerun(self.test, self.size if self.size > 1 else None)
