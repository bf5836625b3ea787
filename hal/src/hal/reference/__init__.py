"""The reference interpreter: what a plan means, as slow and plainly readable Python.

Every other executor is compared with it bit for bit. It runs any number of ranks in one process, under any schedule.
"""

from hal.reference.deadlock import Deadlock, Stall
from hal.reference.run import Result, run
from hal.reference.schedule import Schedule
from hal.reference.task import Task

__all__ = ["Deadlock", "Result", "Schedule", "Stall", "Task", "run"]
