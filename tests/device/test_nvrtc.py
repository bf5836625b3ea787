"""The headers compiled for NVIDIA GPUs by NVRTC, with no GPU: they compile, and the right instructions are there."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from hal.device import kernel_source
from hal.interface.dtypes import DType, ReduceOp

from .nvrtc import Compiled, compile_source, load
from .test_channels import PAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ARCHS = ("sm_80", "sm_90", "sm_100")

CHANNELS = """
#include <hal/device/memory_channel.h>
#include <hal/device/port_channel.h>
#include <hal/device/switch_channel.h>

namespace hal::device {

HAL_KERNEL void memory(u64 at, u64 bytes) {
  const MemoryChannel& channel = *reinterpret_cast<const MemoryChannel*>(at);
  Deadline deadline = Deadline::after(1000000);
  channel.put(0, 0, bytes);
  channel.signal();
  if (!channel.wait(deadline)) return;
  u32 data;
  channel.send(lane(), 1, 2);
  channel.receive(lane(), 1, data, deadline);
}

HAL_KERNEL void port(u64 at, u64 bytes) {
  const PortChannel& channel = *reinterpret_cast<const PortChannel*>(at);
  Deadline deadline = Deadline::after(1000000);
  channel.put(0, 0, bytes, deadline, true);
  channel.flush(deadline);
}

#ifdef HAL_HAS_MULTICAST
HAL_KERNEL void multicast(u64 at, u64 bytes) {
  SwitchChannel channel{reinterpret_cast<u8*>(at)};
  channel.all_reduce<kFloat32, kSum>(0, bytes);
  channel.all_reduce<kBfloat16, kSum>(0, bytes);
  channel.all_reduce<kInt32, kSum>(0, bytes);
  static_assert(!SwitchChannel::reduces<kFloat64, kSum>);
}
#endif

}  // namespace hal::device
"""


@pytest.fixture(scope="module")
def compiled() -> dict[tuple[str, str], Compiled]:
    """The executor kernel, a kernel for each channel and that of the documentation, for every architecture."""
    library = load()
    (example,) = re.findall(r"<!-- kernel -->\n```cpp\n(.*?)```", PAGE.read_text(), re.DOTALL)
    kernels = {"executor": kernel_source(DType.FLOAT16, [ReduceOp.SUM]), "own": CHANNELS, "example": example}
    wanted = {(what, arch): (source, arch) for arch in ARCHS for what, source in kernels.items()}
    switches = kernel_source(DType.FLOAT16, [ReduceOp.SUM, ReduceOp.MAX], multicast=True)
    wanted |= {("switches", arch): (switches, arch) for arch in ARCHS[1:]}
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda given: compile_source(library, *given), wanted.values())
        return dict(zip(wanted, made, strict=True))


def instructions(compiled: Compiled) -> set[str]:
    """The instructions in use, each as it is written up to its operands."""
    return set(re.findall(r"^\s*(?:@!?%p\d+ )?([a-z][\w.:]+)\s", compiled.ptx, re.MULTILINE))


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("what", ["executor", "own", "example"])
def test_it_compiles_to_machine_code_without_a_word(compiled, what, arch):
    found = compiled[what, arch]
    assert found.log == ""
    assert found.cubin[:4] == b"\x7fELF"


@pytest.mark.parametrize("arch", ARCHS)
def test_orders_and_scopes_of_the_executor(compiled, arch):
    found = instructions(compiled["executor", arch])
    assert {
        "ld.acquire.sys.global.u64",  # counters of signals
        "st.release.sys.global.u64",
        "ld.relaxed.sys.global.u64",  # packets of 8 bytes
        "st.relaxed.sys.global.u64",
        "ld.relaxed.sys.global.v2.u64",  # packets of 16
        "st.relaxed.sys.global.v2.u64",
        "atom.acq_rel.gpu.global.add.u32",  # barriers and semaphores between blocks
        "ld.acquire.gpu.global.u32",
        "atom.acq_rel.gpu.global.add.u64",  # the queue's head
        "cvt.rn.f16.f32",
        "cvt.f32.f16",
    } <= found
    assert "globaltimer" in compiled["executor", arch].ptx
    assert {name for name in found if name.startswith(("bar.red.or", "barrier.red.or"))}


@pytest.mark.parametrize("arch", ARCHS)
def test_data_moves_in_vectors(compiled, arch):
    found = instructions(compiled["executor", arch])
    assert {"ld.v4.u32", "ld.global.v4.u32"} & found or any(re.match(r"ld\.(global\.)?v4\.[buf]32", f) for f in found)
    assert any(re.match(r"st\.(global\.)?v4\.[buf]32", f) for f in found)


@pytest.mark.parametrize("arch", ARCHS)
def test_nothing_is_read_past_coherence(compiled, arch):
    """Others write to inputs and scratch while a kernel runs: no load by the read-only path."""
    for what in ("executor", "own", "example"):
        assert not [name for name in instructions(compiled[what, arch]) if ".nc" in name]


@pytest.mark.parametrize("arch", ARCHS)
def test_multicast_where_the_architecture_has_it(compiled, arch):
    found = {name for name in instructions(compiled["own", arch]) if name.startswith("multimem")}
    expected = {
        "multimem.ld_reduce.relaxed.sys.global.add.v4.f32",
        "multimem.ld_reduce.relaxed.sys.global.add.acc::f32.v4.bf16x2",
        "multimem.ld_reduce.relaxed.sys.global.add.u32",
        "multimem.st.relaxed.sys.global.v4.f32",
    }
    assert found == (set() if arch == "sm_80" else expected)
    assert ("fence.proxy.alias;" in compiled["own", arch].ptx) == (arch != "sm_80")


@pytest.mark.parametrize("arch", ARCHS[1:])
def test_the_executor_uses_multicast_where_it_is_made_for_it(compiled, arch):
    found = compiled["switches", arch]
    assert found.log == ""
    assert {name for name in instructions(found) if name.startswith("multimem")} == {
        "multimem.ld_reduce.relaxed.sys.global.add.acc::f32.v4.f16x2",
        "multimem.st.relaxed.sys.global.v4.f32",
    }
    assert "fence.proxy.alias;" in found.ptx
    assert not re.search("multimem|fence.proxy", compiled["executor", arch].ptx)
