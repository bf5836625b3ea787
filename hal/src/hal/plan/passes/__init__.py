"""Passes: functions from plans to plans. Each says what it does, what it keeps, and where it does not apply."""

from hal.plan.passes.fusion import fuse
from hal.plan.passes.pieces import pipeline
from hal.plan.passes.replication import instances
from hal.plan.passes.synchronise import conflicts, synchronise

__all__ = ["conflicts", "fuse", "instances", "pipeline", "synchronise"]
