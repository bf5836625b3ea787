"""Loading: file, environment and arguments are checked value by value, and the strongest of each setting wins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from hal.config import document
from hal.config.algorithms import located
from hal.config.config import Config, Origin
from hal.config.document import quoted
from hal.config.locate import label, locate, working_directory
from hal.config.problems import Problems
from hal.config.schema import Schema
from hal.config.sources import Given, from_arguments, from_environment, from_file
from hal.interface.errors import ConfigError


def load(
    path: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, object] | None = None,
    env: Mapping[str, str] = os.environ,
    cwd: str | os.PathLike[str] | None = None,
    *,
    sections: Mapping[str, type | None] | None = None,
) -> Config:
    """The configuration of this process. An argument is stronger than the environment, that than the file.

    The file is `path`, else what `HAL_CONFIG` names, else the first `hal.yaml` in `cwd` (the working directory by
    default) and above it, else the user's own. `overrides` are arguments by dotted key (`{"bootstrap.timeout": 5}`);
    one that is None was not given. `sections` are the settings classes of the installed backends by name; by default
    they are asked for them, which imports their plug-in modules but no driver.

    `ConfigError` names every problem there is with its file and line, variable or argument: unreadable or malformed
    files, unknown or repeated keys, values that are not allowed, also where a stronger source overrides them.
    """
    if sections is None:
        from hal.plugins import discover  # plug-ins declare settings, so hal.plugins imports this package

        sections = discover().sections()
    schema = Schema(sections)
    problems = Problems()
    here = Path(cwd).absolute() if cwd is not None else working_directory()
    found = locate(path, env, here)
    given: list[Given] = []
    if found is not None:
        content = document.read(found, label(found, here))
        given += from_file(content, schema, problems)
    unknown: list[str] = []
    given += from_environment(env, schema, problems, unknown)
    given += from_arguments(overrides or {}, schema, problems)
    if found is not None:
        given = [_located(one, found.parent) for one in given]
    for one in given:
        _check(one, schema, problems)
    problems.raise_any()
    return _build(schema, given, found, unknown)


def _located(given: Given, folder: Path) -> Given:
    """A setting of the file, in which paths are relative to its folder."""
    if given.document is None:
        return given
    if given.key.dotted == "selection_table" and isinstance(given.raw, str) and given.raw.strip():
        return attrs.evolve(given, raw=str(folder / given.raw))
    if given.key.group != "algorithms":
        return given
    return attrs.evolve(given, raw=located(given.raw, folder))


def _check(given: Given, schema: Schema, problems: Problems) -> None:
    for subpath, what in given.key.problems(schema.groups[given.key.group], given.raw):
        path = (*given.key.path, *subpath)
        sentence = f"{quoted(path)}: {what}"
        if given.document is not None:
            problems.add_in_file(given.document, given.document.line(path), sentence)
        else:
            problems.add(given.origin.text, sentence)


def _build(schema: Schema, given: list[Given], found: Path | None, unknown: list[str]) -> Config:
    raw: dict[str, dict[str, Any]] = {group: {} for group in schema.groups}
    origins: dict[str, Origin] = {}
    for one in given:  # weakest source first, so the strongest stays
        raw[one.key.group][one.key.name] = one.raw
        origins[one.key.dotted] = one.origin
    built: dict[str, Any] = {}
    for group, settings in schema.groups.items():
        if not group:
            continue
        try:
            built[group] = settings(**raw[group])
        except Exception as error:  # each value is fine alone: the class rules out the combination
            raise ConfigError(f"{group}: these settings do not go together: {error}") from None
    return Config(
        **raw[""],
        bootstrap=built["bootstrap"],
        algorithms=built["algorithms"],
        path=found,
        unknown_variables=tuple(unknown),
        schema=schema,
        sections={name: built[name] for name in schema.sections if name in built},
        origins=origins,
    )
