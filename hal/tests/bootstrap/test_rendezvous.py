import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from hal.bootstrap import Launch, connect, detect
from hal.bootstrap.dial import Target
from hal.bootstrap.publication import Publication, private_folder
from hal.interface.errors import PeerFailure, StallTimeout, TransportError, UsageError

PROGRAM = """
import sys
from hal.bootstrap import connect, detect
launch = detect()
for name in ("first", "second"):
    with connect(launch, timeout=30) as store:
        values = store.all_gather(name, bytes([launch.rank]), range(launch.size))
        assert values == [bytes([rank]) for rank in range(launch.size)], values
        store.barrier("end", range(launch.size))
print(launch.launcher, launch.rank)
"""


def launch_of(rank, size=2, job_id="job", address=None):
    return Launch(rank, size, rank, size, "test", address, job_id)


def start(env):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(processes):
    try:
        return [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def files():
    return list(private_folder().iterdir())


def test_a_single_rank_needs_nothing():
    with connect(detect({}), timeout=30) as store:
        assert store.all_gather("x", b"me", [0]) == [b"me"]


@pytest.mark.parametrize(
    "env_of",
    [
        lambda r: {
            "RANK": r,
            "WORLD_SIZE": "3",
            "LOCAL_RANK": r,
            "LOCAL_WORLD_SIZE": "3",
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": "29500",
        },
        lambda r: {
            "OMPI_COMM_WORLD_RANK": r,
            "OMPI_COMM_WORLD_SIZE": "3",
            "OMPI_COMM_WORLD_LOCAL_RANK": r,
            "OMPI_COMM_WORLD_LOCAL_SIZE": "3",
        },
        lambda r: {
            "SLURM_PROCID": r,
            "SLURM_NTASKS": "3",
            "SLURM_LOCALID": r,
            "SLURM_STEP_ID": "0",
            "SLURM_JOB_ID": "7",
            "SLURM_TASKS_PER_NODE": "3",
        },
    ],
    ids=["torchrun", "openmpi", "slurm"],
)
def test_processes_on_one_host_meet_again_and_again_without_an_address(env_of):
    outputs = finish([start(env_of(str(rank))) for rank in (2, 1, 0)])
    assert [output.split()[-1:] for output, _ in outputs] == [["2"], ["1"], ["0"]], outputs
    assert files() == []


def test_an_address_given_for_all(together, free_port):
    address = f"127.0.0.1:{free_port}"

    def act(rank):
        with connect(launch_of(rank, 3, None, address), timeout=30, secret="s") as store:
            return store.all_gather("x", bytes([rank]), range(3))

    assert together([2, 1, 0], act) == [[b"\0", b"\1", b"\2"]] * 3


@pytest.fixture
def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_a_name_of_this_host_needs_a_secret(free_port):
    with pytest.raises(UsageError, match="HAL_JOB_SECRET"):
        connect(launch_of(0, address=f"host.example:{free_port}"), timeout=1)


def test_several_hosts_need_an_address():
    with pytest.raises(UsageError, match="HAL_STORE"):
        connect(Launch(0, 4, 0, 2, "openmpi", None, "job"), timeout=1)


def test_a_rank_without_rank_0_gives_up_in_time():
    with pytest.raises(StallTimeout, match="rank 0"):
        connect(launch_of(1), timeout=0.2)


def test_the_file_is_private_and_goes_with_rank_0():
    with connect(launch_of(0), timeout=30):
        (file,) = files()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert len(json.loads(file.read_text())["secret"]) == 64
    assert files() == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"address": 7}', b'{"address": "x", "secret": "y"}', b"\xff" * 9000]
)
def test_a_file_that_makes_no_sense_is_replaced(together, content):
    path = Publication("job").path
    path.touch(mode=0o600)
    path.write_bytes(content)
    assert Publication("job").read() is None
    assert meet_twice(together) == [None, None]


def meet_twice(together):
    def act(rank):
        with connect(launch_of(rank), timeout=30) as store:
            return store.barrier("b", [0, 1])

    return together([1, 0], act)


@pytest.mark.parametrize("listening", [False, True], ids=["port-closed", "port-of-another-store"])
def test_the_file_of_a_killed_job_does_no_harm(together, make_job, free_port, listening):
    address = make_job(1).server.address if listening else f"127.0.0.1:{free_port}"
    Publication("job").publish(Target(address, "former secret"))
    assert meet_twice(together) == [None, None]
    assert files() == []


def test_only_the_own_file_is_withdrawn():
    old, new = Publication("job"), Publication("job")
    old.publish(Target("127.0.0.1:1", "old"))
    new.publish(Target("127.0.0.1:2", "new"))
    old.withdraw()
    assert new.read().address == "127.0.0.1:2"
    new.withdraw()
    assert new.read() is None


def test_a_folder_open_to_others_is_refused():
    private_folder().chmod(0o755)
    with pytest.raises(TransportError, match="0755"):
        private_folder()


def test_a_link_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"hal-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TransportError, match="must be a folder"):
        private_folder()


def test_a_file_open_to_others_is_refused():
    publication = Publication("job")
    publication.publish(Target("127.0.0.1:1", "s"))
    publication.path.chmod(0o644)
    with pytest.raises(TransportError, match="only user"):
        publication.read()


def test_rank_0_killed_is_noticed_by_the_others():
    program = "import time; from hal.bootstrap import *; s = connect(detect()); time.sleep(100)"
    env = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "29500"}
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ | env)
    try:
        store = connect(detect(env | {"RANK": "1", "LOCAL_RANK": "1"}), timeout=60)
        process.send_signal(signal.SIGKILL)
        with pytest.raises(PeerFailure) as caught:
            store.barrier("b", [0, 1])
        assert caught.value.peer == 0
        assert store.dead_ranks() == [0]
        store.close()
    finally:
        process.kill()
        process.wait(30)
