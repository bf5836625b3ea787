"""`python -m benchmarks.ib`: measure the transports beside what they stand on, in one run; write page and JSON."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.host import contenders, environment, machine
from benchmarks.ib.loop import compiled
from benchmarks.ib.network import Network, Unavailable, environments
from benchmarks.ib.page import NOT_RUN, page

ROOT = Path(__file__).parents[2]
MARK = "benchmarks.ib:"
SECONDS = 420
"""Deadline of each part."""
PORTS = 5001, 5002, 5003
"""On a host that is a fresh namespace all are free."""


def main(
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of all contenders; medians are shown.")] = 5,
    output: Annotated[Path, typer.Option(help="The folder for `ib.md` and `ib.json`.")] = Path("docs/results"),
) -> None:
    """Measure and write `ib.md` and `ib.json`. What this machine cannot measure is in them with the reason."""
    began, load = time.monotonic(), [round(os.getloadavg()[0], 1)]
    found: dict[str, Any] = {"machine": machine.describe(), "rounds": rounds}
    typer.echo("TCP between two hosts")
    found["network"] = over_tcp(rounds)
    load.append(round(os.getloadavg()[0], 1))
    typer.echo("RDMA")
    found["rdma"] = over_rdma(rounds)
    load.append(round(os.getloadavg()[0], 1))
    found |= {"load": load, "minutes": round((time.monotonic() - began) / 60, 1)}
    output.mkdir(parents=True, exist_ok=True)
    (output / "ib.json").write_text(json.dumps(found, indent=1) + "\n")
    (output / "ib.md").write_text(page(found))
    typer.echo(f"{output / 'ib.md'}")


def over_rdma(rounds: int) -> dict[str, Any]:
    """What is measured where the RDMA device is."""
    with tempfile.TemporaryDirectory(prefix="hal-bench-") as folder:
        try:
            library = compiled(Path(folder))
        except (OSError, subprocess.CalledProcessError) as error:
            return {NOT_RUN: f"the loop in C does not compile: {error}"}
        command = [sys.executable, "-m", "tests.doubles.rxe", "--processors", "2", "--timeout", str(SECONDS)]
        command += [sys.executable, "-m", "benchmarks.ib.guest", str(library), str(rounds)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 60, check=False)
    return _result(done.stdout, done.stderr, done.returncode)


def over_tcp(rounds: int) -> dict[str, Any]:
    """What is measured between two hosts, which are network namespaces of this machine."""
    missing = environment.prepare(contenders.choose(["gloo"]), typer.echo).get("gloo")
    ports = PORTS[:2] if missing else PORTS
    try:
        network = Network(2)
    except Unavailable as why:
        return {NOT_RUN: f"this machine makes no network of its own: {why}"}
    with network:
        first = network.address(0)
        command = [str(environment.FOLDER / "bin" / "python"), "-m", "benchmarks.ib.rank"]
        command += [str(rounds), first, *map(str, ports)]
        more = {"GLOO_SOCKET_IFNAME": "cable", "HAL_TCP_INTERFACE": "cable", "PYTHONPATH": str(ROOT)}
        ranks = [
            subprocess.Popen(
                [*network.before(host), *command],
                cwd=ROOT,
                env=own | more,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for host, own in enumerate(environments(network, [0, 1], secrets.token_hex(16)))
        ]
        end = time.monotonic() + SECONDS
        try:
            said = [rank.communicate(timeout=max(0.1, end - time.monotonic())) for rank in ranks]
        except subprocess.TimeoutExpired:
            return {NOT_RUN: f"the ranks had not ended within {SECONDS} s"}
        finally:
            for rank in ranks:
                rank.kill()
                rank.communicate()
    found = _result(said[0][0], said[0][1] + said[1][1], max(rank.returncode for rank in ranks))
    return found | ({"no_gloo": missing} if missing else {})


def _result(printed: str, errors: str, status: int) -> dict[str, Any]:
    for line in printed.splitlines():
        if line.startswith(MARK) and status == 0:
            found: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return found
    return {NOT_RUN: f"status {status}: {' '.join((errors.strip() or printed.strip()).splitlines()[-3:])}"}


if __name__ == "__main__":
    typer.run(main)
