"""A report read back from its document, which is data from outside: nothing in it is believed before it is checked."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from hal.interface.errors import UsageError
from hal_conformance.clauses import Clause
from hal_conformance.report.document import DERIVED, PRIMARY, SCHEMA
from hal_conformance.results import NotRun, Result, Run, Subject
from hal_conformance.settings import Settings

T = TypeVar("T")


def load(path: Path) -> dict[str, Any]:
    """The document of a file, or of the folder that a report was written to; `UsageError` where it is none."""
    if path.is_dir():
        path = path / "results.json"
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        told = found.get("schema") if isinstance(found, dict) else None
        raise UsageError(f"{path}: no report of this kind: its schema is {told!r}, and {SCHEMA} is known")
    if missing := [key for key in (*PRIMARY, *DERIVED, "digest") if key not in found]:
        raise UsageError(f"{path}: incomplete: it lacks {', '.join(missing)}")
    return found


def run_of(document: Mapping[str, Any]) -> Run:
    """What a document says was found; `UsageError` names the part that is not as it should be."""
    implementation, device = _mapping(document, "implementation"), _mapping(document, "device")
    properties = {name: value for name, value in device.items() if name != "name"}
    subject = {**implementation, "device": device.get("name"), "properties": properties}
    return Run(
        _made("implementation", lambda: Subject(**subject, capabilities=document["capabilities"])),
        _made("settings", lambda: _settings(_mapping(document, "settings"))),
        tuple(_record(f"results[{number}]", Result, one) for number, one in enumerate(_list(document, "results"))),
        tuple(_record(f"not_run[{number}]", NotRun, one) for number, one in enumerate(_list(document, "not_run"))),
        _made("started", lambda: datetime.datetime.fromisoformat(document["started"]).isoformat()),
        _made("seconds", lambda: _of(float, document["seconds"])),
        _texts(document, "environment"),
        _texts(document, "suite"),
    )


def clauses_of(document: Mapping[str, Any]) -> dict[str, Clause]:
    """The clauses as the document has them."""
    return {name: _made_clause(name, one) for name, one in _mapping(document, "clauses").items()}


def _made_clause(name: str, one: Any) -> Clause:
    kept = ("level", "feature", "text", "why_not")
    return _made(f"clauses.{name}", lambda: Clause(name, **{key: one[key] for key in kept if key in one}))


def _settings(values: Mapping[str, Any]) -> Settings:
    names = {field.name for field in attrs.fields(Settings)} - {"report"}
    if values.keys() != names:
        raise TypeError(f"{', '.join(sorted(values.keys() ^ names))} should be there, or should not")
    known = values["known_failures"]
    return Settings(
        backend=_of(str, values["backend"]),
        ranks=tuple(_of(int, one) for one in _of(list, values["ranks"])),
        profiles=_several(values["profiles"]),
        seed=_of(int, values["seed"]),
        quick=_of(bool, values["quick"]),
        report=None,
        known_failures=None if known is None else Path(_of(str, known)),
        tests=_several(values["tests"]),
        limit=_of(float, values["limit"]),
        ranks_given=_of(bool, values["ranks_given"]),
        clauses=_several(values["clauses"]),
    )


def _several(values: Any) -> tuple[str, ...]:
    return tuple(_of(str, one) for one in _of(list, values))


def _of(kind: type[T], value: Any) -> T:
    if type(value) is not kind:  # True is no number here
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _made(where: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        said = str(error.args[0]) if error.args else type(error).__name__  # attrs says more in further arguments
        raise UsageError(f"{where}: {said}") from None


def _record(where: str, kind: Callable[..., T], fields: Any) -> T:
    return _made(where, lambda: kind(**fields))


def _mapping(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(document[name], dict):
        raise UsageError(f"{name}: a mapping is needed")
    found: dict[str, Any] = document[name]
    return found


def _texts(document: Mapping[str, Any], name: str) -> dict[str, str]:
    found = _mapping(document, name)
    if not all(isinstance(value, str) for value in found.values()):
        raise UsageError(f"{name}: texts are needed")
    return found


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    if not isinstance(document[name], list):
        raise UsageError(f"{name}: a list is needed")
    found: list[Any] = document[name]
    return found
