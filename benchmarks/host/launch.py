"""Starting the ranks of a library with its own launcher, giving them orders, and ending them without a trace."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import psutil

from benchmarks.host import environment as peers
from benchmarks.host.conductor import ContenderError
from benchmarks.host.contenders import Library
from benchmarks.host.control import BINDING_VARIABLE, SOCKET_VARIABLE, Channel, Listener, Message

ROOT = Path(__file__).parents[2]
_START_TIMEOUT = 120.0
_END_TIMEOUT = 10.0
_LEFT_TO_THE_RANKS = 5.0
"""Seconds after which a rank that is stuck is ended by the kernel, beyond those the conductor waits for it."""


class Team:
    """The running ranks of one library. `pids` are those of its ranks."""

    def __init__(self, library: Library, ranks: int, environment: Path) -> None:
        """Start them; returns when every rank has joined. `environment` is the peers' (see environment.py)."""
        self.library = library
        self.version = ""
        self.failure: str | None = None
        self._channels: list[Channel] = []
        self.pids: list[int] = []
        self._folder = tempfile.TemporaryDirectory(prefix="hal-bench-")
        self._log = Path(self._folder.name, "log")
        self._launchers: list[subprocess.Popen[bytes]] = []
        try:
            listener = Listener(str(Path(self._folder.name, "socket")))
            try:
                self._start(ranks, environment, listener.path)
                self._greet(ranks, listener)
            finally:
                listener.close()
        except BaseException:
            self._kill()
            raise

    def ask(self, order: Message, timeout: float) -> list[Message]:
        """Give an order to all ranks; their replies by rank. `ContenderError` ends the team: it is killed at once."""
        if self.failure is not None:
            raise ContenderError(self.failure)
        try:
            for channel in self._channels:
                channel.send({**order, "deadline": timeout + _LEFT_TO_THE_RANKS})
            deadline = time.monotonic() + timeout
            replies = [channel.receive(max(0.0, deadline - time.monotonic())) for channel in self._channels]
        except TimeoutError:
            self._fail(f"no answer to {order['do']!r} within {timeout:g} s")
        except OSError as error:
            self._fail(f"a rank is gone: {error}")
        gone = [rank for rank, reply in enumerate(replies) if reply is None]
        if gone:
            self._fail(f"rank {gone[0]} ended: {self._last_words()}")
        return [reply for reply in replies if reply is not None]

    def cpu_seconds(self) -> float:
        """Processor time that its ranks have used so far."""
        total = 0.0
        for pid in self.pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system
        return total

    def close(self) -> None:
        """End all ranks, in order where they can, else by force."""
        for channel in self._channels:
            with contextlib.suppress(OSError):
                channel.send({"do": "quit"})
        deadline = time.monotonic() + (_END_TIMEOUT if self._channels else 0)
        for launcher in self._launchers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                launcher.wait(max(0.0, deadline - time.monotonic()))
        self._kill()

    def _start(self, ranks: int, environment: Path, socket_path: str) -> None:
        python = str(environment / "bin" / "python")
        program = [python, "-m", "benchmarks.host.rank", self.library.adapter]
        variables = {
            **os.environ,
            **self.library.environment,
            SOCKET_VARIABLE: socket_path,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        if self.library.is_bound:
            variables[BINDING_VARIABLE] = "1"
        if self.library.adapter == "hal":
            launcher = [python, "-c", "from hal.cli import main; main()", "run", "-n", str(ranks), "--no-prefix"]
            self._run([*launcher, *program], variables)
        elif self.library.mpi is not None:
            prefix = environment / str(self.library.package)
            if (loop := peers.built(self.library) / "mpi_loop.so").is_file():
                variables["HAL_BENCH_MPI_LOOP"] = str(loop)
            variables["MPI4PY_LIBMPI"] = str(prefix / "lib" / self.library.mpi)
            variables["PATH"] = f"{prefix / 'bin'}{os.pathsep}{variables.get('PATH', '')}"
            launcher = [str(prefix / "bin" / "mpiexec"), "-n", str(ranks), *self.library.arguments]
            self._run([*launcher, *program], variables)
        else:
            variables |= {
                "WORLD_SIZE": str(ranks),
                "HAL_BENCH_MEETING": str(Path(self._folder.name, "meeting")),
                # by these DeepSpeed's ranks find each other
                "HAL_BENCH_DEEPSPEED": str(peers.built(self.library)),
                "LOCAL_SIZE": str(ranks),
                "MASTER_ADDR": "hal-bench",
                "MASTER_PORT": Path(self._folder.name).name,
            }
            for rank in range(ranks):
                self._run(program, {**variables, "RANK": str(rank)})

    def _run(self, command: Sequence[str], variables: dict[str, str]) -> None:
        with self._log.open("ab") as log:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise ContenderError(f"cannot start {command[0]}: {error}") from error
        self._launchers.append(process)

    def _greet(self, ranks: int, listener: Listener) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        arrived: dict[int, tuple[Channel, Message]] = {}
        while len(arrived) < ranks:
            try:
                channel = listener.accept(0.2)
                hello = channel.receive(1.0)
            except TimeoutError:
                ended = [p for p in self._launchers if p.poll() is not None]
                if ended:
                    why = f"its launcher exited with status {ended[0].returncode}: {self._last_words()}"
                    raise ContenderError(why) from None
                if time.monotonic() > deadline:
                    raise ContenderError(
                        f"{len(arrived)} of {ranks} ranks were there after {_START_TIMEOUT:g} s"
                    ) from None
                continue
            if hello is not None:
                self.pids.append(hello["pid"])
                arrived[hello["rank"]] = channel, hello
                if hello["size"] != ranks:
                    raise ContenderError(f"a rank finds itself in a job of {hello['size']} ranks, not of {ranks}")
        self._channels = [arrived[rank][0] for rank in range(ranks)]
        self.version = arrived[0][1]["version"]

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        # what several ranks say is mixed; an error that one of them has named in full says most
        errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        return " / ".join(errors[-1:] or lines[-3:])[-400:] if lines else "it said nothing"

    def _fail(self, reason: str) -> NoReturn:
        self.failure = reason
        self._kill()
        raise ContenderError(reason)

    def _kill(self) -> None:
        processes: dict[int, psutil.Process] = {}
        for pid in [*(launcher.pid for launcher in self._launchers), *self.pids]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if pid in self.pids and not _is_rank(process):
                    continue  # the rank has ended, and its number belongs to another
                processes |= {found.pid: found for found in (process, *process.children(recursive=True))}
        segments = {segment for process in processes.values() for segment in _segments(process)}
        for process in processes.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(list(processes.values()), timeout=_END_TIMEOUT)
        for segment in segments:  # a library that was killed could not remove its own
            segment.unlink(missing_ok=True)
        for launcher in self._launchers:
            launcher.wait(_END_TIMEOUT)
        for channel in self._channels:
            channel.close()
        self._channels, self.pids, self._launchers = [], [], []
        self._folder.cleanup()


def _segments(process: psutil.Process) -> list[Path]:
    """The named shared memory that a process has mapped."""
    with contextlib.suppress(psutil.Error):
        return [Path(each.path) for each in process.memory_maps() if Path(each.path).is_relative_to("/dev/shm")]
    return []


def _is_rank(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "benchmarks.host.rank" in process.cmdline()
    return False
