"""Plan files that mean harm end in one clear error, soon, and in bounded memory; large ones do not get out of hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hal.cli  # noqa: F401 -- registers the commands

from . import hostile

MEMORY = 1 << 30
"""Bytes of address space."""
SECONDS = 1.0
"""Of processor time, so that a busy machine makes no difference."""
WATCHED = Path(__file__).with_name("watched.py")


def run(command, documents, folder, seconds=SECONDS):
    """What became of each document: the error, "" for none, or what went wrong with the reader."""
    paths = []
    # the first loads what is loaded once
    for number, text in enumerate([json.dumps(hostile.document()), *documents.values()]):
        paths.append(folder / f"{number}.json")
        paths[-1].write_bytes(text.encode("utf-8", "surrogatepass"))
    done = subprocess.run(
        [sys.executable, WATCHED, str(MEMORY), str(seconds), command, *map(str, paths)],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(documents, json.loads(done.stdout)[1:], strict=True))


def check_refused(command, documents, folder):
    found = run(command, documents, folder)
    for name, (kind, message) in found.items():
        if command == "verify" and kind == "verdict":
            continue  # it reports as findings what the others refuse to read
        assert kind == "error", (name, kind, message)
        assert 10 < len(message) < 2000, (name, message)
        assert ".json: " in message, (name, message)


def test_reading_one_ends_in_one_clear_error(tmp_path):
    check_refused("load", hostile.REFUSED, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show", "verify", "simulate", "draw"])
def test_so_does_every_command(command, tmp_path):
    # all read with `load`: the long ones say no more here
    check_refused(command, {name: text for name, text in hostile.REFUSED.items() if len(text) < 100_000}, tmp_path)


@pytest.mark.parametrize("command", ["load", pytest.param("show", marks=pytest.mark.slow)])
def test_what_is_valid_and_large_is_read(command, tmp_path):
    found = run(command, hostile.VALID, tmp_path, seconds=3 * SECONDS)
    assert {kind for kind, _ in found.values()} == {"read"}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["verify", "simulate", "draw"])
def test_what_is_valid_and_large_gets_an_answer(command, tmp_path):
    for name, (kind, message) in run(command, hostile.VALID, tmp_path, seconds=3 * SECONDS).items():
        assert kind in ("read", "verdict", "error"), (name, message)
