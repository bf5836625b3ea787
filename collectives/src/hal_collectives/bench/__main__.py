"""One rank of a benchmark that `hal bench` started: `python -m hal_collectives.bench SETTINGS`, as JSON."""

from __future__ import annotations

import signal
import sys

from hal.cli.group import ERROR_STATUS
from hal.cli.output import print_error
from hal.interface.errors import HalError
from hal_collectives.bench.launching import join
from hal_collectives.bench.settings import Settings


def main() -> int:
    """Take part in the benchmark; the exit status."""
    try:
        return join(Settings.from_json(sys.argv[1]))
    except HalError as error:
        print_error(str(error))
        return ERROR_STATUS
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
