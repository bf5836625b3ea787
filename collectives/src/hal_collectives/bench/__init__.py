"""`hal bench`: measure and check the collectives, with nccl-tests' options, columns and bandwidths."""

from hal_collectives.bench.cli import app
from hal_collectives.bench.launching import bench
from hal_collectives.bench.report import Report
from hal_collectives.bench.session import run
from hal_collectives.bench.settings import Settings

__all__ = ["Report", "Settings", "app", "bench", "run"]
