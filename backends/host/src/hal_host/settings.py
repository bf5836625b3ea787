"""The `host` section of the configuration."""

from __future__ import annotations

import attrs

from hal.config import kinds, setting


@attrs.frozen
class HostSettings:
    """How the host backend uses memory and waits."""

    segment_size: int = setting(
        "64G", kinds.size(at_least=1 << 24), "address space for a process's shared memory; pages count once touched"
    )
    scratch_size: int = setting(
        "4M",
        kinds.size(at_least=1 << 16),
        "scratch of a communicator on each rank, half of it for one launch; packets have as much again",
    )
    single_copy: int = setting(
        "2M",
        kinds.size(at_least=0),
        "bytes from which the kernel copies plain arrays; gather, scatter 2, all_gather 4, messages 16 times; 0: never",
    )
    processors: int = setting(
        0,
        kinds.integer(),
        "how many ranks run at once; where there are no more, long messages go round in scratch; 0: the machine's",
    )
    spin: int = setting(20, kinds.integer(), "pauses of a waiting rank before it yields its processor")
    yields: int = setting(1000, kinds.integer(), "yields of a waiting rank before it sleeps")
    trace_events: int = setting(
        100000, kinds.integer(at_least=1), "events of a recorded run that a rank keeps, the last ones; 56 bytes each"
    )
