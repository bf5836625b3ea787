"""The packages of this repository, usable where they lie: for machines on which nothing can be installed."""

from __future__ import annotations

import importlib.util
import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = {"attrs": "attrs", "ml_dtypes": "ml_dtypes", "numpy": "numpy", "pluggy": "pluggy", "yaml": "pyyaml",
          "rich": "rich", "typer": "typer", "pytest": "pytest"}  # fmt: skip
"""Modules and the distributions that bring them."""


def missing() -> list[str]:
    """The distributions that this Python lacks."""
    return [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]


def environment(folder: Path) -> dict[str, str]:
    """The variables by which Python finds the packages and their entry points, which are written to `folder`."""
    sources = []
    for manifest in sorted([*ROOT.glob("*/pyproject.toml"), *ROOT.glob("backends/*/pyproject.toml")]):
        project = tomllib.loads(manifest.read_text())["project"]
        sources.append(str(manifest.parent / "src"))
        info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(exist_ok=True)
        metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(metadata)
        lines = []
        for group, entries in project.get("entry-points", {}).items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    before = os.environ.get("PYTHONPATH", "")
    path = [*sources, str(folder), str(ROOT), *([before] if before else [])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}
