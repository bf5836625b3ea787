import io
import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from hal.bootstrap.launcher import run_ranks
from hal.interface.errors import UsageError

LAUNCH = "import sys; from hal.bootstrap.launcher import run_ranks; sys.exit(run_ranks(sys.argv[2:], int(sys.argv[1])))"


@pytest.fixture
def script(tmp_path):
    """Writes a Python program and returns its path."""

    def write(text, name="program.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def run(program, size, **options):
    """Status, and what came out on both outputs."""
    out, err = io.BytesIO(), io.BytesIO()
    status = run_ranks(program, size, stdout=out, stderr=err, **options)
    return status, out.getvalue().decode(), err.getvalue().decode()


def marked(tmp_path):
    """The processes that work in this test's folder: ranks, and whatever they have started."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.pid != os.getpid()
                and process.status() != psutil.STATUS_ZOMBIE
                and process.cwd() == str(tmp_path)
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(autouse=True)
def _no_process_is_left(tmp_path, monkeypatch, wait_until):
    monkeypatch.chdir(tmp_path)
    yield
    try:
        wait_until(lambda: not marked(tmp_path), "that all processes are gone")
    finally:
        for process in marked(tmp_path):
            process.kill()


@pytest.fixture
def start_launcher(tmp_path):
    """Starts the launcher as a process of its own, which signals can be sent to."""
    processes = []

    def start(size, *program):
        command = [sys.executable, "-c", LAUNCH, str(size), *program]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=30)


def wait_for_files(tmp_path, wait_until, *names):
    wait_until(lambda: all((tmp_path / name).exists() for name in names), f"files {names}")


def test_ranks_find_each_other(script):
    program = script("""
        import sys
        from hal.bootstrap import connect, detect
        launch = detect()
        with connect(launch, timeout=30) as store:
            values = store.all_gather("x", b"%d" % launch.rank, range(launch.size))
        print(launch.launcher, launch.size, launch.local_rank == launch.rank, launch.local_size, values, sys.argv[1:])
    """)
    status, out, err = run([program, "a", "--b"], 3)
    assert (status, err) == (0, "")
    line = "hal 3 True 3 [b'0', b'1', b'2'] ['a', '--b']"
    assert sorted(out.splitlines()) == [f"[{rank}] {line}" for rank in range(3)]


def test_outputs_are_kept_apart_and_input_is_empty(script):
    program = script("import sys; print('out', repr(sys.stdin.read())); print('err', file=sys.stderr)")
    assert run([program], 1) == (0, "[0] out ''\n", "[0] err\n")
    assert run([program], 1, prefix=False) == (0, "out ''\n", "err\n")


def test_much_output_arrives_whole(script):
    program = script("print('x' * 100 + '\\n', end='' ) or [print(k) for k in range(20000)] and print('end', end='')")
    _, out, _ = run([program], 2, prefix=False)
    lines = out.splitlines()
    assert len(lines) == 2 * 20002
    assert lines.count("end") == lines.count("19999") == 2


def test_a_module_and_any_program_can_be_run(script):
    script("import sys; print(sys.argv[1])", "some_module.py")
    assert run(["some_module", "x"], 1, module=True)[1] == "[0] x\n"
    assert run(["sh", "-c", "echo $HAL_RANK of $HAL_SIZE"], 1)[1] == "[0] 0 of 1\n"


@pytest.mark.parametrize(
    ("ending", "status", "text"),
    [
        ("sys.exit(7)", 7, "rank 1 exited with status 7\n"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "rank 1 was killed by signal 9 (SIGKILL)\n"),
    ],
)
def test_a_rank_that_fails_ends_the_others_and_gives_its_status(script, ending, status, text):
    program = script(f"import os, signal, sys, time\nif os.environ['HAL_RANK'] == '1': {ending}\ntime.sleep(100)")
    assert run([program], 3) == (status, "", text)


def test_the_others_keep_going_where_they_are_to(script):
    """Each failed rank is named, in the order of time; the status is that of the first."""
    program = script("""
        import os, pathlib, sys, time
        rank = int(os.environ["HAL_RANK"])
        before = pathlib.Path(f"pid{rank + 1}")
        while rank < 2 and not (before.exists() and before.read_text()):
            time.sleep(0.01)
        try:
            while rank < 2:  # until the launcher has seen that the one before has ended
                os.kill(int(before.read_text()), 0)
                time.sleep(0.01)
        except ProcessLookupError:
            pass
        pathlib.Path(f"pid{rank}").write_text(str(os.getpid()))
        print("here")
        sys.exit(rank * 3)
    """)
    errors = "rank 2 exited with status 6\nrank 1 exited with status 3\n"
    status, out, err = run([program], 3, keep_going=True)
    assert (status, sorted(out.splitlines()), err) == (6, ["[0] here", "[1] here", "[2] here"], errors)


def test_a_timeout_ends_those_that_keep_going(script):
    program = script("import os, sys, time\nif os.environ['HAL_RANK'] == '1': sys.exit(7)\ntime.sleep(100)")
    errors = "the ranks did not end within 3 s\nrank 1 exited with status 7\n"
    assert run([program], 2, keep_going=True, timeout=3) == (124, "", errors)


def test_who_ignores_sigterm_is_killed_with_its_children(script, tmp_path, wait_until):
    program = script("""
        import os, pathlib, signal, subprocess, time
        rank = os.environ["HAL_RANK"]
        if rank == "0":
            signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
            # a process group of its own does not hide a child
            subprocess.Popen(["sleep", "100"], process_group=0)
            pathlib.Path("ready").touch()
        else:
            while not pathlib.Path("ready").exists():
                time.sleep(0.01)
            raise SystemExit(3)
        while True:
            time.sleep(100)
    """)
    assert run([program], 2, grace=0.3) == (3, "[0] asked\n", "rank 1 exited with status 3\n")


def test_children_that_outlive_a_successful_rank_are_killed():
    assert run(["sh", "-c", "sleep 100 & exit 0"], 2)[0] == 0


def test_a_timeout_ends_the_ranks():
    assert run(["sleep", "100"], 2, timeout=0.3) == (124, "", "the ranks did not end within 0.3 s\n")


def test_a_rank_that_dies_fails_the_waits_of_the_others(script):
    program = script("""
        import os, signal
        from hal.bootstrap import connect, detect
        from hal.interface.errors import PeerFailure
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        launch = detect()
        store = connect(launch, timeout=60)
        store.barrier("all here", range(3))
        if launch.rank == 2:
            os._exit(5)
        try:
            store.barrier("never", range(3))
        except PeerFailure as error:
            print("noticed", error.peer)
        store.close()
    """)
    status, out, err = run([program], 3, grace=20)
    assert (status, err) == (5, "rank 2 exited with status 5\n")
    assert sorted(out.splitlines()) == ["[0] noticed 2", "[1] noticed 2"]


def test_ignored_signals_of_python_are_not_handed_down():
    """A pipe in a rank's shell ends quietly, as anywhere else."""
    status, out, err = run(["sh", "-c", "yes | head -n 1"], 1)
    assert (status, out, err) == (0, "[0] y\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_signals_are_forwarded_to_every_rank(script, tmp_path, start_launcher, wait_until, name):
    program = script(f"""
        import os, pathlib, signal, time
        def stop(*_):
            print("got it", flush=True)
            os._exit(0)
        signal.signal(signal.{name}, stop)
        pathlib.Path("ready" + os.environ["HAL_RANK"]).touch()
        time.sleep(100)
    """)
    launcher = start_launcher(2, program)
    wait_for_files(tmp_path, wait_until, "ready0", "ready1")
    launcher.send_signal(getattr(signal, name))
    out, err = launcher.communicate(timeout=60)
    assert (launcher.returncode, sorted(out.splitlines()), err) == (0, ["[0] got it", "[1] got it"], "")


def test_a_signal_that_kills_the_ranks_is_their_status(start_launcher, tmp_path, wait_until):
    launcher = start_launcher(2, "sh", "-c", "touch ready$HAL_RANK; exec sleep 100")
    wait_for_files(tmp_path, wait_until, "ready0", "ready1")
    launcher.send_signal(signal.SIGTERM)
    _, err = launcher.communicate(timeout=60)
    assert launcher.returncode == 128 + signal.SIGTERM
    assert "was killed by signal 15 (SIGTERM)" in err


def test_a_killed_launcher_leaves_no_rank_and_no_child_of_one(start_launcher, tmp_path, wait_until):
    launcher = start_launcher(2, "sh", "-c", "sleep 100 & sleep 100 & touch ready$HAL_RANK; wait")
    wait_for_files(tmp_path, wait_until, "ready0", "ready1")
    assert len(marked(tmp_path)) >= 7  # launcher, watchdog, and ranks with two children each
    launcher.kill()
    launcher.wait(30)
    wait_until(lambda: not marked(tmp_path), "that all processes are gone")


def test_the_kernel_alone_ends_the_ranks_of_a_killed_launcher(start_launcher, tmp_path, wait_until):
    launcher = start_launcher(2, "sh", "-c", "touch ready$HAL_RANK; exec sleep 100")
    wait_for_files(tmp_path, wait_until, "ready0", "ready1")
    for process in psutil.Process(launcher.pid).children():
        if "watchdog.py" in " ".join(process.cmdline()):
            process.kill()
    launcher.kill()
    launcher.wait(30)
    wait_until(lambda: not marked(tmp_path), "that all processes are gone")


def test_ranks_survive_a_killed_watchdog(start_launcher, tmp_path, wait_until):
    launcher = start_launcher(1, "sh", "-c", "touch ready; while [ ! -e go ]; do sleep 0.05; done; echo done")
    wait_for_files(tmp_path, wait_until, "ready")
    for process in psutil.Process(launcher.pid).children():
        if "watchdog.py" in " ".join(process.cmdline()):
            process.kill()
    (tmp_path / "go").touch()
    assert launcher.communicate(timeout=60) == ("[0] done\n", "")


def test_a_reader_that_goes_away_ends_the_ranks_as_in_any_pipe(start_launcher):
    launcher = start_launcher(1, "yes")
    assert launcher.stdout.readline() == "[0] y\n"
    launcher.stdout.close()
    assert launcher.wait(60) == 128 + signal.SIGPIPE
    assert launcher.stderr.read() == "rank 0 was killed by signal 13 (SIGPIPE)\n"
    launcher.stdout = None


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ([], "no program"),
        (["no-such-program"], "'no-such-program' was not found in PATH"),
        (["./no/such/program"], "'./no/such/program' does not exist"),
        (["no_such.py"], "'no_such.py' does not exist"),
        (["plain.txt"], "say ./plain.txt"),
        (["./plain.txt"], "is not executable"),
        (["./"], "is no file"),
    ],
)
def test_programs_that_cannot_be_run_are_named(tmp_path, program, words):
    (tmp_path / "plain.txt").write_text("plain")
    with pytest.raises(UsageError) as caught:
        run(program, 1)
    assert words in str(caught.value)


@pytest.mark.parametrize("options", [{"size": 0}, {"size": -1}, {"size": 1025}, {"timeout": 0}, {"grace": -1}])
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(UsageError, match=str(options[name])):
        run(["true"], **({"size": 1} | options))


def test_a_file_the_kernel_refuses_is_named(tmp_path):
    (tmp_path / "odd").write_bytes(b"\x7fELF but not really")
    (tmp_path / "odd").chmod(0o755)
    status, _, err = run(["./odd"], 1)
    assert status == 126
    assert "./odd could not be started: Exec format error" in err
