"""What people read: one failure, and the summary of a run."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable

from hal_conformance.answers import Answer, Outcome
from hal_conformance.clauses import Clause, clauses
from hal_conformance.results import Run
from hal_conformance.world import Verdict

_WIDTH = 110
_OUTCOMES: tuple[Outcome, ...] = ("pass", "fail", "crash", "timeout", "xpass", "xfail", "not_supported", "resource")
_FEW = 20


def failure(happened: str, tested: Iterable[Clause], rerun: str) -> str:
    """A failure: the clauses, what has happened, and how to run it again."""
    return "\n".join([*clause_lines(tested), "", happened, "", f"run it again: {rerun}"])


def happened(verdict: Verdict, size: int, *, threads: bool) -> str:
    """What each rank has seen and what was expected."""
    form = "threads" if threads else "processes"
    lines = [f"{verdict.outcome}: {verdict.why} ({size} {form if size > 1 else 'rank'})"]
    for rank, answer in enumerate(verdict.answers):
        lines += _rank_lines(rank, answer)
    if verdict.log:
        lines += ["", *verdict.log.splitlines()]
    return "\n".join(lines)


def clause_lines(tested: Iterable[Clause]) -> list[str]:
    """Clauses with their text."""
    lines = []
    for clause in tested:
        lines += textwrap.wrap(f"{clause.id} ({clause.level}) {clause.text}", _WIDTH, subsequent_indent="  ")
    return lines


def _rank_lines(rank: int, answer: Answer | None) -> list[str]:
    if answer is None:
        return [f"rank {rank}: no answer"]
    if answer.ended == "returned":
        said = "" if answer.value is None else f", it has seen {answer.value!r}"
        return [f"rank {rank}: as it should{said}"]
    if answer.ended == "died":
        return [f"rank {rank}: has died, as the test wants"]
    if answer.ended == "resource":
        return [f"rank {rank}: {answer.what}"]
    if answer.consequence:
        return [f"rank {rank}: ended because another rank had, with {answer.seen}"]
    if not answer.seen and not answer.expected:  # a primitive that is not written yet; that is all there is to say
        return [f"rank {rank}: {answer.what}"]
    lines = [f"rank {rank}: {answer.what}", f"  seen:     {answer.seen}", f"  expected: {answer.expected}"]
    return lines + [f"  at {line}" for line in answer.where.splitlines()]


def summary(run: Run) -> list[str]:
    """The verdict, each profile's outcomes, and the mandatory clauses that failed or were not decided."""
    subject = run.subject
    capabilities = ", ".join(subject.capabilities) or "none"
    lines = [
        f"backend {subject.backend} ({subject.distribution} {subject.version}) on {subject.device}",
        f"capabilities: {capabilities}; seed {run.settings.seed}; ranks {', '.join(map(str, run.settings.ranks))}"
        + ("; quick" if run.settings.quick else ""),
        "",
    ]
    profiles = list(dict.fromkeys(one.profile for one in run.results))
    width = max(map(len, profiles), default=0)
    for profile in profiles:
        counts = run.counts(profile)
        shown = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _OUTCOMES if counts[outcome])
        lines.append(f"{profile:{width}}  {shown}")
    states = {one.id: run.clause_state(one) for one in clauses().values()}
    failed = [name for name, state in states.items() if state == "fail"]
    undecided = run.undecided(clauses().values())
    held = sum(state == "pass" for state in states.values())
    lines += ["", f"clauses: {held} of {len(states)} hold, {len(failed)} do not, {len(undecided)} mandatory undecided"]
    if failed:
        lines.append(f"  do not hold: {_first_few(failed)}")
    if undecided:
        lines.append(f"  undecided: {_first_few(undecided)}")
    left = Counter(one.why for one in run.not_run)
    for why in ("not chosen", "not reached"):
        if left[why]:
            lines.append(f"  {left[why]} tests {why}")
    return [*lines, f"verdict: {run.verdict(clauses())}"]


def _first_few(names: list[str]) -> str:
    more = "" if len(names) <= _FEW else f" and {len(names) - _FEW} more"
    return ", ".join(names[:_FEW]) + more
