"""What `hal doctor` says of each thing that can be missing, with doubles of what the probe reads."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import resource
import subprocess
import sys
from typing import ClassVar

import pytest

from hal.interface.errors import BackendUnavailable, ConfigError
from hal_ib import probe as probing
from hal_ib.choice import choose
from hal_ib.ports import ports
from hal_ib.settings import IbSettings

LOCAL = "fe80:0000:0000:0000:0000:00ff:fe00:0001"
IPV4 = "0000:0000:0000:0000:0000:ffff:0a00:0001"
IPV6 = "2001:0db8:0000:0000:0000:0000:0000:0001"
NONE = "0000:0000:0000:0000:0000:0000:0000:0000"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine on which all is well but for what a test changes: a folder as the kernel's, and its libraries."""

    class Machine:
        root = tmp_path / "infiniband"
        absent: ClassVar[dict[str, Exception]] = {}

        def port(
            self, device="mlx5_0", number=1, state="4: ACTIVE", layer="Ethernet", rate="100 Gb/sec (4X EDR)", gids=()
        ):
            folder = self.root / device / "ports" / str(number)
            for name in ("gids", "gid_attrs/types", "gid_attrs/ndevs"):
                (folder / name).mkdir(parents=True)
            for name, text in {"state": state, "link_layer": layer, "rate": rate}.items():
                (folder / name).write_text(f"{text}\n")
            for index, (gid, kind) in enumerate(gids):
                (folder / "gids" / str(index)).write_text(f"{gid}\n")
                (folder / "gid_attrs/types" / str(index)).write_text(f"{kind}\n")
                (folder / "gid_attrs/ndevs" / str(index)).write_text("eth0\n")

        def probe(self):
            return probing.probe()

    made = Machine()
    made.absent = {}

    def load(name, *_):
        if name in made.absent:
            raise made.absent[name]

    limit = [resource.RLIM_INFINITY] * 2
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(importlib, "import_module", load)
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limit))
    monkeypatch.setattr(probing, "_locks_without_limit", lambda: False)
    monkeypatch.setattr(probing, "ports", lambda: ports(made.root))
    made.limit = limit
    return made


def only(probe, available=False):
    assert probe.available is available
    (problem,) = probe.problems
    return problem


GOOD = [(LOCAL, "IB/RoCE v1"), (LOCAL, "RoCE v2"), (IPV4, "IB/RoCE v1"), (IPV4, "RoCE v2")]


def test_all_is_well(machine):
    machine.port(gids=GOOD)
    found = machine.probe()
    assert found.available
    assert found.problems == ()
    assert found.devices == ("mlx5_0 port 1 (RoCE v1, RoCE v2, ACTIVE, 100 Gb/sec (4X EDR))",)


def test_no_libibverbs(machine):
    machine.port(gids=GOOD)
    machine.absent["libibverbs.so.1"] = OSError("libibverbs.so.1: cannot open shared object file")
    problem = only(machine.probe())
    assert "libibverbs does not load: libibverbs.so.1: cannot open" in problem.what
    assert "apt install libibverbs1" in problem.remedy


def test_no_compiled_module(machine, monkeypatch):
    machine.port(gids=GOOD)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    problem = only(machine.probe())
    assert "compiled module of hal-ib is missing" in problem.what
    assert "pip install --force-reinstall hal-ib" in problem.remedy


def test_no_device(machine):
    problem = only(machine.probe())
    assert problem.what == "there is no RDMA device"
    assert "modprobe rdma_rxe" in problem.remedy


def test_port_down(machine):
    machine.port(state="1: DOWN", gids=GOOD)
    problem = only(machine.probe())
    assert problem.what == "no port is active: mlx5_0 port 1 is DOWN"
    assert "cable" in problem.remedy
    assert "subnet manager" in problem.remedy


def test_no_usable_gid(machine):
    machine.port(gids=[(IPV4, "IB/RoCE v1"), (NONE, "")])
    problem = only(machine.probe())
    assert "no usable GID on mlx5_0 port 1" in problem.what
    assert "IP address" in problem.remedy


def test_locked_memory_is_limited(machine):
    machine.port(gids=GOOD)
    machine.limit[:] = [8 << 20, 8 << 20]
    problem = only(machine.probe(), available=True)
    assert "locked memory is 8192 KiB" in problem.what
    assert "ulimit -l" in problem.remedy


@pytest.mark.parametrize(
    ("capabilities", "users", "exempt"),
    [
        ("000001ffffffffff", "0 0 4294967295", True),
        ("0000000000004000", "0 0 4294967295", True),
        ("00000000a80425fb", "0 0 4294967295", False),  # as in a container
        ("000001ffffffffff", "0 1000 1", False),  # in a user namespace, where it does not count
    ],
)
def test_who_may_lock_without_limit(tmp_path, capabilities, users, exempt):
    (tmp_path / "status").write_text(f"Name:\tpython\nCapEff:\t{capabilities}\nSeccomp:\t0\n")
    (tmp_path / "uid_map").write_text(f"         {users}\n")
    assert probing._locks_without_limit(tmp_path) is exempt
    assert not probing._locks_without_limit(tmp_path / "absent")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ModuleNotFoundError("No module named 'pyverbs'"), "pyverbs is not installed"),
        (ImportError("libibverbs.so.1: version `IBVERBS_1.14' not found"), "of different versions: libibverbs.so.1"),
        (ImportError("undefined symbol: ibv_query_qp_data_in_order"), "of different versions: undefined symbol"),
        (ImportError("libnl-3.so.200: cannot open shared object file"), "pyverbs does not load: libnl-3"),
    ],
)
def test_pyverbs(machine, error, what):
    machine.port(gids=GOOD)
    machine.absent["pyverbs.device"] = error
    problem = only(machine.probe(), available=True)  # the compiled module does without it
    assert what in problem.what
    assert "ib.posting: native" in problem.remedy


def chosen(machine, **settings):
    return choose(ports(machine.root), IbSettings(**settings))


def test_the_best_port_and_gid(machine):
    machine.port("mlx5_0", rate="25 Gb/sec", gids=GOOD)
    machine.port("mlx5_1", rate="200 Gb/sec", state="1: DOWN", gids=GOOD)
    machine.port("mlx5_2", rate="100 Gb/sec", gids=[(LOCAL, "RoCE v2"), (IPV6, "RoCE v2"), (IPV4, "RoCE v2")])
    best = chosen(machine)
    assert (best.port.name, best.gid.index, best.gid.kind) == ("mlx5_2 port 1", 2, "RoCE v2")
    assert chosen(machine, device="mlx5_0").gid.index == 3
    assert chosen(machine, device="mlx5_0", gid_index=0).gid.kind == "RoCE v1"
    assert str(best) == "mlx5_2 port 1, RoCE v2, GID 2, 10.0.0.1, 100 Gb/sec"


def test_routed_addresses_come_before_those_of_one_link(machine):
    machine.port(gids=[(LOCAL, "RoCE v2"), (IPV6, "RoCE v2")])
    assert chosen(machine).gid.index == 1


def test_infiniband_is_named_as_such(machine):
    machine.port("ib0", layer="InfiniBand", gids=[(LOCAL, "IB/RoCE v1")])
    assert chosen(machine).gid.kind == "InfiniBand"


def test_names_that_are_not_there(machine):
    machine.port(gids=GOOD)
    with pytest.raises(ConfigError, match=r"ib.device: unknown RDMA device 'mlx5_1': .*did you mean 'mlx5_0'"):
        chosen(machine, device="mlx5_1")
    with pytest.raises(ConfigError, match=r"ib.port: there is no port 2: mlx5_0 port 1"):
        chosen(machine, port=2)
    with pytest.raises(ConfigError, match=r"ib.gid_index: mlx5_0 port 1 has no GID 9: in use are 0, 1, 2, 3"):
        chosen(machine, gid_index=9)
    machine.port("rxe0", state="1: DOWN")
    with pytest.raises(BackendUnavailable, match="rxe0 port 1 is DOWN"):
        chosen(machine, device="rxe0")


def test_importing_the_plugin_loads_no_library():
    program = "import sys, hal_ib.plugin; sys.exit(bool({'pyverbs', 'hal_ib._native'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
