"""A run-time compiler in a process of its own: some versions end the process where they do not know the architecture.

That process is a module of the backend as a program, whose main part is `serve`: it reads a request from its input and
writes the image, or what the compiler says, to its output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from hal.gpu.driver import CompileError
from hal.interface.errors import BackendUnavailable

PATIENCE = 600.0
"""Seconds that one compilation may take."""
Compiler = Callable[[str, dict[str, str], list[str]], tuple[bytes, str]]
"""Of source, headers and options: the image, or no bytes and what the compiler says."""
_REFUSED = 3
"""The exit status where the compiler refuses the program."""


def compile_apart(
    program: str, label: str, target: str, source: str, headers: Mapping[str, str], options: Sequence[str]
) -> bytes:
    """The image. `program` is the module to run, `label` what messages call the compiler, `target` what they say it
    was to compile for. `CompileError` holds what the compiler says.
    """
    request = json.dumps({"source": source, "headers": dict(headers), "options": list(options)})
    try:
        done = subprocess.run(
            [sys.executable, "-m", program],
            input=request.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BackendUnavailable(f"{label} has not ended within {PATIENCE:.0f} s") from None
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode == _REFUSED:
        raise CompileError(said)
    if done.returncode or not done.stdout:
        raise BackendUnavailable(
            f"{label} ended with status {done.returncode} ({target}), which this version may not know: {said}"
        )
    return done.stdout


def serve(compiler: Compiler) -> int:
    """What the process does with its one request; its exit status."""
    request = json.load(sys.stdin)
    image, log = compiler(request["source"], request["headers"], request["options"])
    if not image:
        print(log, file=sys.stderr)
        return _REFUSED
    sys.stdout.buffer.write(image)
    return 0
