"""Packages are fetched once, whole, and without touching the system; what cannot be had says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from . import debian


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """A cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def _tree(*packages: str) -> debian.Tree:
    try:
        return debian.unpacked("test", packages, dependencies=False)
    except debian.Unavailable as why:
        pytest.skip(str(why))


def test_a_package_is_unpacked_once(apart):
    tree = _tree("hostname")
    program = tree.root / "bin" / "hostname"
    assert subprocess.run([program, "--version"], capture_output=True, timeout=30, check=False).returncode == 0
    made = program.stat().st_ino
    assert _tree("hostname").root == tree.root
    assert program.stat().st_ino == made
    assert {p.name for p in debian.cache().iterdir()} == {"apt", "lists.lock", tree.root.name, tree.root.name + ".lock"}


def test_an_unknown_package_leaves_nothing(apart):
    _tree("hostname")
    with pytest.raises(debian.Unavailable, match="hal-no-such-package"):
        debian.unpacked("wrong", ["hal-no-such-package"])
    assert not [p for p in debian.cache().iterdir() if p.name.startswith("wrong") and p.suffix != ".lock"]


def test_no_apt_is_said(apart, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(debian.Unavailable, match=r"clang: Debian packages are needed, and there is no apt-get here"):
        debian.unpacked("clang", ["clang"])


def test_programs_of_a_tree_come_first(tmp_path):
    environment = debian.Tree(tmp_path).environment()
    assert environment["PATH"].startswith(f"{tmp_path}/usr/bin")
    assert environment["LD_LIBRARY_PATH"].startswith(f"{tmp_path}/usr/lib/")
