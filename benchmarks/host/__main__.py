"""`python -m benchmarks.host`."""

from benchmarks.host.cli import main

main()
