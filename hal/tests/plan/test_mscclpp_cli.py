"""`hal plan import`, and commands that take a plan of MSCCL++ as it is."""

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest

from hal.interface.dtypes import ReduceOp
from hal.plan import ImportOptions, import_mscclpp, load, loads

from .mscclpp_documents import document, on, op, own, remote

HAL = str(Path(sysconfig.get_path("scripts")) / "hal")
BLOCK = [
    on("signal", 0),
    on("wait", 0),
    op("nop"),
    op("get", [remote(2, 1)], [own("s", 0)], "memory"),
    op("re", [own("i"), own("i")], [own("o")], reduce_op="max"),
]


def hal(*arguments):
    return subprocess.run([HAL, "plan", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document([BLOCK, [op("nop")] * 65], max_message_size=4096)))
    return path


def test_import_writes_the_plan_and_warns(file, tmp_path):
    done = hal("import", file, "-o", tmp_path / "own.json")
    assert (done.returncode, done.stdout) == (0, "")
    assert "warning: gpus[0].threadblocks[1].ops: the executor of MSCCL++ takes 64 operations a block" in done.stderr
    assert "note: the file is for 0 bytes to 4096 bytes, which HAL's form does not hold" in done.stderr
    assert load(tmp_path / "own.json") == import_mscclpp(file).plan


def test_import_to_stdout_with_options(file):
    done = hal("import", file, "--swap-get-offsets", "--ignore-flush", "--always-sum")
    plan = loads(done.stdout)
    options = ImportOptions(swap_get_offsets=True, ignore_flush=True, always_sum=True)
    assert plan == import_mscclpp(file, options).plan
    assert plan.ranks[0].blocks[0][-1].op is ReduceOp.SUM


def test_import_says_what_is_wrong(tmp_path):
    (tmp_path / "bad.json").write_text('{"gpus": [{"id": 0}]}')
    done = hal("import", tmp_path / "bad.json")
    assert done.returncode != 0
    assert done.stderr.startswith("error: ")
    assert "bad.json: gpus[0]: key 'input_chunks' is missing" in done.stderr


def test_other_commands_take_the_file(file):
    assert "get" not in (shown := hal("show", file, "--rank", "1").stdout)
    assert "move scratch[0] <- scratch[1]@0" in shown


def test_info_shows_what_the_host_does_for_switches():
    facts = json.loads(subprocess.run([HAL, "info", "--json"], capture_output=True, text=True, check=True).stdout)
    host = [backend for backend in facts["backends"] if backend["name"] == "host"]
    assert all("switch_emulation" in backend["capabilities"] for backend in host)
