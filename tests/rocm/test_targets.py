"""Device code for AMD GPUs, with no GPU: it compiles, and has the waits and cache controls of LLVM's memory model.

Source of the sequences: "User Guide for AMDGPU Backend", sections Memory Model GFX90A, GFX942, GFX10-GFX11, GFX12.
"""

from __future__ import annotations

import fcntl
import functools
import json
import re
from collections.abc import Callable

import pytest

from hal.device import kernel_source
from hal.interface.dtypes import DType, ReduceOp

from ..device.test_nvrtc import CHANNELS
from ..doubles.hip import standin
from .targets import TARGETS, compile_for, instructions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

INTRINSICS = """
#include <hal/device/wait.h>
namespace hal::device {
HAL_KERNEL void acquire(u64 at, u64 out) {
  u64 seen = load_acquire_8(reinterpret_cast<u64*>(at));
  *reinterpret_cast<u64*>(out) = seen + *reinterpret_cast<u64*>(at + 64);
}
HAL_KERNEL void release(u64 at, u64 value) {
  *reinterpret_cast<u64*>(at + 64) = value;
  store_release_8(reinterpret_cast<u64*>(at), value);
}
HAL_KERNEL void relaxed(u64 at, u64 out) {
  store_relaxed_8(reinterpret_cast<u64*>(out), load_relaxed_8(reinterpret_cast<u64*>(at)));
}
HAL_KERNEL void device_add(u64 at, u64 out) {
  *reinterpret_cast<u32*>(out) = atomic_add_4(reinterpret_cast<u32*>(at), 1) + *reinterpret_cast<u32*>(at + 64);
}
HAL_KERNEL void barrier(u64 at, u64 value) {
  reinterpret_cast<u64*>(at)[lane()] = value;
  block_barrier();
  if (lane() == 0) store_release_8(reinterpret_cast<u64*>(at + 8192), value);
}
HAL_KERNEL void release_others(u64 at, u64 value) {
  store_release_8(reinterpret_cast<u64*>(at), value);
}
HAL_KERNEL void clock(u64 at, u64) { *reinterpret_cast<u64*>(at) = clock_ns(); }
}
"""

MI200 = {
    "acquire": ["_load_dwordx2 .* glc", r"s_waitcnt vmcnt\(0\)", "buffer_invl2", "buffer_wbinvl1_vol",
                "_load_dwordx2"],
    "release": ["_store_dwordx2", "buffer_wbl2", r"s_waitcnt vmcnt\(0\)", "_store_dwordx2"],
    "relaxed": [r"_load_dwordx2 .* glc", "_store_dwordx2"],
    "device_add": [r"s_waitcnt vmcnt\(0\)", "_atomic_add", r"s_waitcnt vmcnt\(0\)",
                   "buffer_wbinvl1_vol", "_load_dword "],
    "barrier": ["_store_dwordx2", r"s_waitcnt vmcnt\(0\)", "s_barrier", "buffer_wbl2", r"s_waitcnt vmcnt\(0\)",
                "_store_dwordx2"],
    "clock": ["s_memrealtime"],
}  # fmt: skip
MI300 = {
    "acquire": [r"_load_dwordx2 .* sc0 sc1", r"s_waitcnt vmcnt\(0\)", "buffer_inv sc0 sc1", "_load_dwordx2"],
    "release": ["_store_dwordx2", "buffer_wbl2 sc0 sc1", r"s_waitcnt vmcnt\(0\)", "_store_dwordx2 .* sc0 sc1"],
    "relaxed": [r"_load_dwordx2 .* sc0 sc1", "_store_dwordx2 .* sc0 sc1"],
    "device_add": ["buffer_wbl2 sc1", r"s_waitcnt vmcnt\(0\)", "_atomic_add", r"s_waitcnt vmcnt\(0\)", "buffer_inv sc1",
                   "_load_dword "],
    "barrier": ["_store_dwordx2", r"s_waitcnt vmcnt\(0\)", "s_barrier", "buffer_wbl2 sc0 sc1", r"s_waitcnt vmcnt\(0\)",
                "_store_dwordx2 .* sc0 sc1"],
    "clock": ["s_memrealtime"],
}  # fmt: skip
RDNA3 = {
    "acquire": [r"_load_b64 .* glc", r"s_waitcnt vmcnt\(0\)", "buffer_gl1_inv", "buffer_gl0_inv", "_load_b64"],
    "release": ["_store_b64", "s_waitcnt_vscnt null, 0x0", "_store_b64"],
    "relaxed": [r"_load_b64 .* glc", "_store_b64"],
    "device_add": [
        "s_waitcnt_vscnt null, 0x0",
        "_atomic_add_u32 .* glc",
        r"s_waitcnt vmcnt\(0\)",
        "buffer_gl1_inv",
        "buffer_gl0_inv",
        "_load_b32",
    ],
    "barrier": ["_store_b64", "s_waitcnt_vscnt null, 0x0", "s_barrier", "s_waitcnt_vscnt null, 0x0", "_store_b64"],
    "clock": ["s_sendmsg_rtn_b64"],
}
RDNA4 = {
    "acquire": [r"_load_b64 .* scope:SCOPE_SYS", "s_wait_loadcnt", "global_inv scope:SCOPE_SYS", "_load_b64"],
    "release": ["_store_b64", "global_wb scope:SCOPE_SYS", "s_wait_storecnt", "_store_b64 .* scope:SCOPE_SYS"],
    "relaxed": [r"_load_b64 .* scope:SCOPE_SYS", "_store_b64 .* scope:SCOPE_SYS"],
    "device_add": ["s_wait_storecnt", "_atomic_add_u32 .* th:TH_ATOMIC_RETURN scope:SCOPE_DEV", "s_wait_loadcnt",
                   "global_inv scope:SCOPE_DEV", "_load_b32"],
    "barrier": ["_store_b64", "s_wait_storecnt", "s_barrier_signal", "s_barrier_wait", "s_wait_storecnt",
                "_store_b64 .* scope:SCOPE_SYS"],
    "clock": ["s_sendmsg_rtn_b64"],
}  # fmt: skip
SEQUENCES = {"gfx90a": MI200, "gfx942": MI300, "gfx950": MI300, "gfx1100": RDNA3, "gfx1201": RDNA4}


Compiled = Callable[[str, str], dict[str, list[str]]]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The instructions of the executor kernel, of a kernel for each channel, and of one for each intrinsic.

    Each is compiled once in a run, whichever of its processes asks first.
    """
    try:
        clang = standin.clang()
    except standin.Unavailable as why:
        pytest.skip(str(why))
    sources = {
        "executor": kernel_source(DType.FLOAT16, [ReduceOp.SUM]),
        "channels": CHANNELS,
        "intrinsics": INTRINSICS,
    }

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if own.name.startswith("popen-") else own  # a folder of the run, in which workers have theirs

    @functools.cache
    def make(what: str, target: str) -> dict[str, list[str]]:
        kept = shared / f"{what}-{target}.json"
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever holds it is done when its compiler's time is over
            if not kept.exists():
                image = compile_for(clang, sources[what], target, tmp_path_factory.mktemp(what))
                kept.write_text(json.dumps(instructions(clang, image)))
        found: dict[str, list[str]] = json.loads(kept.read_text())
        return found

    return make


@pytest.mark.parametrize("what", SEQUENCES["gfx90a"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_memory_model_of(compiled, target, what):
    """The instructions are there, each somewhere behind the one before."""
    code = compiled("intrinsics", target)[what]
    at = 0
    for pattern in SEQUENCES[target][what]:
        following = [number for number in range(at, len(code)) if re.search(pattern, code[number])]
        assert following, f"no {pattern!r} from instruction {at} on:\n" + "\n".join(code)
        at = following[0] + 1


@pytest.mark.parametrize("target", TARGETS)
def test_a_release_waits_for_the_write_back_of_what_others_stored(compiled, target):
    """Also in a kernel that has stored nothing itself: there clang 22 alone leaves the wait out."""
    code = compiled("intrinsics", target)["release_others"]
    at = next(number for number, line in enumerate(code) if re.search(SEQUENCES[target]["release"][-1], line))
    before = code[:at]
    for pattern in SEQUENCES[target]["release"][1:-1]:
        following = [number for number, line in enumerate(before) if re.search(pattern, line)]
        assert following, f"no {pattern!r} before the store:\n" + "\n".join(code)
        before = before[following[0] + 1 :]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_flushed_where_no_order_is_asked_for(compiled, target):
    code = compiled("intrinsics", target)["relaxed"]
    assert not [line for line in code if re.match(r"buffer_(inv|wb|gl)|global_(inv|wb)", line)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("what", ["executor", "channels"])
def test_kernels_compile(compiled, what, target):
    """With every order that the contract asks for, and data moved by 16 bytes."""
    code = [line for lines in compiled(what, target).values() for line in lines]
    acquire, release = SEQUENCES[target]["acquire"], SEQUENCES[target]["release"]
    for pattern in (acquire[0], acquire[2], release[1]):
        assert any(re.search(pattern, line) for line in code), pattern
    assert any(re.search(r"_load_(dwordx4|b128)", line) for line in code)
    assert any(re.search(r"_store_(dwordx4|b128)", line) for line in code)


@pytest.mark.parametrize("target", TARGETS)
def test_half_precision_is_the_device_s_own(compiled, target):
    code = [line for lines in compiled("executor", target).values() for line in lines]
    assert any("v_cvt_f32_f16" in line for line in code)
    assert any("v_cvt_f16_f32" in line for line in code)
