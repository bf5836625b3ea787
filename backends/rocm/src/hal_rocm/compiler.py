"""hiprtc, in a process of its own: some versions end the process where they do not know the architecture.

The process is this module as a program: it reads a request from its input and writes the image, or what the compiler
says, to its output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hal.gpu.driver import CompileError
from hal.interface.errors import BackendUnavailable

PATIENCE = 600.0
"""Seconds that one compilation may take."""
_REFUSED = 3
"""The exit status where the compiler refuses the program."""


def compile_apart(source: str, headers: Mapping[str, str], options: Sequence[str]) -> bytes:
    """What `hipModuleLoadData` takes. `CompileError` holds what the compiler says."""
    request = json.dumps({"source": source, "headers": dict(headers), "options": list(options)})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hal_rocm.compiler"],
            input=request.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BackendUnavailable(f"hiprtc has not ended within {PATIENCE:.0f} s") from None
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode == _REFUSED:
        raise CompileError(said)
    if done.returncode or not done.stdout:
        target = next((option for option in options if option.startswith("--offload-arch")), "")
        raise BackendUnavailable(
            f"hiprtc ended with status {done.returncode} ({target}); this version may not know the architecture: {said}"
        )
    return done.stdout


def _by_hip_python(hiprtc: Any, source: str, headers: dict[str, str], options: list[str]) -> tuple[bytes, str]:
    def call(name: str, *arguments: Any) -> Any:
        status, *found = getattr(hiprtc, name)(*arguments)
        if status.value:
            raise RuntimeError(f"{status.name} in {name}")
        return found[0] if found else None

    def text(size: int, name: str) -> bytes:
        data = bytearray(size)
        call(name, program, data)
        return bytes(data)

    names, texts = [name.encode() for name in headers], [text.encode() for text in headers.values()]
    program = call("hiprtcCreateProgram", source.encode(), b"kernel.hip", len(names), texts, names)
    status = hiprtc.hiprtcCompileProgram(program, len(options), [option.encode() for option in options])[0]
    if status.value:
        log = text(call("hiprtcGetProgramLogSize", program), "hiprtcGetProgramLog")
        return b"", log.decode(errors="replace").strip("\0\n") or status.name
    return text(call("hiprtcGetCodeSize", program), "hiprtcGetCode"), ""


def _by_pyhip(hiprtc: Any, source: str, headers: dict[str, str], options: list[str]) -> tuple[bytes, str]:
    program = hiprtc.hiprtcCreateProgram(source, "kernel.hip", list(headers), list(headers.values()))
    try:
        hiprtc.hiprtcCompileProgram(program, options)
    except hiprtc.hiprtcError as error:
        return b"", hiprtc.hiprtcGetProgramLog(program).strip("\0\n") or type(error).__name__
    return bytes(hiprtc.hiprtcGetCode(program)), ""


def _main() -> int:
    request = json.load(sys.stdin)
    try:
        from hip import hiprtc
    except ModuleNotFoundError:
        from pyhip import hiprtc

        image, log = _by_pyhip(hiprtc, **request)
    else:
        image, log = _by_hip_python(hiprtc, **request)
    if not image:
        print(log, file=sys.stderr)
        return _REFUSED
    sys.stdout.buffer.write(image)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
