"""Which backend has a GPU here: prints it as JSON, or why none has and ends with status 1."""

from __future__ import annotations

import json
import sys

from hal.interface.capability import Capability
from hal.plugins import discover


def main() -> int:
    """Look at the backends that compile kernels and have memory of their own."""
    backends = discover()
    wanted = sys.argv[1:] or sorted(backend.name for backend in backends.backends)
    for name in wanted:
        backend = backends.get(name)
        declared = set(backend.info.capabilities)
        if not sys.argv[1:] and (Capability.COMPILE not in declared or Capability.HOST_MAPPED in declared):
            continue
        probe = backend.probe()
        if probe.available:
            print(json.dumps({"backend": name, "device": probe.devices[0], "version": backend.version}))
            return 0
        for problem in probe.problems:
            print(f"{name}: {problem.what}: {problem.remedy}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
