"""The document as one page for people, which needs nothing beside itself.

Everything on it comes from the document, so it can be made again from `results.json`. Whatever a backend has said is
escaped, and a policy in the page lets the browser run none but the page's own script.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import jinja2
from markupsafe import Markup, escape

from hal_conformance.results import FAILURES

TEMPLATES = Path(__file__).parent / "templates"

STATES = {
    "fail": "does not hold",
    "not run": "not decided",
    "pass": "holds",
    "does not apply": "does not apply",
    "not testable": "not testable",
}
"""The states of clauses, as the page has them, in the order in which it lists clauses of them."""
OUTCOMES = {
    "pass": "passed",
    "fail": "failed",
    "crash": "crashed",
    "timeout": "timed out",
    "xpass": "passed, though known to fail",
    "xfail": "failed, as is known",
    "not_supported": "not supported",
    "resource": "the machine lacks what it needs",
    "quick": "left out in a quick run",
    "not chosen": "left out by the options of the run",
    "not reached": "the run ended before it",
}
_OPEN_FAILURES = 5
"""Failures that are shown at once in full."""


def page(document: Mapping[str, Any]) -> str:
    """The page of a document."""
    style, script = (Markup((TEMPLATES / name).read_text("utf-8")) for name in ("report.css", "report.js"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": _duration, "bytes": _bytes, "kind": _kind, "marked": _marked}
    view = View(document)
    return environment.get_template("report.html").render(
        document=document,
        view=view,
        view_outcome=view.outcome,
        states=STATES,
        outcomes=OUTCOMES,
        open_failures=_OPEN_FAILURES,
        style=style,
        script=script,
        policy={"style": _source(style), "script": _source(script)},
    )


def _source(text: str) -> str:
    """How a policy names an inline text that is allowed."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _visible(value: Any) -> Any:
    """Text without characters that cannot be seen, or that change how others are shown: they become their numbers."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(one if one in "\n\t" or not _is_hidden(one) else f"\\u{ord(one):04x}" for one in value)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs")


def _marked(text: str) -> Markup:
    """A clause's text with what stands in backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(_visible(text)))))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _bytes(number: Any) -> str:
    if not isinstance(number, int):
        return str(number)
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"


def _kind(outcome: str) -> str:
    """The colour of an outcome or a state: good, bad, warn, or none of them."""
    if outcome in FAILURES or outcome in ("failure", "failed"):
        return "bad"
    if outcome in ("pass", "success", "conformant"):
        return "good"
    return "warn" if outcome in ("not run", "not reached", "not chosen", "partial", "xfail") else "none"


@attrs.frozen
class View:
    """What the page shows that the document does not say in so many words."""

    document: Mapping[str, Any]

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The tests that have failed, those of mandatory clauses first."""
        clauses = self.document["clauses"]
        failed = [one for one in self.document["results"] if one["outcome"] in FAILURES]
        return sorted(failed, key=lambda one: all(clauses[name]["level"] != "MUST" for name in one["clauses"]))

    @property
    def outcome(self) -> dict[str, str]:
        """The outcome of each test, or why it has none."""
        found = {one["test"]: one["why"] for one in self.document["not_run"]}
        return found | {one["test"]: one["outcome"] for one in self.document["results"]}

    @property
    def clauses(self) -> list[dict[str, Any]]:
        """All clauses, those that matter most first, each with the profiles and the outcomes of its tests."""
        outcome, order = self.outcome, list(STATES)
        found = []
        for name, clause in self.document["clauses"].items():
            counts = Counter(outcome[test] for test in clause["tests"])
            profiles = dict.fromkeys(test.partition("::")[0] for test in clause["tests"])
            found.append({"id": name, **clause, "counts": counts, "profiles": " ".join(profiles)})
        return sorted(found, key=lambda one: (order.index(one["state"]), one["level"]))

    @property
    def undecided(self) -> list[dict[str, Any]]:
        """The mandatory clauses that apply and were not decided, each with the reasons."""
        listed = [one for one in self.clauses if one["id"] in self.document["undecided"]]
        for one in listed:
            reasons = [f"{OUTCOMES[why]}: {number}" for why, number in one["counts"].items() if why != "pass"]
            one["reasons"] = reasons or ["no test of it was collected"]
        return listed

    @property
    def skipped(self) -> list[tuple[str, str, int]]:
        """Why tests that ran on no rank, or failed as known, have ended as they have, and how many each."""
        kept = ("not_supported", "resource", "xfail")
        reasons = Counter((one["outcome"], one["detail"]) for one in self.document["results"] if one["outcome"] in kept)
        left = Counter((one["why"], "") for one in self.document["not_run"])
        return [(outcome, detail, number) for (outcome, detail), number in (reasons + left).most_common()]

    @property
    def tests(self) -> dict[str, int]:
        """How many tests passed, failed, were skipped, did not run."""
        parts = self.document["statistics"]
        return {key: parts["core"]["tests"][key] + parts["extended"]["tests"][key] for key in parts["core"]["tests"]}

    @property
    def applying(self) -> dict[str, int]:
        """How many clauses of each level apply and can be tested."""
        return {level: one["pass"] + one["fail"] + one["not run"] for level, one in self.document["coverage"].items()}
