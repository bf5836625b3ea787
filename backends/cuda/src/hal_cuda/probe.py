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
    if (lacking := binding.driver_problem(cuda)) is not None:
        return _unavailable(*lacking)
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
            f"pip install nvidia-cuda-nvrtc{'-cu12' if runtime.runtimeGetVersion() < 13000 else ''}, or install the "
            "CUDA toolkit",
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
