"""Collectives for HAL: `init()` gives a `Communicator`, with the habits of torch.distributed and mpi4py."""

from hal_collectives.communicator import Communicator
from hal_collectives.device_array import DeviceArray
from hal_collectives.launch import init, local, run_local
from hal_collectives.persistent import CollectiveCall
from hal_collectives.work import Work

__all__ = ["CollectiveCall", "Communicator", "DeviceArray", "Work", "init", "local", "run_local"]
