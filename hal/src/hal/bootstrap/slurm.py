"""What SLURM's variables say about nodes: the first host of a node list, the tasks on one node, a port for the job."""

from __future__ import annotations

import re

from hal.interface.errors import UsageError

# below Linux's default range of ephemeral ports, so that no outgoing connection takes one by chance
_FIRST_PORT, _PORTS = 20000, 10000


def first_host(node_list: str, *, variable: str) -> str:
    """The first host of a node list such as `node[003-007,9],gpu1`: here `node003`."""
    first = re.match(r"(?:[^,\[\]]|\[[^\[\]]*\])+", node_list)
    host = re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first.group()) if first else ""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", host):
        raise UsageError(f"{variable} is {node_list!r}: expected a node list such as node[01-04],gpu1")
    return host


def tasks_on_node(tasks_per_node: str, node: int, *, variable: str) -> int:
    """The number of tasks on node number `node` by a list such as `4(x2),3`: 4 on nodes 0 and 1, 3 on node 2."""
    counts: list[int] = []
    for part in tasks_per_node.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:\(x(\d{1,6})\))?", part, re.ASCII)
        if match is None:
            raise UsageError(f"{variable} is {tasks_per_node!r}: expected counts such as 4(x2),3")
        counts += [int(match[1])] * int(match[2] or 1)
    if node >= len(counts):
        raise UsageError(f"{variable} is {tasks_per_node!r}: it says nothing of node {node} (SLURM_NODEID)")
    return counts[node]


def port_of_job(job: int, step: int) -> int:
    """A port that all ranks of a job step derive alike, and that steps running side by side seldom share."""
    return _FIRST_PORT + (job + 97 * step) % _PORTS
