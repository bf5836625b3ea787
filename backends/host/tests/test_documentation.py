"""docs/configuration.md says of the host backend what its settings class says."""

from pathlib import Path

from hal.config.schema import Schema
from hal_host.settings import HostSettings

DOCUMENT = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()


def test_the_table_of_settings():
    said = [line for line in DOCUMENT.splitlines() if line.startswith("| `host.")]
    assert said == [
        f"| `{key.dotted}` | {key.about.default} | `{key.environment}` | {key.about.kind.allowed} | {key.about.doc} |"
        for key in Schema({"host": HostSettings}).keys.values()
        if key.group == "host"
    ]
