"""Rank, size and a rendezvous: who this process is in its job, and the store through which ranks first meet."""

from hal.bootstrap.launch import Launch, detect
from hal.bootstrap.rendezvous import connect
from hal.bootstrap.server import StoreServer
from hal.bootstrap.shared import SharedStore
from hal.bootstrap.store import Store
from hal.bootstrap.wire import Limits

__all__ = ["Launch", "Limits", "SharedStore", "Store", "StoreServer", "connect", "detect"]
