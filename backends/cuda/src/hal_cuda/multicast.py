"""Multicast memory, by the driver's own library: CuPy does not bind these calls.

Names, structures and values are those of cuda.h. It has not run on a GPU.
"""

from __future__ import annotations

import ctypes
from typing import Any

from hal.gpu.multicast import MulticastCalls

LIBRARY = "libcuda.so.1"

_int, _u64, _size, _pointer = ctypes.c_int, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p
_CALLS = {
    "cuDeviceGet": (_pointer, _int),
    "cuDeviceGetAttribute": (_pointer, _int, _int),
    "cuGetErrorString": (_int, _pointer),
    "cuMemAddressFree": (_u64, _size),
    "cuMemAddressReserve": (_pointer, _size, _size, _u64, _u64),
    "cuMemCreate": (_pointer, _size, _pointer, _u64),
    "cuMemExportToShareableHandle": (_pointer, _u64, _int, _u64),
    "cuMemGetAllocationGranularity": (_pointer, _pointer, _int),
    "cuMemImportFromShareableHandle": (_pointer, _pointer, _int),
    "cuMemMap": (_u64, _size, _size, _u64, _u64),
    "cuMemRelease": (_u64,),
    "cuMemSetAccess": (_u64, _size, _pointer, _size),
    "cuMemUnmap": (_u64, _size),
    "cuMulticastAddDevice": (_u64, _int),
    "cuMulticastBindMem": (_u64, _size, _u64, _size, _size, _u64),
    "cuMulticastCreate": (_pointer, _pointer),
    "cuMulticastGetGranularity": (_pointer, _pointer, _int),
    "cuMulticastUnbind": (_u64, _int, _size, _size),
}

_MULTICAST_SUPPORTED = 132
_PINNED, _ON_DEVICE, _POSIX_FILE_DESCRIPTOR, _READ_WRITE = 1, 1, 1, 3
_MINIMUM, _RECOMMENDED = 0, 1


class DriverError(RuntimeError):
    """The driver refuses a call."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class _Location(ctypes.Structure):
    _fields_ = (("type", _int), ("id", _int))


class _AllocationProperties(ctypes.Structure):
    _fields_ = (
        ("type", _int),
        ("handle_types", _int),
        ("location", _Location),
        ("windows", _pointer),
        ("compression", ctypes.c_ubyte),
        ("rdma", ctypes.c_ubyte),
        ("usage", ctypes.c_ushort),
        ("reserved", ctypes.c_ubyte * 4),
    )


class _ObjectProperties(ctypes.Structure):
    _fields_ = (("devices", ctypes.c_uint), ("size", _size), ("handle_types", _u64), ("flags", _u64))


class _Access(ctypes.Structure):
    _fields_ = (("location", _Location), ("flags", _int))


class CudaMulticast(MulticastCalls):
    """The calls of one device."""

    def __init__(self, library: ctypes.CDLL, index: int) -> None:
        """`DriverError` where there is no such device."""
        self._library = library
        device = _int()
        self._call("cuDeviceGet", ctypes.byref(device), index)
        self._device = device.value
        self._location = _Location(_ON_DEVICE, self._device)
        self._properties = _AllocationProperties(_PINNED, _POSIX_FILE_DESCRIPTOR, self._location)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(text))
            raise DriverError(status, f"{name}: {(text.value or b'unknown error').decode()} ({status})")

    def supported(self) -> bool:
        """Whether the device has multicast memory."""
        found = _int()
        self._call("cuDeviceGetAttribute", ctypes.byref(found), _MULTICAST_SUPPORTED, self._device)
        return found.value == 1

    def _object_properties(self, members: int, nbytes: int) -> _ObjectProperties:
        return _ObjectProperties(members, nbytes, _POSIX_FILE_DESCRIPTOR, 0)

    def granularity(self, members: int, nbytes: int) -> int:
        """See `MulticastCalls.granularity`. The recommended one of objects, half a GiB on some devices, is too much."""
        whole, memory = _size(), _size()
        properties = self._object_properties(members, nbytes)
        self._call("cuMulticastGetGranularity", ctypes.byref(whole), ctypes.byref(properties), _MINIMUM)
        own = ctypes.byref(self._properties)
        self._call("cuMemGetAllocationGranularity", ctypes.byref(memory), own, _RECOMMENDED)
        return max(whole.value, memory.value)

    def memory(self, nbytes: int) -> int:
        """See `MulticastCalls.memory`."""
        handle = _u64()
        self._call("cuMemCreate", ctypes.byref(handle), nbytes, ctypes.byref(self._properties), 0)
        return handle.value

    def object(self, members: int, nbytes: int) -> int:
        """See `MulticastCalls.object`."""
        handle, properties = _u64(), self._object_properties(members, nbytes)
        self._call("cuMulticastCreate", ctypes.byref(handle), ctypes.byref(properties))
        return handle.value

    def add(self, handle: int) -> None:
        """See `MulticastCalls.add`."""
        self._call("cuMulticastAddDevice", handle, self._device)

    def bind(self, handle: int, memory: int, nbytes: int) -> None:
        """See `MulticastCalls.bind`."""
        self._call("cuMulticastBindMem", handle, 0, memory, 0, nbytes, 0)

    def unbind(self, handle: int, nbytes: int) -> None:
        """See `MulticastCalls.unbind`."""
        self._call("cuMulticastUnbind", handle, self._device, 0, nbytes)

    def export(self, handle: int) -> int:
        """See `MulticastCalls.export`."""
        descriptor = _int(-1)
        self._call("cuMemExportToShareableHandle", ctypes.byref(descriptor), handle, _POSIX_FILE_DESCRIPTOR, 0)
        return descriptor.value

    def imported(self, descriptor: int) -> int:
        """See `MulticastCalls.imported`. The call takes the descriptor in place of a pointer."""
        handle = _u64()
        self._call("cuMemImportFromShareableHandle", ctypes.byref(handle), descriptor, _POSIX_FILE_DESCRIPTOR)
        return handle.value

    def map(self, handle: int, nbytes: int, unit: int) -> int:
        """See `MulticastCalls.map`."""
        address, access = _u64(), _Access(self._location, _READ_WRITE)
        self._call("cuMemAddressReserve", ctypes.byref(address), nbytes, unit, 0, 0)
        mapped = False
        try:
            self._call("cuMemMap", address, nbytes, 0, handle, 0)
            mapped = True
            self._call("cuMemSetAccess", address, nbytes, ctypes.byref(access), 1)
        except DriverError:
            if mapped:
                self._library.cuMemUnmap(address, nbytes)
            self._library.cuMemAddressFree(address, nbytes)
            raise
        return address.value

    def unmap(self, address: int, nbytes: int) -> None:
        """See `MulticastCalls.unmap`."""
        self._call("cuMemUnmap", address, nbytes)
        self._call("cuMemAddressFree", address, nbytes)

    def release(self, handle: int) -> None:
        """See `MulticastCalls.release`."""
        self._call("cuMemRelease", handle)


def multicast_calls(index: int) -> CudaMulticast | None:
    """The calls of a device; None where it, or this version of the driver (before 12.1), has no multicast memory."""
    try:
        library = ctypes.CDLL(LIBRARY)
        for name, parameters in _CALLS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = _int, parameters
    except (OSError, AttributeError):
        return None
    calls = CudaMulticast(library, index)
    return calls if calls.supported() else None
