"""hiprtc, as a program for `hal.gpu.apart`, through whichever binding is installed."""

from __future__ import annotations

import sys
from typing import Any

from hal.gpu.apart import serve


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


def compile_here(source: str, headers: dict[str, str], options: list[str]) -> tuple[bytes, str]:
    """The image, or no bytes and what hiprtc says."""
    try:
        from hip import hiprtc
    except ModuleNotFoundError:
        from pyhip import hiprtc

        return _by_pyhip(hiprtc, source, headers, options)
    return _by_hip_python(hiprtc, source, headers, options)


if __name__ == "__main__":
    sys.exit(serve(compile_here))
