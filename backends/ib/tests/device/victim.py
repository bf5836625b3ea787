"""A process that connects, says its endpoint and key, and waits to be killed: victim.py POSTING."""

from __future__ import annotations

import ctypes
import sys
import time

from hal.interface.device import Memory
from hal_ib.choice import choose
from hal_ib.ports import ports
from hal_ib.settings import IbSettings
from hal_ib.transport import IbTransport

chosen = IbSettings(posting=sys.argv[1])
transport = IbTransport(choose(ports(), chosen), chosen)
memory = (ctypes.c_uint8 * 4096)()
registration = transport.register(Memory(ctypes.addressof(memory), 4096, None))
peer = bytes.fromhex(sys.stdin.readline())
own = transport.endpoint()
print(own.hex(), registration.key.hex(), sep="\n", flush=True)
transport.connect(own, peer, 60)
time.sleep(120)
