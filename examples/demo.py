"""Every collective, on four ranks of this machine, measured and checked: `python examples/demo.py`.

Under `hal run`, torchrun or mpirun it uses the ranks of the job instead.
"""

import sys

from hal.bootstrap import detect
from hal_collectives.bench import Settings, bench
from hal_collectives.bench.settings import ALL, read_collectives

RANKS = 4


def main() -> int:
    job = detect()
    settings = Settings(
        collectives=read_collectives([ALL]), min_bytes=1 << 10, max_bytes=1 << 20, factor=32, iterations=10, rounds=1
    )
    status = bench(settings, ranks=RANKS if job.launcher == "single" else None)
    if status == 0 and job.rank == 0:
        print("all results correct")
    return status


if __name__ == "__main__":
    sys.exit(main())
