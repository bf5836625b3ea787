"""Who am I? Rank and size as the launcher's environment variables say: hal run, torchrun, mpirun, srun, or nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from hal.bootstrap import slurm
from hal.bootstrap.address import format_address, parse_address
from hal.interface.errors import UsageError


@dataclass(frozen=True)
class Launch:
    """This process's place in its job.

    `local_rank` and `local_size` count the ranks on this host. `launcher` is `arguments`, `hal`, `torchrun`,
    `openmpi`, `mpich`, `pmix`, `slurm` or `single`. `store_address` (`host:port`) is where the store is; without one
    the ranks, all on one host, find it by `job_id`, the same text on every rank and another one for every job.
    `store_external` says that another process serves the store; otherwise rank 0 does.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    launcher: str
    store_address: str | None = None
    job_id: str | None = None
    store_external: bool = False

    @property
    def one_host(self) -> bool:
        """Whether all ranks run on this host."""
        return self.local_size == self.size


def detect(
    env: Mapping[str, str] | None = None,
    *,
    rank: int | None = None,
    size: int | None = None,
    local_rank: int | None = None,
    local_size: int | None = None,
    store: str | None = None,
) -> Launch:
    """This process's place in its job: from the arguments, else from `env` (default `os.environ`).

    `rank` and `size` go together; without `local_rank` and `local_size`, all ranks are taken to be on one host. `store`
    (`host:port`) wins over `HAL_STORE`, which wins over the address a launcher implies. The environment is read in this
    order: `hal run` (`HAL_RANK`), torchrun (`RANK`), Open MPI, MPICH and its kin (`PMI_RANK`), PMIx, srun; if none of
    these started the process it is a single rank. `UsageError` names the variable that is missing, malformed or
    contradicts another.
    """
    variables = _Variables(os.environ if env is None else env)
    address = store if store is not None else variables.get("HAL_STORE")
    if address is not None:
        parse_address(address, origin="store" if store is not None else "HAL_STORE")
    external = store is None and variables.get("HAL_STORE_EXTERNAL") == "1"
    if rank is not None or size is not None:
        if rank is None or size is None:
            raise UsageError(f"rank is {rank} and size is {size}: give both or neither")
        found = _place(
            variables, ("rank", rank), ("size", size), ("local_rank", local_rank), ("local_size", local_size)
        )
        return Launch(*found, "arguments", address, variables.get("HAL_JOB_ID"), address is not None and external)
    if local_rank is not None or local_size is not None:
        raise UsageError("local_rank and local_size need rank and size")
    for marker, read in _LAUNCHERS:
        if variables.get(marker) is not None:
            launch = read(variables, address)
            if launch is not None:
                return launch
    return Launch(0, 1, 0, 1, "single", address, None, address is not None and external)


class _Variables:
    """Environment variables, with empty ones taken as unset, and errors that name them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def get(self, *names: str) -> str | None:
        """The first of these that is set."""
        return next((self._env[name] for name in names if self._env.get(name)), None)

    def name(self, *names: str) -> str:
        """The name of the first of these that is set, else the first."""
        return next((name for name in names if self._env.get(name)), names[0])

    def integer(self, *names: str) -> tuple[str, int | None]:
        """The name and value of the first of these that is set."""
        name = self.name(*names)
        text = self.get(name)
        if text is None:
            return name, None
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise UsageError(f"{name} is {text!r}: expected a whole number, 0 or more")
        return name, int(text)

    def needed(self, *names: str) -> tuple[str, int]:
        """Like `integer`, but one of them must be set."""
        name, value = self.integer(*names)
        if value is None:
            raise UsageError(f"{name} is not set, though other variables of its launcher are")
        return name, value

    def job(self, *names: str, default: str) -> str:
        """A job id: these variables' values, or a text around the parent process, which ranks of one host share."""
        values = [value for name in names if (value := self.get(name)) is not None]
        return f"{default}-{'-'.join(values)}" if values else f"{default}-parent-{os.getppid()}"


_Named = tuple[str, int]
_Place = tuple[int, int, int, int]


def _place(
    variables: _Variables,
    rank: _Named,
    size: _Named,
    local_rank: tuple[str, int | None],
    local_size: tuple[str, int | None],
) -> _Place:
    """Check the four against each other; both local ones may be missing where ranks are taken to be on one host."""
    if local_rank[1] is None and local_size[1] is None:
        local_rank, local_size = rank, size
    for name, value in (local_rank, local_size):
        if value is None:
            raise UsageError(f"{name} is not set: local rank and local size go together")
    local = (local_rank[0], local_rank[1] or 0), (local_size[0], local_size[1] or 0)
    for (name, value), (bound_name, bound) in ((rank, size), local):
        if bound < 1:
            raise UsageError(f"{bound_name} is {bound}: expected 1 or more")
        if not 0 <= value < bound:
            raise UsageError(f"{name} is {value} and {bound_name} is {bound}: a rank is at least 0 and below the size")
    if local[1][1] > size[1]:
        raise UsageError(
            f"{local[1][0]} is {local[1][1]} and {size[0]} is {size[1]}: there cannot be more ranks on one host"
        )
    return rank[1], size[1], local[0][1], local[1][1]


def _hal(variables: _Variables, address: str | None) -> Launch | None:
    place = _place(
        variables,
        variables.needed("HAL_RANK"),
        variables.needed("HAL_SIZE"),
        variables.integer("HAL_LOCAL_RANK"),
        variables.integer("HAL_LOCAL_SIZE"),
    )
    external = address is not None and variables.get("HAL_STORE_EXTERNAL") == "1"
    return Launch(*place, "hal", address, variables.get("HAL_JOB_ID"), external)


def _torchrun(variables: _Variables, address: str | None) -> Launch | None:
    place = _place(
        variables,
        variables.needed("RANK"),
        variables.needed("WORLD_SIZE"),
        variables.needed("LOCAL_RANK"),
        variables.needed("LOCAL_WORLD_SIZE"),
    )
    port_name, port = variables.needed("MASTER_PORT")
    if not 0 < port < 65535:
        raise UsageError(f"{port_name} is {port}: expected 1 to 65534, because HAL's store uses the port after it")
    job = variables.job("TORCHELASTIC_RUN_ID", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT", default="torchrun")
    if address is None and place[1] != place[3]:
        host = variables.get("MASTER_ADDR")
        if host is None:
            raise UsageError("MASTER_ADDR is not set, though other variables of its launcher are")
        address = format_address(host, port + 1)
    return Launch(*place, "torchrun", address, job)


def _openmpi(variables: _Variables, address: str | None) -> Launch | None:
    place = _place(
        variables,
        variables.needed("OMPI_COMM_WORLD_RANK"),
        variables.needed("OMPI_COMM_WORLD_SIZE"),
        variables.needed("OMPI_COMM_WORLD_LOCAL_RANK"),
        variables.needed("OMPI_COMM_WORLD_LOCAL_SIZE"),
    )
    job = variables.job(variables.name("OMPI_MCA_ess_base_jobid", "PMIX_NAMESPACE"), default="openmpi")
    return Launch(*place, "openmpi", address, job)


def _in_slurm_step(variables: _Variables) -> bool:
    # a batch script has SLURM_PROCID and SLURM_NTASKS too, without being one of the tasks: only srun makes a step
    step = variables.get("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NODELIST")
    return step is not None and variables.get("SLURM_PROCID") is not None


def _mpich(variables: _Variables, address: str | None) -> Launch | None:
    if variables.get("MPI_LOCALRANKID") is None and _in_slurm_step(variables):
        return None  # srun's own PMI plug-in: SLURM's variables say the same and more
    place = _place(
        variables,
        variables.needed("PMI_RANK"),
        variables.needed("PMI_SIZE"),
        variables.needed("MPI_LOCALRANKID"),
        variables.needed("MPI_LOCALNRANKS"),
    )
    return Launch(*place, "mpich", address, variables.job("PMI_KVSNAME", "PMI_JOBID", default="mpich"))


def _pmix(variables: _Variables, address: str | None) -> Launch | None:
    if variables.get("PMIX_SIZE") is None and _in_slurm_step(variables):
        return None
    place = _place(
        variables,
        variables.needed("PMIX_RANK"),
        variables.needed("PMIX_SIZE"),
        variables.needed("PMIX_LOCAL_RANK"),
        variables.needed("PMIX_LOCAL_SIZE"),
    )
    return Launch(*place, "pmix", address, variables.job("PMIX_NAMESPACE", default="pmix"))


def _slurm(variables: _Variables, address: str | None) -> Launch | None:
    if not _in_slurm_step(variables):
        return None
    rank, size = variables.needed("SLURM_PROCID"), variables.needed("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    local_rank = variables.needed("SLURM_LOCALID")
    per_node = variables.name("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
    listed = variables.get(per_node)
    if listed is None:
        raise UsageError(f"{per_node} is not set, though other variables of its launcher are")
    node = variables.integer("SLURM_NODEID")[1] or 0
    local_size = per_node, slurm.tasks_on_node(listed, node, variable=per_node)
    place = _place(variables, rank, size, local_rank, local_size)
    job, step = (
        variables.needed("SLURM_JOB_ID", "SLURM_JOBID")[1],
        variables.integer("SLURM_STEP_ID", "SLURM_STEPID")[1] or 0,
    )
    if address is None and place[1] != place[3]:
        nodes = variables.name("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
        host = slurm.first_host(variables.get(nodes) or "", variable=nodes)
        address = format_address(host, slurm.port_of_job(job, step))
    return Launch(*place, "slurm", address, f"slurm-{job}-{step}")


_LAUNCHERS = (
    ("HAL_RANK", _hal),
    ("RANK", _torchrun),
    ("OMPI_COMM_WORLD_RANK", _openmpi),
    ("PMI_RANK", _mpich),
    ("PMIX_RANK", _pmix),
    ("SLURM_PROCID", _slurm),
)
