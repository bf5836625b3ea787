import importlib.metadata
import sys
import textwrap

import pytest

PLUGIN = """
import attrs
from hal.config import kinds, setting
from hal.plugins import BackendInfo, Probe, hookimpl

@attrs.frozen
class Settings:
    depth: int = setting(4, kinds.integer(), "Depth.")

@hookimpl
def hal_interface_version():
    return "1.0"

@hookimpl
def hal_describe():
    return BackendInfo(__name__.removeprefix("fake_"), "A fake.", ["device", "transport"])

@hookimpl
def hal_settings():
    return Settings

@hookimpl
def hal_probe():
    return Probe(available=True, devices=["first", "second"])

@hookimpl
def hal_open_device(settings, index):
    return ("device", settings, index)

@hookimpl
def hal_open_transport(settings):
    return ("transport", settings)
"""


class Site:
    """A folder of installed distributions, with the metadata an installer writes."""

    def __init__(self, folder):
        self.folder = folder

    def install(self, name, source="", *, append="", distribution=None, version="1.2.3", value=None):
        """Install backend `name` in the module `fake_NAME`: the plug-in above, or `source`, and what is appended."""
        module = f"fake_{name}"
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source or PLUGIN) + textwrap.dedent(append))
        distribution = distribution or f"hal-{name}"
        metadata = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[hal.backends]\n{name} = {value or module}\n")

    def entry_points(self):
        return [
            one
            for distribution in importlib.metadata.distributions(path=[str(self.folder)])
            for one in distribution.entry_points
        ]


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Site(tmp_path)
    for module in set(sys.modules) - before:
        if module.startswith("fake_"):
            del sys.modules[module]
