"""`hal info`: what is installed, what is broken and why, and where each setting came from."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Container
from typing import Annotated, Any

import attrs
import typer

from hal.cli.external import ExternalCommand, external_commands
from hal.cli.output import console, good_or_bad, table
from hal.cli.state import state
from hal.config import Config
from hal.config.schema import nearest_variable
from hal.plugins import INTERFACE_VERSION, discover
from hal.plugins.entry_points import PluginError


def register(app: typer.Typer) -> None:
    """Add `hal info` to `app`."""
    app.command()(info)


def info(
    ctx: typer.Context,
    show_config: Annotated[bool, typer.Option("--config", help="Show every setting and where it came from.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show versions, backends and their state; with --config, every setting and where it came from."""
    if show_config:
        loaded = state(ctx).load()
        _echo_json(_config_facts(loaded)) if as_json else _print_config(loaded)
        return
    own = getattr(ctx.find_root().command, "commands", {})
    facts = _facts(own)
    _echo_json(facts) if as_json else _print_facts(facts)


def _echo_json(facts: dict[str, Any]) -> None:
    typer.echo(json.dumps(facts, indent=2))


def _facts(own_commands: Container[str]) -> dict[str, Any]:
    registry = discover()
    backends = [
        {
            "name": one.name,
            "distribution": one.distribution,
            "version": one.version,
            "facets": list(one.info.facets),
            "capabilities": [capability.value for capability in one.info.capabilities],
            "summary": one.info.summary,
            "state": "ok",
            "reason": None,
        }
        for one in registry.backends
    ] + [
        {**attrs.asdict(one), "facets": [], "capabilities": [], "summary": None, "state": "broken"}
        for one in registry.broken
    ]
    commands = [_command_facts(one) for one in external_commands(own_commands)]
    packages = {"hal-core": importlib.metadata.version("hal-core")}
    packages |= {one["distribution"]: one["version"] for one in [*backends, *commands]}
    return {
        "packages": dict(sorted(packages.items())),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "interface_version": INTERFACE_VERSION,
        "backends": sorted(backends, key=lambda one: str(one["name"])),
        "commands": commands,
    }


def _command_facts(command: ExternalCommand) -> dict[str, Any]:
    reason = None
    try:
        command.load()
    except PluginError as error:
        reason = error.message
    return {
        "name": command.name,
        "distribution": command.installed.distribution,
        "version": command.installed.version,
        "state": "broken" if reason else "ok",
        "reason": reason,
    }


def _print_facts(facts: dict[str, Any]) -> None:
    out = console()
    packages = [*facts["packages"].items(), ("python", facts["python"]), ("interface", facts["interface_version"])]
    out.print(table("Versions", ["package", "version"], packages))
    rows = [
        [
            one["name"],
            ", ".join(one["facets"]),
            ", ".join(one["capabilities"]),
            one["version"],
            _state(one),
            one["reason"] or one["summary"],
        ]
        for one in facts["backends"]
    ]
    if rows:
        out.print(table("Backends", ["name", "facets", "capabilities", "version", "state", ""], rows))
    else:
        out.print("No backend is installed: `pip install hal-host` brings the one for CPUs.")
    if facts["commands"]:
        rows = [
            [one["name"], one["distribution"], one["version"], _state(one), one["reason"] or ""]
            for one in facts["commands"]
        ]
        out.print(table("Commands from other packages", ["name", "package", "version", "state", ""], rows))


def _state(one: dict[str, Any]) -> Any:
    return good_or_bad(one["state"].upper() if one["state"] == "ok" else one["state"], one["state"] == "ok")


def _config_facts(loaded: Config) -> dict[str, Any]:
    return {
        "path": str(loaded.path) if loaded.path else None,
        "settings": {
            key.dotted: {
                "value": _plain(loaded.get(key.dotted)),
                "origin": attrs.asdict(loaded.origin(key.dotted)),
            }
            for key in loaded.settings()
        },
        "unknown_variables": list(loaded.unknown_variables),
    }


def _plain(value: Any) -> Any:
    """A setting's value as JSON has it."""
    if attrs.has(type(value)):
        return attrs.asdict(value)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _print_config(loaded: Config) -> None:
    out = console()
    rows = [[key.dotted, key.show(loaded.get(key.dotted)), loaded.origin(key.dotted).text] for key in loaded.settings()]
    title = f"Settings (file: {loaded.path})" if loaded.path else "Settings (no hal.yaml was found)"
    out.print(table(title, ["key", "value", "where it came from"], rows))
    for variable in loaded.unknown_variables:
        near = nearest_variable(variable, loaded.settings())
        out.print(f"{variable} is set and is no setting" + (f"; did you mean {near}?" if near else ""))
