"""AMD's own runtime and hiprtc (Debian's build of 5.2), on a machine without a device."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hal.device import kernel_source, sources
from hal.interface.dtypes import DType, ReduceOp
from hal_rocm.driver import RocmDriver

from ..doubles.hip import standin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PROBE = "from hal_rocm.probe import probe; p = probe(); print(p.available, *(q.what for q in p.problems))"
COMPILE = """
import json, sys
from hal_rocm.driver import RocmDriver
from hal_rocm import binding
given = json.load(sys.stdin)
sys.stdout.buffer.write(RocmDriver(binding.needed()).compile(given["target"], given["source"], given["headers"], ()))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """That of a process which finds pyhip, and AMD's libraries."""
    try:
        tree, pyhip = standin.real_runtime(), standin.binding("pyhip")
    except standin.Unavailable as why:
        pytest.skip(str(why))
    folder = tmp_path_factory.mktemp("rocm")
    library = tree.root / "usr/lib/x86_64-linux-gnu/libamdhip64.so.5"
    if not library.exists():
        pytest.skip("Debian has AMD's runtime for x86-64 alone")
    (folder / "libamdhip64.so").symlink_to(library)
    found = tree.environment()
    return found | {"LD_LIBRARY_PATH": f"{folder}:{found['LD_LIBRARY_PATH']}", "PYTHONPATH": str(pyhip)}


def answer(environment: dict[str, str], program: str, given: str = "") -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-c", program]
    return subprocess.run(words, env=environment, input=given.encode(), capture_output=True, timeout=250, check=False)


def test_it_says_that_there_is_no_device(environment):
    said = answer(environment, PROBE).stdout.decode()
    assert said.startswith("False there is no device")


def request(target: str) -> str:
    headers = sources() | {"intrinsics.h": RocmDriver.intrinsics.read_text()}
    return json.dumps({"target": target, "source": kernel_source(DType.INT32, [ReduceOp.SUM]), "headers": headers})


def test_its_compiler_compiles_the_executor(environment):
    done = answer(environment, COMPILE, request("gfx90a:sramecc+:xnack-@25000"))
    assert b"gfx90a" in done.stdout, done.stderr.decode()


def test_an_architecture_it_does_not_know_ends_in_an_error(environment):
    """This version of the compiler ends its process."""
    done = answer(environment, COMPILE, request("gfx1201"))
    assert done.returncode == 1
    assert b"BackendUnavailable: hiprtc ended with status" in done.stderr
    assert b"gfx1201" in done.stderr
