"""Who takes part."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.host.conductor import Role
from hal.interface.errors import UsageError, unknown_name

FROM_C = "c"
"""The kind whose calls are made from C, not from Python: as fast as the library goes."""


@dataclass(frozen=True)
class Library:
    """A communication library with its settings: one group of processes.

    `adapter` is its module in `adapters/`; `package` what is installed for it (None: nothing); `mpi` its MPI
    library's file, where it has one. `kinds` are the kinds of memory it is measured with, each a contender; the kind
    "c" has its calls made by a loop in C. `is_bound`: each rank to a core. `settings` says what differs from what a
    user gets who sets nothing.
    """

    name: str
    label: str
    adapter: str
    package: str | None = None
    mpi: str | None = None
    kinds: tuple[str, ...] = ("plain",)
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    is_bound: bool = True
    settings: str = "defaults"

    def contender(self, kind: str) -> str:
        """The name of the contender that uses memory of `kind`."""
        return self.name if kind == "plain" and self.adapter != "hal" else f"{self.name}-{kind}"

    def contender_label(self, kind: str) -> str:
        """What its column is called."""
        if self.adapter == "hal":
            return f"{self.label} {kind}"
        return f"{self.label} from C" if kind == FROM_C else self.label

    def role(self, kind: str) -> Role:
        """What a contender of it is for."""
        return "hal" if self.adapter == "hal" else "limit" if kind == FROM_C else "peer"


# ranks are bound to cores in the same way for everyone (see rank.py), so that launchers must not do it as well
_OPEN_MPI = ("--map-by", ":OVERSUBSCRIBE", "--bind-to", "none")
_MPI_KINDS = ("plain", FROM_C)
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

LIBRARIES = (
    Library("hal", "HAL", "hal", kinds=("plain", "registered")),
    Library("mpich", "MPICH", "mpi", "mpich", "libmpi.so.12", _MPI_KINDS),
    Library("openmpi", "Open MPI", "mpi", "openmpi", "libmpi.so.40", _MPI_KINDS, _OPEN_MPI, _AS_ROOT),
    Library(
        "openmpi-tuned",
        "Open MPI tuned",
        "mpi",
        "openmpi",
        "libmpi.so.40",
        _MPI_KINDS,
        arguments=(*_OPEN_MPI, "--mca", "coll", "^han"),
        environment={**_AS_ROOT, "MPI4PY_RC_THREAD_LEVEL": "single"},
        settings="without the component `han`, and thread level `single`: faster for small messages",
    ),
    Library("intelmpi", "Intel MPI", "mpi", "impi-rt", "libmpi.so.12", _MPI_KINDS, environment={"I_MPI_PIN": "0"}),
    Library(
        "gloo",
        "torch gloo",
        "torch",
        package="torch",
        environment={"GLOO_SOCKET_IFNAME": "lo"},
        is_bound=False,
        settings="not bound to cores: faster, for its ranks sleep while they wait",
    ),
    Library(
        "deepspeed",
        "DeepSpeed",
        "deepspeed",
        package="deepspeed",
        settings="its all_reduce in shared memory alone, compiled here from the sources that its package brings",
    ),
)


def choose(names: list[str]) -> list[Library]:
    """The libraries of these names, in the order of `LIBRARIES`; all of them where `names` is empty."""
    allowed = [library.name for library in LIBRARIES]
    for name in names:
        if name not in allowed:
            raise UsageError(unknown_name("contender", name, allowed))
    return [library for library in LIBRARIES if not names or library.name in names]
