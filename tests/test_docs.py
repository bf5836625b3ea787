"""The README and the documentation say what is true: their programs run, their commands and links exist.

A program to run is a ```python block after a line `<!-- run: COMMAND FILE.py -->`; a ```text block after
`<!-- prints -->` is what it must print.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = r"```{}\n(.*?)^```$"
PROGRAM = re.compile(
    r"^<!-- run: (.*?) -->\n"
    + BLOCK.format("python")
    + r"(?:(?:(?!^<!-- run:).)*?^<!-- prints -->\n"
    + BLOCK.format("text")
    + ")?",
    re.DOTALL | re.MULTILINE,
)
PROGRAMS = [
    pytest.param(*found.groups(), id=f"{page.name}-{shlex.split(found.group(1))[-1]}")
    for page in PAGES
    for found in PROGRAM.finditer(page.read_text())
]


def test_there_are_programs():
    assert len(PROGRAMS) >= 5


@pytest.mark.parametrize(("command", "program", "expected"), PROGRAMS)
def test_a_program_runs_and_prints_what_is_said(command, program, expected, tmp_path):
    arguments = shlex.split(command)
    (tmp_path / arguments[-1]).write_text(program)
    scripts = sysconfig.get_path("scripts")
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    if expected is not None:
        assert done.stdout == expected


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", _without_code(page.read_text()))
    local = [link for link in links if not link.startswith(("http://", "https://", "mailto:"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


def test_make_help_lists_every_target_it_declares():
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert set(re.findall(r"^  make (\S+)", listed, re.MULTILINE)) == set(declared.group(1).split())
