"""Reading topology files: YAML of which every key is checked, or one `ConfigError` that names all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from hal.config.document import Document, KeyPath, quoted, read
from hal.config.kinds import BadValue, shown
from hal.config.problems import Problems
from hal.interface.errors import ConfigError, unknown_name
from hal.plan.simulate.assembly import assemble, faults
from hal.plan.simulate.description import KEY, KINDS, About, Description
from hal.plan.simulate.topology import Topology

_LONGEST_NAME = 60
_MISSING = object()


def load_topology(path: str | os.PathLike[str]) -> Topology:
    """The topology in the YAML file at `path`.

    `ConfigError` where the file cannot be read, and for every unknown, missing or repeated key and every value that is
    not allowed, with file, line, key, what is allowed and the nearest name.
    """
    file = Path(path)
    document = read(file, str(file))
    reader = _Reader(document)
    description = reader.description()
    reader.problems.raise_any()
    if description is None:
        raise ConfigError(f"{document.label}:1: describes no topology")
    for where, what in faults(description):
        reader.refuse(where, what)
    reader.problems.raise_any()
    return assemble(description, document.label)


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems = Problems("the topology file has several problems:")

    def refuse(self, path: KeyPath, what: str) -> None:
        where = f"{quoted(path)}: " if path else ""
        self.problems.add_in_file(self.document, self.document.line(path), f"{where}{what}")

    def description(self) -> Description | None:
        for path, first, again in self.document.duplicates:
            what = f"{quoted(path)} is given twice, first in line {first}"
            self.problems.add_in_file(self.document, again, what)
        data = self.document.data
        if not isinstance(data, dict):
            self.refuse((), f"holds {shown(data)}: allowed is a mapping that describes a topology")
            return None
        kind = data.get("topology")
        if "topology" not in data:
            self.refuse((), f"lacks the key topology: allowed are {', '.join(KINDS)}")
            return None
        if not isinstance(kind, str) or kind not in KINDS:
            named = kind[:_LONGEST_NAME] if isinstance(kind, str) else shown(kind)
            self.refuse(("topology",), unknown_name("topology", named, KINDS))
            return None
        made: Description | None = self.group(
            (), {name: value for name, value in data.items() if name != "topology"}, KINDS[kind]
        )
        return made

    def group(self, path: KeyPath, values: Any, owner: type) -> Any:
        """An object of `owner` from a mapping; None where there is a problem."""
        if not isinstance(values, Mapping):
            self.refuse(path, f"{shown(values)} is not a mapping: allowed are the keys {', '.join(_names(owner))}")
            return None
        fields = {field.name: field for field in attrs.fields(owner)}
        for name in values:
            if name not in fields:
                where = f"key in {quoted(path)}" if path else "key"
                line = self.document.line((*path, name))
                self.problems.add_in_file(self.document, line, unknown_name(where, name[:_LONGEST_NAME], fields))
        found: dict[str, Any] = {}
        complete = True
        for name, field in fields.items():
            if name in values:
                value = self.value((*path, name), values[name], field.metadata[KEY])
                complete &= value is not _MISSING
                found[name] = value
            elif field.default is attrs.NOTHING:
                self.refuse(path, f"lacks the key {name}: {field.metadata[KEY].doc[:1].lower()}{_rest(field)}")
                complete = False
        return owner(**found) if complete else None

    def value(self, path: KeyPath, raw: Any, about: About) -> Any:
        """The value of one key; `_MISSING` where there is a problem."""
        if about.group is not None and about.many:
            if not isinstance(raw, list):
                self.refuse(path, f"{shown(raw)} is not a list: allowed is a list of mappings")
                return _MISSING
            items = [self.group((*path, index), item, about.group) for index, item in enumerate(raw)]
            return _MISSING if None in items else tuple(items)
        if about.group is not None:
            made = self.group(path, raw, about.group)
            return _MISSING if made is None else made
        assert about.kind is not None
        try:
            return about.kind(raw)
        except BadValue as error:
            for within, what in error.problems:
                self.refuse((*path, *within), what)
        except ValueError as error:
            self.refuse(path, str(error))
        return _MISSING


def _names(owner: type) -> list[str]:
    return [field.name for field in attrs.fields(owner)]


def _rest(field: attrs.Attribute[Any]) -> str:
    doc: str = field.metadata[KEY].doc
    return doc[1:].rstrip(".")
