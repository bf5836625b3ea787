"""The settings of a backend: that they have defaults, say what they are for, and refuse what is not allowed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hal import config
from hal.interface.errors import ConfigError
from hal_conformance import expect
from hal_conformance.rank import Rank

clause = pytest.mark.clause


@contextmanager
def _empty_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _keys(rank: Rank, loaded: config.Config) -> list[str]:
    return [key.dotted for key in loaded.settings() if key.group == rank.backend.name]


@clause("HAL-CFG-001")
def test_every_setting_has_a_default(rank: Rank) -> None:
    rank.backend.settings()
    with _empty_folder() as folder:
        loaded = config.load(env={"HOME": str(folder)}, cwd=folder)
        for key in _keys(rank, loaded):
            expect.equal(loaded.origin(key).kind, "default", f"where {key} comes from when nothing is set")
        expect.true(isinstance(loaded.section(rank.backend.name), rank.backend.settings), "the section is of its class")


@clause("HAL-CFG-002")
def test_every_setting_says_what_it_is_for(rank: Rank) -> None:
    for key in config.load().settings():
        if key.group == rank.backend.name:
            expect.true(key.about is not None, f"{key.dotted} was made with hal.config.setting")
            expect.true(key.about is not None and key.about.doc.strip(), f"{key.dotted} says what it is for")


@clause("HAL-CFG-003")
@pytest.mark.parametrize("source", ["argument", "file", "environment"])
def test_an_unknown_key_is_named(rank: Rank, source: str) -> None:
    name = rank.backend.name
    with _empty_folder() as folder:
        env = {"HOME": str(folder)}
        overrides: dict[str, object] = {}
        match source:
            case "argument":
                overrides[f"{name}.no_such_key"] = 1
            case "file":
                (folder / "hal.yaml").write_text(f"{name}:\n  no_such_key: 1\n", "utf-8")
            case _:
                env[f"HAL_{name.upper()}_NO_SUCH_KEY"] = "1"
        error = expect.raises(ConfigError, lambda: config.load(None, overrides, env, folder), "loading an unknown key")
        expect.true("no_such_key" in str(error).lower(), "the message names the key", str(error))


@clause("HAL-CFG-004")
def test_an_argument_is_the_strongest(rank: Rank) -> None:
    with _empty_folder() as folder:
        plain = config.load(env={"HOME": str(folder)}, cwd=folder)
        for dotted in _keys(rank, plain):
            key = next(one for one in plain.settings() if one.dotted == dotted)
            value = plain.get(dotted)
            env = {"HOME": str(folder), key.environment: "\1 no value of any setting"}
            try:
                loaded = config.load(None, {dotted: value}, env, folder)
            except ConfigError:  # the weaker value is checked too; what is not allowed is an error wherever it stands
                loaded = config.load(None, {dotted: value}, {"HOME": str(folder)}, folder)
            expect.equal(loaded.get(dotted), value, f"{dotted}, given as an argument")
            expect.equal(loaded.origin(dotted).kind, "argument", f"where {dotted} comes from")
            section = loaded.section(rank.backend.name)
            expect.equal(getattr(section, key.field.name), value, f"{dotted} in the section that the backend gets")
