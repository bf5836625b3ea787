import pytest

from hal.bootstrap import Launch, detect
from hal.bootstrap.slurm import first_host, port_of_job, tasks_on_node
from hal.interface.errors import UsageError

HAL = {
    "HAL_RANK": "1",
    "HAL_SIZE": "4",
    "HAL_LOCAL_RANK": "1",
    "HAL_LOCAL_SIZE": "2",
    "HAL_STORE": "host7:4000",
    "HAL_JOB_ID": "j",
}
TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}
OPENMPI = {
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "OMPI_MCA_ess_base_jobid": "77",
}
MPICH = {"PMI_RANK": "0", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2", "PMI_KVSNAME": "kvs_5_0"}
PMIX = {
    "PMIX_RANK": "1",
    "PMIX_SIZE": "2",
    "PMIX_LOCAL_RANK": "1",
    "PMIX_LOCAL_SIZE": "2",
    "PMIX_NAMESPACE": "ns-9",
}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "6",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4,2",
    "SLURM_STEP_NODELIST": "gpu[017-018]",
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "2",
}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, Launch(0, 1, 0, 1, "single")),
        (HAL, Launch(1, 4, 1, 2, "hal", "host7:4000", "j")),
        (HAL | {"HAL_STORE_EXTERNAL": "1"}, Launch(1, 4, 1, 2, "hal", "host7:4000", "j", True)),
        (TORCHRUN, Launch(3, 4, 1, 2, "torchrun", "node1:29501", "torchrun-29500")),
        (TORCHRUN | {"HAL_STORE": "[::1]:9"}, Launch(3, 4, 1, 2, "torchrun", "[::1]:9", "torchrun-29500")),
        (OPENMPI, Launch(2, 4, 2, 4, "openmpi", None, "openmpi-77")),
        (MPICH, Launch(0, 2, 0, 2, "mpich", None, "mpich-kvs_5_0")),
        (PMIX, Launch(1, 2, 1, 2, "pmix", None, "pmix-ns-9")),
        (SRUN, Launch(5, 6, 1, 2, "slurm", f"gpu017:{port_of_job(1234, 2)}", "slurm-1234-2")),
    ],
)
def test_every_launcher_is_recognised(env, expected):
    assert detect(env) == expected


def test_the_order_is_arguments_hal_torchrun_mpirun_srun():
    layers = [SRUN, PMIX, MPICH, OPENMPI, TORCHRUN, HAL]
    names = ["slurm", "pmix", "mpich", "openmpi", "torchrun", "hal"]
    env = {}
    for layer, name in zip(layers, names, strict=True):
        env |= layer
        assert detect(env).launcher == name
    assert detect(env, rank=0, size=3) == Launch(0, 3, 0, 3, "arguments", "host7:4000", "j")


def test_the_store_argument_wins_and_is_served_by_rank_0():
    assert detect(HAL | {"HAL_STORE_EXTERNAL": "1"}, rank=0, size=2, store="a:1") == Launch(
        0, 2, 0, 2, "arguments", "a:1", "j"
    )


def test_ranks_on_one_host_need_no_address():
    one_host = TORCHRUN | {"RANK": "1", "WORLD_SIZE": "2"}
    assert detect(one_host).store_address is None
    assert detect(one_host).one_host
    assert not detect(TORCHRUN).one_host


def test_a_batch_script_is_not_a_task():
    script = {"SLURM_PROCID": "0", "SLURM_NTASKS": "6", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "1"}
    assert detect(script).launcher == "single"


@pytest.mark.parametrize(
    "pmi", [{"PMI_RANK": "5", "PMI_SIZE": "6"}, {"PMIX_RANK": "5", "PMIX_NAMESPACE": "slurm.pmix"}]
)
def test_the_process_managers_of_srun_are_srun(pmi):
    assert detect(SRUN | pmi) == detect(SRUN)


def test_empty_variables_count_as_unset():
    assert detect({"RANK": "", "HAL_RANK": ""}).launcher == "single"


@pytest.mark.parametrize("name", ["MPICH", "OPENMPI"])
def test_without_a_job_id_the_parent_process_is_taken(name):
    env = {
        key: value for key, value in globals()[name].items() if key not in ("PMI_KVSNAME", "OMPI_MCA_ess_base_jobid")
    }
    assert "parent" in detect(env).job_id


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (HAL | {"HAL_RANK": "4"}, ["HAL_RANK is 4", "HAL_SIZE is 4"]),
        (HAL | {"HAL_RANK": "one"}, ["HAL_RANK", "'one'", "whole number"]),
        (HAL | {"HAL_RANK": "-1"}, ["HAL_RANK", "'-1'"]),
        (HAL | {"HAL_RANK": "٣"}, ["HAL_RANK"]),
        (HAL | {"HAL_SIZE": ""}, ["HAL_SIZE is not set"]),
        (HAL | {"HAL_SIZE": "0", "HAL_RANK": "0"}, ["HAL_SIZE is 0"]),
        (HAL | {"HAL_LOCAL_SIZE": ""}, ["HAL_LOCAL_SIZE is not set"]),
        (HAL | {"HAL_LOCAL_RANK": "2"}, ["HAL_LOCAL_RANK is 2", "HAL_LOCAL_SIZE is 2"]),
        (HAL | {"HAL_LOCAL_SIZE": "5"}, ["HAL_LOCAL_SIZE is 5", "HAL_SIZE is 4"]),
        (HAL | {"HAL_STORE": "nowhere"}, ["HAL_STORE", "'nowhere'", "host:port"]),
        (HAL | {"HAL_STORE": "::1:80"}, ["HAL_STORE", "'::1:80'"]),
        (HAL | {"HAL_STORE": "h:99999"}, ["HAL_STORE", "'h:99999'"]),
        (TORCHRUN | {"WORLD_SIZE": ""}, ["WORLD_SIZE is not set"]),
        (TORCHRUN | {"LOCAL_RANK": ""}, ["LOCAL_RANK is not set"]),
        (TORCHRUN | {"MASTER_PORT": "65535"}, ["MASTER_PORT is 65535"]),
        (TORCHRUN | {"MASTER_ADDR": ""}, ["MASTER_ADDR is not set"]),
        (OPENMPI | {"OMPI_COMM_WORLD_SIZE": "2"}, ["OMPI_COMM_WORLD_RANK is 2"]),
        (MPICH | {"PMI_SIZE": "x"}, ["PMI_SIZE", "'x'"]),
        (PMIX | {"PMIX_SIZE": ""}, ["PMIX_SIZE is not set"]),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "4*2"}, ["SLURM_STEP_TASKS_PER_NODE", "'4*2'"]),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "6"}, ["SLURM_NODEID"]),
        (SRUN | {"SLURM_STEP_NODELIST": "[[", "SLURM_JOB_NODELIST": ""}, ["SLURM_STEP_NODELIST", "'[['"]),
        (SRUN | {"SLURM_JOB_ID": ""}, ["SLURM_JOB_ID is not set"]),
    ],
)
def test_what_is_wrong_is_named(env, words):
    with pytest.raises(UsageError) as caught:
        detect(env)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [{"rank": 0}, {"size": 2}, {"local_rank": 0}, {"rank": 2, "size": 2}, {"rank": 0, "size": 1, "store": "x"}],
)
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(UsageError):
        detect({}, **arguments)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node", "node"),
        ("node1,node2", "node1"),
        ("node[003-007,9],gpu1", "node003"),
        ("node[9,11]", "node9"),
        ("rack[1-2]n[4-5].site", "rack1n4.site"),
    ],
)
def test_the_first_host_of_a_node_list(nodes, first):
    assert first_host(nodes, variable="V") == first


@pytest.mark.parametrize(("node", "tasks"), [(0, 4), (1, 4), (2, 3)])
def test_the_tasks_on_a_node(node, tasks):
    assert tasks_on_node("4(x2),3", node, variable="V") == tasks
