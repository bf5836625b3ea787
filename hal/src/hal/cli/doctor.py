"""`hal doctor`: what each backend finds on this machine, and what to do about what is missing."""

from __future__ import annotations

import queue
import threading

import attrs
import typer
from rich.text import Text

from hal.cli.output import console, good_or_bad, table
from hal.cli.state import state
from hal.config import Config, General
from hal.interface.errors import CallerError, ConfigError, HalError
from hal.plugins import Backend, Probe, Problem, Registry, discover


def register(app: typer.Typer) -> None:
    """Add `hal doctor` to `app`."""
    app.command()(doctor)


@attrs.frozen
class _Finding:
    """One row of the report."""

    subject: str
    available: bool
    devices: tuple[str, ...]
    problems: tuple[Problem, ...]


def doctor(ctx: typer.Context) -> None:
    """Check the configuration and every backend on this machine; exit status 0 if the configured backend works."""
    findings: list[_Finding] = []
    config: Config | None = None
    try:
        config = state(ctx).load()
    except ConfigError as error:
        problem = Problem(str(error), "mend it; docs/configuration.md lists every setting")
        findings.append(_Finding("configuration", False, (), (problem,)))
    registry = discover()
    timeout = config.timeout if config is not None else General().timeout
    findings += [_examine(backend, timeout) for backend in registry.backends]
    for one in registry.broken:
        problem = Problem(one.reason, f"reinstall or update {one.distribution}")
        findings.append(_Finding(one.name, False, (), (problem,)))
    works = False
    if config is not None:
        works = any(one.subject == config.backend and one.available for one in findings)
        findings += _missing(config, registry)
    _report(findings, config, works)
    raise typer.Exit(0 if works else 1)


def _examine(backend: Backend, timeout: float) -> _Finding:
    probe = _probe_within(backend, timeout)
    return _Finding(backend.name, probe.available, tuple(probe.devices), tuple(probe.problems))


def _probe_within(backend: Backend, timeout: float) -> Probe:
    """The backend's probe, given up after `timeout` seconds: this command is there to find drivers that hang."""
    result: queue.SimpleQueue[Probe] = queue.SimpleQueue()
    threading.Thread(target=lambda: result.put(backend.probe()), name=f"probe-{backend.name}", daemon=True).start()
    try:
        return result.get(timeout=timeout)
    except queue.Empty:
        what = f"its probe did not answer within {timeout:g} s"
        return Probe(available=False, problems=[Problem(what, "check the driver; raise `timeout` if it is just slow")])


def _missing(config: Config, registry: Registry) -> list[_Finding]:
    """A finding for a configured backend that is not installed."""
    try:
        registry.get(config.backend)
    except CallerError as error:
        origin = config.origin("backend").text
        problem = Problem(str(error), f"install it, or choose another one (this choice: {origin})")
        return [_Finding(config.backend, False, (), (problem,))]
    except HalError:
        pass  # broken ones are in the report already
    return []


def _report(findings: list[_Finding], config: Config | None, works: bool) -> None:
    out = console()
    rows: list[list[str | Text]] = [
        [one.subject, good_or_bad("works" if one.available else "fails", one.available), "\n".join(one.devices)]
        for one in findings
    ]
    out.print(table("Backends on this machine", ["backend", "state", "devices"], rows))
    for one in findings:
        for problem in one.problems:
            out.print(f"{one.subject}: {problem.what}")
            out.print(f"  remedy: {problem.remedy}")
    if config is not None:
        verdict = "works" if works else "does not work"
        out.print(f"The configured backend, {config.backend} ({config.origin('backend').text}), {verdict} here.")
