"""One rank of `hal tune`: `python -m hal_collectives.tune OUTPUT ROUNDS SIZES COLLECTIVES CONFIG`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from hal.cli.group import ERROR_STATUS
from hal.cli.output import print_error
from hal.interface.errors import HalError
from hal_collectives.launch import init
from hal_collectives.tune.measure import Pace, measure


def main() -> int:
    """Measure with the other ranks; rank 0 writes the times as JSON. The exit status."""
    output, rounds, sizes, collectives, config = sys.argv[1:]
    try:
        with init(config_path=config or None) as comm:
            pace = Pace(rounds=int(rounds))
            found = measure(comm, collectives.split(","), [int(size) for size in sizes.split(",")], pace)
            if comm.rank == 0:
                Path(output).write_text(json.dumps([asdict(timing) for timing in found]))
    except HalError as error:
        print_error(str(error))
        return ERROR_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
