"""Hosts on one machine: network namespaces on a bridge, whose cables can be made slow and lossy, or be pulled."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self


class Unavailable(Exception):  # noqa: N818 -- said of a network, as `BackendUnavailable` is of backends
    """Why this machine makes no such network, or no such cable."""


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise Unavailable(f"`{' '.join(words)}`: {done.stderr.strip() or f'exit status {done.returncode}'}")


class Network:
    """A bridge in a namespace of its own, and hosts, each in another, with a cable to it. All goes with `close`.

    Host h has the address 10.77.0.(h + 1). The namespaces are this network's alone, and so are the addresses.
    """

    def __init__(self, hosts: int) -> None:
        for tool in ("ip", "tc"):
            if shutil.which(tool) is None:
                raise Unavailable(f"there is no program {tool!r} (package iproute2)")
        self._switch = f"hal-{os.getpid()}-{id(self):x}"
        self._made: list[str] = []
        try:
            self._add(self._switch)
            _run("ip", "-n", self._switch, "link", "add", "bridge", "type", "bridge")
            _run("ip", "-n", self._switch, "link", "set", "bridge", "up")
            for host in range(hosts):
                self._add_host(host)
        except BaseException:
            self.close()
            raise

    def _add(self, name: str) -> None:
        _run("ip", "netns", "add", name)
        self._made.append(name)
        _run("ip", "-n", name, "link", "set", "lo", "up")

    def _add_host(self, host: int) -> None:
        name, port = self._name(host), f"port{host}"
        self._add(name)
        ends = ("type", "veth", "peer", "name", port, "netns", self._switch)
        _run("ip", "-n", name, "link", "add", "cable", *ends)
        _run("ip", "-n", name, "address", "add", f"{self.address(host)}/24", "dev", "cable")
        _run("ip", "-n", name, "link", "set", "cable", "up")
        _run("ip", "-n", self._switch, "link", "set", port, "master", "bridge", "up")

    def _name(self, host: int) -> str:
        return f"{self._switch}-{host}"

    def address(self, host: int) -> str:
        """Of a host."""
        return f"10.77.0.{host + 1}"

    def before(self, host: int) -> Sequence[str]:
        """The words before a command that is to run on a host; the process is the command's own."""
        return ("ip", "netns", "exec", self._name(host))

    def impair(self, host: int, *netem: str) -> None:
        """Let what a host sends be late or lost, in the words of tc-netem(8); `Unavailable` where the kernel cannot."""
        _run("tc", "-n", self._name(host), "qdisc", "replace", "dev", "cable", "root", "netem", *netem)

    def pull(self, host: int) -> None:
        """Pull a host's cable out of the bridge: nothing arrives any more, and nobody is told."""
        _run("ip", "-n", self._switch, "link", "set", f"port{host}", "nomaster", "down")

    def close(self) -> None:
        """Remove all; processes on the hosts have ended."""
        made, self._made = self._made, []
        for name in made:
            _run("ip", "netns", "del", name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def environments(network: Network, hosts: Sequence[int], secret: str) -> list[dict[str, str]]:
    """What tells each rank who it is, where rank r runs on `hosts[r]`; rank 0 serves the store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]  # likely to be free on host 0 as well, where nobody else is
    common = {name: value for name, value in os.environ.items() if not name.startswith("HAL_")} | {
        "HAL_SIZE": str(len(hosts)),
        "HAL_STORE": f"{network.address(hosts[0])}:{port}",
        "HAL_JOB_SECRET": secret,
    }
    return [
        common
        | {
            "HAL_RANK": str(rank),
            "HAL_LOCAL_RANK": str(hosts[:rank].count(host)),
            "HAL_LOCAL_SIZE": str(hosts.count(host)),
            "HAL_HOST_ID": f"host{host}",
        }
        for rank, host in enumerate(hosts)
    ]
