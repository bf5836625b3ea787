"""A store with several users in one process."""

from __future__ import annotations

import threading
from typing import Self

from hal.bootstrap.store import Store


class SharedStore:
    """Closes its store with the last of its users: a communicator, and those that were made from it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._users = 0
        self._lock = threading.Lock()

    def keep(self) -> Self:
        """One more user."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """One user less; after the last one the store is closed."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._store.close()
