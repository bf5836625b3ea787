"""Capabilities: what a device or transport declares, and all that anybody may rely on."""

from __future__ import annotations

import enum


class Capability(enum.Enum):
    """An optional ability. What is not declared refuses with `NotSupported`."""

    EXECUTOR = "executor"
    """The device runs plans with an executor of its own (`Device.create_executor`)."""
    COMPILE = "compile"
    """The device compiles and launches kernels (`Device.compile`, `Device.launch`)."""
    HOST_MAPPED = "host_mapped"
    """Memory of the device can be read and written by the CPU at the same address."""
    MULTICAST = "multicast"
    """Memory of several devices can be bound to one address: stores reach all, loads return a reduction."""
    SWITCH_EMULATION = "switch_emulation"
    """The executor runs plans with switch channels without multicast memory: it loads from and stores to every member
    in turn."""
    ENQUEUE = "enqueue"
    """The executor runs collectives in the order of a stream (`Executable.enqueue`)."""
    GRAPH_CAPTURE = "graph_capture"
    """Work enqueued on a stream can be captured and replayed (`Stream.capture`)."""
    ATOMIC_ADD = "atomic_add"
    """A transport adds to remote memory atomically."""
    GET = "get"
    """A transport reads remote memory."""
    NATIVE_POSTING = "native_posting"
    """Operations of a transport can be posted without Python (`Connection.native`)."""
    REMOTE_MEMBERS = "remote_members"
    """The executor reaches members whose memory is not mapped (`Membership.transports`), by NATIVE_POSTING and GET."""
