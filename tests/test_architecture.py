"""The shape of the workspace: which package may import which, where vendors may be named, how large files may grow."""

from __future__ import annotations

import ast
import importlib.metadata
import itertools
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 400
# What each kind of package may import of the workspace; a package may always import itself.
ALLOWED = {"hal": set(), "backends": {"hal"}, "collectives": {"hal"}, "conformance": {"hal"}, "examples": {"hal"}}
VENDOR = re.compile(
    r"(?<![a-z0-9])(nvidia|cuda|cupy|nvrtc|nvlink|amd|rocm|hip|hiprtc|xgmi|mellanox|infiniband|gaudi)(?![a-z])",
    re.IGNORECASE,
)
# Names the world has settled on for what is nobody's alone: an array protocol, an architecture.
NOT_VENDORS = re.compile(r"__cuda_array_interface__|AMD64|amd64")
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(work|root|home|Users)/[\w.]+")
REGISTRY = re.compile(r"https?://[^\s/\"'>)]*(pypi|artifactory|nexus|registry|simple)[^\s\"'>)]*", re.IGNORECASE)


def _files() -> list[Path]:
    """All files of the repository, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def _packages() -> dict[str, Path]:
    """Import name to folder, for every folder with a pyproject.toml of its own."""
    return {
        source.name: manifest.parent
        for manifest in [*ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")]
        for source in (manifest.parent / "src").iterdir()
        if source.is_dir()
    }


FILES = _files()
PACKAGES = _packages()


def _where(path: Path, text: str, position: int) -> str:
    return f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, position) + 1}"


def _found(pattern: re.Pattern[str], texts: dict[Path, str]) -> list[str]:
    return [
        f"{_where(path, text, hit.start())}: {hit.group()}"
        for path, text in texts.items()
        for hit in pattern.finditer(text)
    ]


def _without_docstrings(text: str) -> str:
    lines = text.splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1 : node.end_lineno] = ["\n"] * (node.end_lineno - node.lineno + 1)
    return "".join(lines)


def _imports(path: Path) -> dict[str, int]:
    """The top-level modules a Python file imports, wherever in it, with a line of each."""
    imported = {}
    for node in ast.walk(ast.parse(path.read_text(), path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        else:
            continue
        imported.update({name.split(".")[0]: node.lineno for name in names})
    return imported


def test_the_packages_are_found():
    backends = {"hal_host", "hal_cuda", "hal_rocm", "hal_ib", "hal_sysv"}
    assert {"hal", "hal_collectives", "hal_conformance", *backends} <= set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_imports_point_one_way(name):
    folder = PACKAGES[name]
    allowed = {name} | ALLOWED[folder.relative_to(ROOT).parts[0]]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in (folder / "src").rglob("*.py")
        for module, line in _imports(path).items()
        if module in PACKAGES and module not in allowed
    ]
    assert not wrong


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_its_manifest_its_types_and_its_tests(name):
    folder = PACKAGES[name]
    manifest = tomllib.loads((folder / "pyproject.toml").read_text())
    assert manifest["project"]["requires-python"] == ">=3.11"
    assert (folder / "src" / name / "__init__.py").is_file()
    assert (folder / "src" / name / "py.typed").is_file()
    assert list((folder / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_declares_what_it_imports(name):
    folder = PACKAGES[name]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    declared = {_distribution(entry) for entry in [*project["dependencies"], *itertools.chain(*extras)]}
    provided = importlib.metadata.packages_distributions() | {
        module: [tomllib.loads((other / "pyproject.toml").read_text())["project"]["name"]]
        for module, other in PACKAGES.items()
    }
    undeclared = {
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in (folder / "src").rglob("*.py")
        for module, line in _imports(path).items()
        if module != name and module in provided and not declared & set(map(_distribution, provided[module]))
    }
    assert not undeclared


def _distribution(requirement: str) -> str:
    """The name in a requirement, in its normal form."""
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_vendors_are_named_only_by_backends_tests_and_documentation():
    texts = {}
    for path in FILES:
        name = str(path.relative_to(ROOT))
        tools = ("pyproject.toml", "constraints.txt")  # the workspace's own: what tests are made with
        if name.startswith(("backends/", "docs/", "README.md", "mkdocs.yml", *tools)) or "/tests/" in f"/{name}":
            continue
        text = NOT_VENDORS.sub("", path.read_text(errors="replace"))
        # an interface says what it maps to on the hardware there is: documentation, too
        texts[path] = _without_docstrings(text) if name.startswith("hal/src/hal/interface/") else text
    assert not _found(VENDOR, texts)


@pytest.mark.parametrize("text", ["uses CUDA", "rocm_smi", "hip.h", "sm80 on nvidia,", "libamdhip64 by AMD"])
def test_a_vendor_is_recognized(text):
    assert VENDOR.search(text)


@pytest.mark.parametrize("text", ["relationship", "ship", "chip", "barracuda", "whipped"])
def test_an_innocent_word_is_not_a_vendor(text):
    assert not VENDOR.search(text)


def test_files_are_short():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in FILES
        if path.suffix in {".py", ".cpp", ".h"} and (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_no_machine_path_and_no_registry_is_written_down():
    texts = {path: path.read_text(errors="replace") for path in FILES if path != Path(__file__)}
    assert not _found(MACHINE_PATH, texts)
    assert not _found(REGISTRY, texts)


@pytest.mark.parametrize("text", ["cd /" + "work/main", "'/" + "root/.cache'", "/" + "home/someone/hal"])
def test_a_machine_path_is_recognized(text):
    assert MACHINE_PATH.search(text)
