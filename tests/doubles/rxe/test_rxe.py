"""The ib backend on a real RDMA device in software; and a machine's failure is told from a command's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .. import debian
from . import initrd, machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(620)]
TESTS = Path(__file__).with_name("tests.sh")
CHOSEN = "do_the_same or door or doctor or rdma"


def run(*command: str, timeout: float) -> machine.Done:
    try:
        return machine.run(command, timeout=timeout)
    except debian.Unavailable as why:
        pytest.skip(f"no virtual machine: {why}")


def test_the_backend_on_an_rdma_device(capfd):
    """Beside the clauses: the native door, and what both ways of posting share. `make test-rxe` runs all."""
    done = run("/bin/bash", str(TESTS), "-k", CHOSEN, timeout=500)
    print(f"booted in {done.boot:.1f} s, {done.wall:.1f} s in all")
    assert done.status == 0, capfd.readouterr().out


def test_a_command_that_takes_too_long_is_the_machines_failure():
    with pytest.raises(machine.MachineFailure, match="had not ended within 1 s"):
        run(sys.executable, "-c", "pass", timeout=1)


def test_an_archive_holds_its_files(tmp_path):
    (tmp_path / "init").write_text("the script")
    data = initrd.archive(tmp_path / "init", tmp_path / "init", {"first": b"1", "second": b"22"})
    assert len(data) % 4 == 0
    assert data.count(b"070701") == len(initrd.FOLDERS) + 7
    assert b"first\nsecond" in data
    assert data.index(b"modules/first.ko") < data.index(b"modules/second.ko") < data.index(b"TRAILER!!!")
