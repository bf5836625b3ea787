"""docs/ib.md says of the settings what their class says."""

from pathlib import Path

from hal.config.schema import Schema
from hal_ib.settings import IbSettings

DOCUMENT = (Path(__file__).parents[3] / "docs" / "ib.md").read_text()


def test_the_table_of_settings():
    said = [line for line in DOCUMENT.splitlines() if line.startswith("| `ib.")]
    assert said == [
        f"| `{key.dotted}` | {key.about.default} | `{key.environment}` | {key.about.kind.allowed} | {key.about.doc} |"
        for key in Schema({"ib": IbSettings}).keys.values()
        if key.group == "ib"
    ]
