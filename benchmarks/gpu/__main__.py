"""`make test-gpu` and `make bench-gpu`: run all steps on the GPU that is there, and write what came of it.

Exit status 0: every step passed; 1: one failed; 2: a package is missing; 3: there is no GPU that a backend can use.
Steps that cannot run here are reported as not run, with the reason.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.in_place import ROOT, environment, missing

NOT_RUN = 77
"""The status of a step that cannot run here; it says why."""
_HAL = "from hal.cli import main; main()"


def main() -> int:
    """Run what the command line asks for; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("what", choices=["test", "bench"])
    parser.add_argument("--backend", help="by default the first one for GPUs that has a device")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results", help="the folder for the results")
    parser.add_argument("--quick", action="store_true", help="few types and sizes")
    arguments = parser.parse_args()
    if lacking := missing():
        print(f"this Python ({sys.executable}) lacks {', '.join(lacking)}: install them, nothing was run")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(Path(folder))
        found = _find(variables, arguments.backend)
        if "device" not in found:
            print(f"there is no GPU that a backend can use, nothing was run\n{found['why']}")
            return 3
        print(f"backend {found['backend']}: {found['device']}", flush=True)
        steps = (
            _tests(found["backend"], arguments.quick) if arguments.what == "test" else _measurements(arguments.quick)
        )
        results = [_run(name, command, variables | {"HAL_BACKEND": found["backend"]}) for name, command in steps]
    document = {
        "what": arguments.what,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        **found,
        "steps": results,
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    name = f"gpu-{arguments.what}"
    (arguments.results / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (arguments.results / f"{name}.md").write_text(_page(document))
    print(f"{arguments.results / name}.md")
    return int(any(step["outcome"] == "failed" for step in results))


def _find(variables: dict[str, str], wanted: str | None) -> dict[str, str]:
    command = [sys.executable, "-m", "benchmarks.gpu.find", *([wanted] if wanted else [])]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        return {"why": done.stdout + done.stderr}
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _tests(backend: str, quick: bool) -> list[tuple[str, list[str] | str]]:
    """Names and commands of the steps; a reason in the place of a command where a step cannot run."""
    python, few = sys.executable, ["--quick"] if quick else []
    ranks = [python, "-c", _HAL, "run", "-n", "2", "--no-prefix"]
    matrix = ["-m", "benchmarks.gpu.matrix", *few]
    sanitizer = shutil.which("compute-sanitizer")
    chosen = ["--profile", "memory", "--profile", "enqueue"] if quick else []
    return [
        ("conformance", [python, "-c", _HAL, "conformance", "--backend", backend, "--quick", "--limit", "300",
                         *chosen]),
        ("collectives, ranks as threads on one device", [python, *matrix, "--threads", "2"]),
        ("collectives, ranks as processes on one device", [*ranks, python, *matrix]),
        ("collectives, one rank a device", "a communicator opens the first device of its process: not there yet"),
        ("tensors and streams of another library", [python, "-m", "benchmarks.gpu.interop"]),
        ("memory errors", [sanitizer, "--tool", "memcheck", "--error-exitcode", "9", python, *matrix, "--threads", "2",
                           "--quick"] if sanitizer else "compute-sanitizer is not on the path"),
    ]  # fmt: skip


def _measurements(quick: bool) -> list[tuple[str, list[str] | str]]:
    return [("speed", [sys.executable, "-m", "benchmarks.gpu.measure", *(["--quick"] if quick else [])])]


def _run(name: str, command: list[str] | str, variables: dict[str, str]) -> dict[str, Any]:
    if isinstance(command, str):
        print(f"{name}: not run: {command}", flush=True)
        return {"name": name, "outcome": "not run", "why": command}
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=float(os.environ.get("GPU_STEP_SECONDS", "540")), check=False,
        )  # fmt: skip
        if done.returncode == NOT_RUN:
            print(f"{name}: not run: {done.stdout.strip()}", flush=True)
            return {"name": name, "outcome": "not run", "why": done.stdout.strip()}
        outcome, output = "failed" if done.returncode else "passed", done.stdout
    except subprocess.TimeoutExpired as error:
        outcome, output = "failed", f"{_text(error.stdout)}\nstill running after {error.timeout} s"
    print(f"{name}: {outcome}" + (f"\n{output}" if outcome == "failed" else ""), flush=True)
    return {"name": name, "outcome": outcome, "seconds": round(time.monotonic() - began, 1), "output": output[-6000:]}


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _page(document: dict[str, Any]) -> str:
    lines = [
        f"# GPU {document['what']}",
        "",
        f"{document['date']}, {document['device']}, backend `{document['backend']}` ({document['version']}), Python "
        f"{document['python']}. Made by `python -m benchmarks.gpu {document['what']}`.",
    ]
    for step in document["steps"]:
        lines += ["", f"## {step['name']}: {step['outcome']}", ""]
        lines += [step["why"]] if "why" in step else ["```text", step["output"].strip(), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
