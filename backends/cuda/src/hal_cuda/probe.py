"""What is missing on this machine, and what to do about it."""

from __future__ import annotations

from hal.interface.errors import HalError
from hal.plugins import Probe, Problem
from hal_cuda import binding
from hal_cuda.binding import LEAST_CAPABILITY, Binding, BindingError


def probe() -> Probe:
    """Look for CuPy, a driver that is new enough, the compiler, and a device."""
    try:
        cuda = binding.load()
    except BindingError as error:
        return _unavailable(str(error), binding.INSTALL)
    try:
        return _probe_driver(cuda)
    except (HalError, RuntimeError) as error:  # CuPy's errors are RuntimeErrors
        return _unavailable(f"the driver fails: {error}", "see whether nvidia-smi works, and what dmesg says of it")


def _probe_driver(cuda: Binding) -> Probe:
    runtime = cuda.runtime
    made_for, found = runtime.runtimeGetVersion(), runtime.driverGetVersion()
    if not found:
        return _unavailable(
            "there is no driver: libcuda.so.1 is not found",
            "install NVIDIA's driver; in a container, start it with access to the GPUs (docker run --gpus all)",
        )
    # within a major version a program runs on the driver of any minor one
    if found // 1000 < made_for // 1000:
        other = f", or install CuPy for CUDA {found // 1000} (cupy-cuda{found // 1000}x)" if found >= 12000 else ""
        return _unavailable(
            f"the driver is too old: it is made for CUDA {_text(found)}, this CuPy for {_text(made_for)}",
            f"install a driver for CUDA {made_for // 1000}.0 or newer{other}",
        )
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        status = getattr(error, "status", None)
        if status == binding.INSUFFICIENT_DRIVER:
            return _unavailable(f"the driver is too old for this CuPy: {error}", "install a newer driver")
        if status != binding.NO_DEVICE:
            raise
        count = 0
    if not count:
        return _unavailable(
            "there is no device", "see what nvidia-smi lists, and whether CUDA_VISIBLE_DEVICES hides all devices"
        )
    try:
        cuda.nvrtc.getVersion()
    except Exception as error:  # how a library that is not there shows differs between versions of CuPy
        return _unavailable(
            f"the run-time compiler NVRTC does not load: {error}",
            f"pip install nvidia-cuda-nvrtc{'-cu12' if made_for < 13000 else ''}, or install the CUDA toolkit",
        )
    devices, problems = [], []
    for index in range(count):
        properties = runtime.getDeviceProperties(index)
        name, capability = properties["name"].decode(), (properties["major"], properties["minor"])
        devices.append(f"{name} (compute capability {capability[0]}.{capability[1]})")
        if capability < LEAST_CAPABILITY:
            least = f"{LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]}"
            problems.append(Problem(f"device {index}, {name}, is older than {least}", "hide it: CUDA_VISIBLE_DEVICES"))
    return Probe(len(problems) < count, devices=devices, problems=problems)


def _unavailable(what: str, remedy: str) -> Probe:
    return Probe(False, problems=[Problem(what, remedy)])


def _text(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
