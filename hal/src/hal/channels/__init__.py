"""Channels called from Python: one transfer or one signal at a time, between two ranks or in a group.

A primitive is a small plan, built once and cached, that the executor runs as it runs any other. So there is one
executor to get right, and a primitive is tested through the same door as a collective.

A primitive has two ends, and each rank calls its own: what one `put`s the other `accept`s, what one `signal`s the other
`wait`s for. A call returns when this end is done, and raises `StallTimeout` where the other end does not come before
the deadline. Between two ranks calls of one direction match in the order in which they are made.
"""

from hal.channels.memory import MemoryChannel, PacketChannel
from hal.channels.port import PortChannel
from hal.channels.semaphore import Semaphore
from hal.channels.switch import SwitchChannel

__all__ = ["MemoryChannel", "PacketChannel", "PortChannel", "Semaphore", "SwitchChannel"]
