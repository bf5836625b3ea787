"""The validated configuration: every value, and where each came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs

from hal.config.schema import Key, Schema
from hal.config.settings import Algorithms, Bootstrap, General
from hal.interface.errors import UsageError, unknown_name

S = TypeVar("S")


@attrs.frozen
class Origin:
    """Where a value came from; `text` is for people: `hal.yaml:3`, `environment HAL_TIMEOUT`, `argument`, `default`."""

    kind: Literal["default", "file", "environment", "argument"]
    text: str


@attrs.frozen(kw_only=True, eq=False)
class Config(General):
    """All settings of this process, validated; it does not change.

    Durations are in seconds, sizes in bytes. `path` is the file that was read, None where there was none, and
    `unknown_variables` the `HAL_*` environment variables that are no settings.
    """

    bootstrap: Bootstrap
    algorithms: Algorithms
    path: Path | None
    unknown_variables: tuple[str, ...]
    _schema: Schema = attrs.field(repr=False)
    _sections: Mapping[str, Any]
    _origins: Mapping[str, Origin] = attrs.field(repr=False)

    def section(self, backend: str) -> Any:
        """The settings of an installed backend, an instance of the class it declared.

        `UsageError` for a backend that is not installed or could not be asked for its settings.
        """
        if backend not in self._sections:
            raise UsageError(unknown_name("backend section", backend, self._sections))
        return self._sections[backend]

    def origin(self, key: str) -> Origin:
        """Where the value of the dotted `key` came from; `UsageError` for a key that does not exist."""
        self._known(key)
        return self._origins.get(key, Origin("default", "default"))

    def get(self, key: str) -> Any:
        """The value of the dotted `key` (`bootstrap.timeout`); `UsageError` for a key that does not exist."""
        known = self._known(key)
        owner = {"": self, "bootstrap": self.bootstrap, "algorithms": self.algorithms, **self._sections}[known.group]
        return getattr(owner, known.field.name)

    def settings(self) -> Iterator[Key]:
        """Every setting there is, in the order of the documentation."""
        return iter(self._schema.keys.values())

    def _known(self, key: str) -> Key:
        if key not in self._schema.keys:
            raise UsageError(unknown_name("setting", key, self._schema.keys))
        return self._schema.keys[key]
