"""Known failures: what a backend's makers say beforehand of tests that it does not pass.

    failures:
      - pattern: "streams::test_events_tell_the_time*"
        kind: xfail                    # or: unsupported, which is a NotSupported
        reason: the driver's clock has a resolution of 10 ms
        url: https://tracker.example/42
        version: "<2.1"                # of the distribution that brings the backend; left out: every version

A backend's package ships the file as `hal_known_failures.yaml` beside its plug-in module. An entry whose pattern meets
no test is an error, and a test that passes in spite of an entry fails: so the file stays true.
"""

from __future__ import annotations

import fnmatch
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import attrs
import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from hal.interface.errors import ConfigError, unknown_name

Kind = Literal["unsupported", "xfail"]
FILE = "hal_known_failures.yaml"
_KEYS = ("pattern", "kind", "reason", "url", "version")


@attrs.frozen
class KnownFailure:
    """One entry: the tests whose ids fit `pattern` fail, or refuse, for a reason that is known."""

    pattern: str
    kind: Kind
    reason: str
    url: str
    version: SpecifierSet = attrs.field(factory=SpecifierSet)

    def covers(self, test: str) -> bool:
        """Whether the id of a test is the pattern, or fits it."""
        return matches(self.pattern, test)


def matches(pattern: str, test: str) -> bool:
    """Whether a test's id is `pattern`, or fits it where `*` stands for anything; brackets stand for themselves."""
    return pattern == test or fnmatch.fnmatchcase(test, pattern.replace("[", "[[]"))


def shipped(module: str) -> Path | None:
    """The file that lies beside a plug-in module, without importing the module; None where there is none."""
    parent = module.rpartition(".")[0] or module
    found = importlib.util.find_spec(parent)
    for folder in (found.submodule_search_locations or []) if found is not None else []:
        if (path := Path(folder) / FILE).is_file():
            return path
    return None


def read(path: Path, version: str) -> list[KnownFailure]:
    """The entries that apply to this version of the backend; `ConfigError` names what is wrong with a file."""
    try:
        loaded = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    entries = loaded.get("failures") if isinstance(loaded, dict) and set(loaded) == {"failures"} else None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: a list `failures`, and nothing else, is needed")
    found = [_entry(f"{path}: entry {number}", entry) for number, entry in enumerate(entries, 1)]
    try:
        return [entry for entry in found if entry.version.contains(Version(version), prereleases=True)]
    except InvalidVersion:
        raise ConfigError(
            f"{path}: the backend's version {version!r} is none that entries can be compared with"
        ) from None


def _entry(where: str, entry: Any) -> KnownFailure:
    if not isinstance(entry, dict) or not all(isinstance(value, str) and value for value in entry.values()):
        raise ConfigError(f"{where}: a mapping of texts is needed")
    for key in entry:
        if key not in _KEYS:
            raise ConfigError(f"{where}: {unknown_name('key', key, _KEYS)}")
    missing = [key for key in _KEYS[:4] if key not in entry]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")
    if entry["kind"] not in get_args(Kind):
        raise ConfigError(f"{where}: {unknown_name('kind', entry['kind'], get_args(Kind))}")
    try:
        version = SpecifierSet(entry.get("version", ""))
    except InvalidSpecifier:
        raise ConfigError(f"{where}: version {entry['version']!r} is no condition such as '>=1.2,<2'") from None
    return KnownFailure(entry["pattern"], entry["kind"], entry["reason"], entry["url"], version)


def stale(entries: Iterable[KnownFailure], tests: Iterable[str]) -> list[KnownFailure]:
    """The entries that cover none of all the tests there are."""
    everything = list(tests)
    return [entry for entry in entries if not any(entry.covers(test) for test in everything)]
