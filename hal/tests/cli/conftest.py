import importlib.metadata
import sys
import types

import attrs
import pytest
from typer.testing import CliRunner

from hal.cli import app
from hal.config import kinds, setting
from hal.plugins import BackendInfo, Probe, hookimpl


@attrs.frozen
class Settings:
    depth: int = setting("4K", kinds.size(), "Depth.")


class Plugins:
    """Stands in for the installed entry points of all groups."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self._entry_points = []
        monkeypatch.setattr(importlib.metadata, "entry_points", self._select)

    def _select(self, *, group):
        return [one for one in self._entry_points if one.group == group]

    def add(self, group, name, value):
        """Install an object, in a module of its own."""
        module = types.ModuleType(f"fake_{group}_{name}".replace(".", "_"))
        module.value = value
        self._monkeypatch.setitem(sys.modules, module.__name__, module)
        self.declare(group, name, f"{module.__name__}:value")

    def declare(self, group, name, value):
        """Install an entry point alone."""
        self._entry_points.append(importlib.metadata.EntryPoint(name, value, group))

    def backend(self, name, probe=lambda: Probe(available=True, devices=["the device"])):
        """Install a backend whose probe is the given function."""
        plugin = types.SimpleNamespace(
            hal_interface_version=hookimpl(lambda: "1.0"),
            hal_describe=hookimpl(lambda: BackendInfo(name, f"The {name} backend.", ["transport"])),
            hal_settings=hookimpl(lambda: Settings),
            hal_probe=hookimpl(lambda: probe()),
            hal_open_transport=hookimpl(lambda settings: None),
        )
        self.add("hal.backends", name, plugin)


@pytest.fixture
def plugins(monkeypatch):
    return Plugins(monkeypatch)


@pytest.fixture
def hal(plugins, tmp_path, monkeypatch):
    """Run `hal` in an empty folder, with no plug-ins but those of the fixture and no settings but those given."""
    monkeypatch.chdir(tmp_path)

    def hal(*args, **env):
        clean = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": None, "HAL_CONFIG": None, "COLUMNS": "200", **env}
        return CliRunner().invoke(app, args, env=clean)

    return hal
