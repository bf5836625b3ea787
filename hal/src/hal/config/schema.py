"""The keys a configuration can have, derived from the settings classes: core's groups and one for each backend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from hal.config.document import KeyPath
from hal.config.kinds import BadValue
from hal.config.settings import METADATA, About, Algorithms, Bootstrap, General, NoSettings
from hal.interface.errors import UsageError, nearest

CORE_GROUPS: dict[str, type] = {"": General, "bootstrap": Bootstrap, "algorithms": Algorithms}
"""The settings classes of core by the group's name in `hal.yaml`; the empty name is the top level."""

RESERVED_NAMES = frozenset([*CORE_GROUPS, "config", *(field.name for field in attrs.fields(General))])
"""Names that mean something else at the top level of `hal.yaml`, so that no backend can have them."""

_ENVIRONMENT_PREFIX = "HAL_"


@attrs.frozen
class Key:
    """One setting: its group and name, and the attrs field that reads it."""

    group: str
    field: attrs.Attribute[Any]

    @property
    def name(self) -> str:
        """The name within the group."""
        return self.field.alias or self.field.name

    @property
    def path(self) -> KeyPath:
        """The names that lead to it in `hal.yaml`."""
        return (self.group, self.name) if self.group else (self.name,)

    @property
    def dotted(self) -> str:
        """The path as arguments and tables write it: `bootstrap.timeout`."""
        return f"{self.group}.{self.name}" if self.group else self.name

    @property
    def environment(self) -> str:
        """The environment variable that overrides it: `HAL_BOOTSTRAP_TIMEOUT`."""
        return environment_name(self.dotted)

    @property
    def about(self) -> About | None:
        """Its purpose, default and kind; None for a field that was not made with `setting`."""
        about = self.field.metadata.get(METADATA)
        return about if isinstance(about, About) else None

    def show(self, value: Any) -> str:
        """A value of this setting as text for people."""
        if value is None:
            return "none"
        return self.about.kind.show(value) if self.about else str(value)

    def problems(self, owner: type, raw: object) -> list[tuple[KeyPath, str]]:
        """What is wrong with the raw value: the path within it and a sentence for each problem; empty where it is fine.

        `owner` is the settings class. Whatever its converters and validators raise is a problem of the value.
        """
        try:
            owner(**{self.name: raw})
        except BadValue as error:
            return error.problems
        except Exception as error:
            # attrs' own validators put the field and value behind the sentence
            sentence = str(error.args[0]) if error.args else type(error).__name__
            return [((), sentence)]
        return []


class Schema:
    """All keys of one installation.

    `sections` gives for each installed backend its settings class, or None where it could not be asked (the backend is
    broken): such a backend's group is then not checked.
    """

    def __init__(self, sections: Mapping[str, type | None]) -> None:
        for name, settings in sections.items():
            reason = section_fault(name, settings or NoSettings)
            if reason is not None:
                raise UsageError(f"the settings of backend {name!r} cannot be used: {reason}")
        self.sections = dict(sections)
        self.groups = CORE_GROUPS | {name: settings for name, settings in sections.items() if settings is not None}
        self.keys = {key.dotted: key for group, settings in self.groups.items() for key in keys_of(group, settings)}
        self.by_environment = {key.environment: key for key in self.keys.values()}

    def in_group(self, group: str) -> dict[str, Key]:
        """The keys of one group by their names."""
        return {key.name: key for key in self.keys.values() if key.group == group}

    def group_of_variable(self, variable: str) -> str | None:
        """The group that a variable's beginning (`HAL_BOOTSTRAP_`) says it belongs to; None where it says nothing."""
        return next((g for g in self.groups if g and variable.startswith(f"{environment_name(g)}_")), None)


def keys_of(group: str, settings: type) -> Iterator[Key]:
    """The keys that a settings class contributes to `group`."""
    return (Key(group, field) for field in attrs.fields(settings) if field.init)


def section_fault(name: str, settings: object) -> str | None:
    """Why a backend's settings class cannot be a group of `hal.yaml`, or None where it can."""
    if name in RESERVED_NAMES:
        return f"{name!r} is the name of a setting of HAL itself"
    if not isinstance(settings, type) or not attrs.has(settings):
        return f"hal_settings returned {settings!r} in place of an attrs class or None"
    missing = [key.name for key in keys_of(name, settings) if key.field.default is attrs.NOTHING]
    if missing:
        return f"without a default: {', '.join(missing)}; every setting needs one"
    try:
        settings()
    except Exception as error:
        return f"its defaults are refused: {error}"
    return None


def nearest_variable(variable: str, keys: Iterable[Key]) -> str | None:
    """The environment variable of one of `keys` that is most like `variable`; None where none is near."""
    names = {key.environment.lower(): key.environment for key in keys}
    near = nearest(variable, names)
    return names[near] if near else None


def environment_name(dotted: str) -> str:
    """The environment variable for a dotted key."""
    return _ENVIRONMENT_PREFIX + re.sub(r"[.-]", "_", dotted).upper()
