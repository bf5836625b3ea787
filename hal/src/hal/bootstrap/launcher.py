"""`hal run` without its command line: start local ranks, watch over them, and leave nothing behind."""

from __future__ import annotations

import collections
import contextlib
import os
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO, TextIO, cast

from hal.bootstrap.command import rank_command
from hal.bootstrap.relay import LineMarker, Relay, is_terminal, make_prefix, write_all
from hal.bootstrap.server import StoreServer, new_secret
from hal.bootstrap.watchdog import kill_session
from hal.interface.errors import UsageError, WorldError

MAX_RANKS = 1024
_POLL = 0.02
_KILL_TIMEOUT = 30.0
_TIMED_OUT = 124  # as timeout(1) exits
# as a terminal would, these go to all processes in the foreground; others are for the rank's own process
_TO_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FORWARDED = (*_TO_GROUP, signal.SIGUSR1)
_HERE = Path(__file__).parent


def run_ranks(
    program: Sequence[str],
    size: int,
    *,
    module: bool = False,
    timeout: float | None = None,
    grace: float = 5.0,
    prefix: bool = True,
    keep_going: bool = False,
    env: Mapping[str, str] | None = None,
    stdout: BinaryIO | None = None,
    stderr: BinaryIO | None = None,
) -> int:
    """Run `size` ranks of `program` on this host and return the status for this process to exit with.

    `program` is a command with its arguments (a `.py` file and, with `module`, a module are run by this interpreter).
    Every rank leads a session of its own and gets an empty standard input, `env` (default `os.environ`), and the
    variables by which `hal.bootstrap.detect` finds rank, size and the store, which this process serves.

    The status is 0 if every rank ends with 0. When a rank fails, all others get SIGTERM and, `grace` seconds later,
    SIGKILL, and the status is that of the failed rank, or 128 plus the signal that killed it, with a line on `stderr`
    that says so; with `keep_going` the others go on, and each failed rank has its line at the end. When `timeout`
    seconds pass the ranks are ended alike, with status 124. In the main thread SIGINT,
    SIGTERM, SIGHUP and SIGUSR1 are forwarded to all ranks; a second SIGINT or SIGTERM ends them as a failure does.
    A rank's session is killed when the rank ends, and everything when this process is killed.

    `UsageError` for a program, size or time that cannot be used, `WorldError` where a process cannot be started.
    """
    environment = dict(os.environ if env is None else env)
    command = rank_command(program, module=module, env=environment)
    _check_numbers(size, timeout, grace)
    outputs = stdout or _raw_output(sys.stdout), stderr or _raw_output(sys.stderr)
    with StoreServer(size, secret=new_secret()) as server, _signals() as received, _watchdog() as watchdog:
        environment |= {
            "HAL_SIZE": str(size),
            "HAL_LOCAL_SIZE": str(size),
            "HAL_STORE": server.address,
            "HAL_STORE_EXTERNAL": "1",
            "HAL_JOB_SECRET": server.secret or "",
            "HAL_JOB_ID": f"hal-{secrets.token_hex(8)}",
        }
        # output goes through pipes here, and should come when it is printed all the same
        environment.setdefault("PYTHONUNBUFFERED", "1")
        job = _Job(command, size, environment, server, watchdog, grace, keep_going)
        relay = Relay()
        try:
            try:
                for rank in job.start():
                    for pipe, output in zip((rank.process.stdout, rank.process.stderr), outputs, strict=True):
                        mark = make_prefix(rank.rank, colour=is_terminal(output)) if prefix else b""
                        assert pipe is not None  # both were asked for
                        relay.add(pipe, LineMarker(mark), output)
            finally:
                relay.start()  # if not all ranks could be started as well: it owns the pipes that there are
            job.supervise(received, timeout)
        finally:
            job.kill()
            relay.finish()
            # a reader that has stopped, such as a pager, may take its time; a signal ends the wait
            while not relay.wait(_POLL) and not received:
                pass
    for failure in job.failures:
        write_all(outputs[1], f"{failure.text}\n".encode())
    return job.failures[0].status if job.failures else 0


def _raw_output(stream: TextIO) -> BinaryIO:
    """The stream without its buffer: a broken or blocked pipe then costs the line, not the interpreter's exit."""
    stream.flush()
    try:
        return cast(BinaryIO, open(stream.fileno(), "wb", buffering=0, closefd=False))
    except OSError:  # replaced by an object of this process, which has no descriptor
        return stream.buffer


def _check_numbers(size: int, timeout: float | None, grace: float) -> None:
    if not 1 <= size <= MAX_RANKS:
        raise UsageError(f"the number of ranks is {size}: expected 1 to {MAX_RANKS}")
    needed, limit = 4 * size + 64, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if needed > limit != resource.RLIM_INFINITY:
        raise UsageError(f"{size} ranks need {needed} open files, {limit} are allowed: raise the limit with ulimit -n")
    if timeout is not None and not 0 < timeout < threading.TIMEOUT_MAX:
        raise UsageError(f"timeout is {timeout}: expected a number of seconds above 0")
    if not 0 <= grace < threading.TIMEOUT_MAX:
        raise UsageError(f"grace is {grace}: expected a number of seconds, 0 or more")


@dataclass(frozen=True)
class _Failure:
    """Something that went wrong, and the status to exit with where it is the first."""

    text: str
    status: int


@dataclass(frozen=True)
class _Rank:
    """A rank whose process has been started."""

    rank: int
    process: subprocess.Popen[bytes]

    def ending(self) -> str | None:
        """How it ended, in words; None while it runs. Leaves it a zombie, so that its ids stay its own."""
        ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        if ended.si_code == os.CLD_EXITED:
            return f"exited with status {ended.si_status}"
        name = next((known.name for known in signal.Signals if known == ended.si_status), "a real-time signal")
        return f"was killed by signal {ended.si_status} ({name})"

    def send(self, signum: int) -> None:
        """Deliver a signal to the rank, or to its whole process group where a terminal would."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if signum in _TO_GROUP:
                os.killpg(self.process.pid, signum)
            else:
                os.kill(self.process.pid, signum)


class _Job:
    """The ranks of one run."""

    def __init__(
        self,
        command: list[str],
        size: int,
        env: dict[str, str],
        server: StoreServer,
        watchdog: subprocess.Popen[bytes],
        grace: float,
        keep_going: bool,
    ) -> None:
        self.failures: list[_Failure] = []
        """In the order of time; of ranks that are being ended, the first one alone, where there is no other."""
        self._command = command
        self._size = size
        self._env = env
        self._server = server
        self._watchdog = watchdog
        self._grace = grace
        self._keep_going = keep_going
        self._running: list[_Rank] = []
        self._kill_at: float | None = None

    def start(self) -> Iterator[_Rank]:
        """Start all ranks. The kernel ties them to the calling thread's life, not only to the process's."""
        shim = [sys.executable, "-I", "-S", str(_HERE / "exec_shim.py"), str(os.getpid())]
        for number in range(self._size):
            try:
                process = subprocess.Popen(
                    shim + self._command,
                    env=self._env | {"HAL_RANK": str(number), "HAL_LOCAL_RANK": str(number)},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    start_new_session=True,
                )
            except OSError as error:
                raise WorldError(f"rank {number} of {self._size} could not be started: {error}") from error
            rank = _Rank(number, process)
            self._running.append(rank)
            self._note(f"+{process.pid}")
            yield rank

    def supervise(self, received: collections.deque[int], timeout: float | None) -> None:
        """Watch until every rank has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        interrupted = False
        while self._running:
            self._reap()
            while received:
                signum = received.popleft()
                if interrupted and signum in (signal.SIGINT, signal.SIGTERM):
                    self._begin_to_end()
                interrupted = interrupted or signum in (signal.SIGINT, signal.SIGTERM)
                for rank in self._running:
                    rank.send(signum)
            now = time.monotonic()
            if deadline is not None and now >= deadline and self._kill_at is None:
                self.failures.insert(0, _Failure(f"the ranks did not end within {timeout:g} s", _TIMED_OUT))
                self._begin_to_end()
            if self._kill_at is not None and now >= self._kill_at:
                self.kill()
            time.sleep(_POLL)

    def kill(self) -> None:
        """Kill all that still runs, and wait until it is gone."""
        for rank in self._running:
            kill_session(rank.process.pid)
        deadline = time.monotonic() + _KILL_TIMEOUT
        while self._running and time.monotonic() < deadline:
            self._reap()
            time.sleep(_POLL)
        if self._running:
            stuck = ", ".join(str(rank.process.pid) for rank in self._running)
            raise WorldError(f"processes {stuck} do not end although they were killed")

    def _reap(self) -> None:
        endings = [(rank, how) for rank in self._running if (how := rank.ending()) is not None]
        # of ranks that ended together, one killed by a signal is the likelier cause than one that exited for lack of it
        for rank, how in sorted(endings, key=lambda ending: not ending[1].startswith("was killed")):
            kill_session(rank.process.pid)
            status = rank.process.wait()
            self._note(f"-{rank.process.pid}")
            self._running.remove(rank)
            self._server.mark_ended(rank.rank, how)
            if status != 0 and (not self.failures or (self._keep_going and self._kill_at is None)):
                self.failures.append(_Failure(f"rank {rank.rank} {how}", status if status > 0 else 128 - status))
                if not self._keep_going:
                    self._begin_to_end()

    def _begin_to_end(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._grace
            for rank in self._running:
                rank.send(signal.SIGTERM)

    def _note(self, text: str) -> None:
        assert self._watchdog.stdin is not None  # it was asked for
        with contextlib.suppress(BrokenPipeError):  # the watchdog was killed: the ranks still die with this process
            self._watchdog.stdin.write(f"{text}\n".encode())


@contextlib.contextmanager
def _watchdog() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_HERE / "watchdog.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _signals() -> Iterator[collections.deque[int]]:
    """The forwarded signals as they arrive; only the main thread can ask for them, elsewhere none come."""
    received: collections.deque[int] = collections.deque()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def receive(signum: int, frame: FrameType | None) -> None:
        received.append(signum)

    # what is ignored stays so, for the ranks as well: nohup and background jobs rely on it
    wanted = [signum for signum in _FORWARDED if signal.getsignal(signum) is not signal.SIG_IGN]
    before = {signum: signal.signal(signum, receive) for signum in wanted}
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
