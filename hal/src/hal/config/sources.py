"""The sources of settings: each tells which settings it gives, and notes what it gives that is no setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from hal.config.config import Origin
from hal.config.document import Document, KeyPath, quoted
from hal.config.kinds import shown
from hal.config.locate import PATH_VARIABLE
from hal.config.problems import Problems
from hal.config.schema import Key, Schema, nearest_variable
from hal.interface.errors import unknown_name

_LONGEST_NAME = 60


@attrs.frozen
class Given:
    """A raw value that one source gives for a setting; `document` is the file, where that is the source."""

    key: Key
    raw: Any
    origin: Origin
    document: Document | None = None


def from_file(content: Document, schema: Schema, problems: Problems) -> Iterator[Given]:
    """The settings in the file."""
    for path, first, again in content.duplicates:
        problems.add_in_file(content, again, f"{quoted(path)} is given twice, first in line {first}")
    if content.data is None:
        return
    if not isinstance(content.data, dict):
        what = f"holds {shown(content.data)}: allowed is a mapping of settings"
        problems.add_in_file(content, content.line(()), what)
        return
    for name, value in content.data.items():
        if name and name in schema.groups:
            yield from _groupfrom_file(content, name, value, schema, problems)
        elif name in schema.sections:
            continue  # an installed backend that is broken: nobody can say which keys are right
        else:
            yield from _file_value(content, "", name, value, schema, problems)


def _groupfrom_file(content: Document, group: str, values: Any, schema: Schema, problems: Problems) -> Iterator[Given]:
    if values is None:  # a heading whose settings are all commented out
        return
    if not isinstance(values, dict):
        what = f"{group}: {shown(values)} is not a mapping of settings"
        problems.add_in_file(content, content.line((group,)), what)
        return
    for name, value in values.items():
        yield from _file_value(content, group, name, value, schema, problems)


def _file_value(
    content: Document, group: str, name: str, raw: Any, schema: Schema, problems: Problems
) -> Iterator[Given]:
    known = schema.in_group(group)
    path: KeyPath = (group, name) if group else (name,)
    line = content.line(path)
    if name in known:
        yield Given(known[name], raw, Origin("file", f"{content.label}:{line}"), content)
    elif group:
        problems.add_in_file(content, line, unknown_name(f"key in {group}", name[:_LONGEST_NAME], known))
    elif isinstance(raw, dict):
        installed = ", ".join(schema.sections) or "none"
        groups = [known_group for known_group in schema.groups if known_group]
        what = unknown_name("section", name[:_LONGEST_NAME], groups)
        problems.add_in_file(content, line, f"{what} (installed backends: {installed})")
    else:
        allowed = [*known, *(known_group for known_group in schema.groups if known_group)]
        problems.add_in_file(content, line, unknown_name("key", name[:_LONGEST_NAME], allowed))


def from_environment(env: Mapping[str, str], schema: Schema, problems: Problems, unknown: list[str]) -> Iterator[Given]:
    """The settings in the environment. An empty variable counts as not set, as is the custom.

    Other parts of HAL have variables too, so one that is no setting is not an error, unless its beginning says that it
    means to be one; the rest goes to `unknown`.
    """
    for variable in sorted(env):
        key = schema.by_environment.get(variable)
        group = schema.group_of_variable(variable)
        if key is not None and env[variable]:
            yield Given(key, env[variable], Origin("environment", f"environment {variable}"))
        elif key is None and group is not None:
            siblings = schema.in_group(group).values()
            near = nearest_variable(variable, siblings)
            hint = f"; did you mean {near}?" if near else ""
            allowed = ", ".join(one.environment for one in siblings) or "none"
            problems.add(f"environment {variable}", f"is no setting: allowed in {group} are {allowed}{hint}")
        elif key is None and variable.startswith("HAL_") and variable != PATH_VARIABLE:
            unknown.append(variable)


def from_arguments(overrides: Mapping[str, object], schema: Schema, problems: Problems) -> Iterator[Given]:
    """The settings given as arguments by dotted key; one that is None was not given."""
    for dotted, raw in overrides.items():
        if raw is None:
            continue
        if dotted in schema.keys:
            yield Given(schema.keys[dotted], raw, Origin("argument", "argument"))
        else:
            problems.add("argument", unknown_name("setting", dotted, schema.keys))
