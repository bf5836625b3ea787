"""DLPack for arrays in a device's memory: what other libraries' arrays hold, and our own given to them.

NumPy reads what lies in the host's memory; this is for what it cannot reach. Layout and codes are those of dlpack.h
(version 0.8, capsules named "dltensor").
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from hal.interface.dtypes import DType

_INT, _UINT, _FLOAT, _BFLOAT, _BOOL, _E4M3FN, _E5M2 = 0, 1, 2, 4, 6, 10, 12
_CODES = {
    DType.BFLOAT16: (_BFLOAT, 16),
    DType.FLOAT8_E4M3: (_E4M3FN, 8),
    DType.FLOAT8_E5M2: (_E5M2, 8),
    **{
        dtype: ({"i": _INT, "u": _UINT, "f": _FLOAT}[dtype.numpy.kind], 8 * dtype.itemsize)
        for dtype in DType
        if dtype.numpy.kind in "iuf" and dtype <= DType.FLOAT64
    },
}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}
_NAME = b"dltensor"


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_python = ctypes.pythonapi
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))
_pointer_raw = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _python))
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(("PyCapsule_New", _python))


@dataclass(frozen=True)
class Described:
    """What an array in a device's memory is."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    """In elements; None where the array is contiguous."""
    dtype: DType | None
    """None for a type that HAL does not have."""
    type_text: str
    writable: bool = True
    stream: int | None = None
    """The stream in whose order it will be ready, where there is one to be waited for."""


def describe(capsule: object) -> Described:
    """What a capsule holds; `ValueError` where it is none. The capsule is not consumed: its maker frees it."""
    managed = _Managed.from_address(_pointer(capsule, _NAME))
    tensor = managed.tensor
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = tuple(tensor.strides[i] for i in range(tensor.ndim)) if tensor.strides else None
    dtype = _DTYPES.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
    text = f"DLPack code {tensor.code}, {tensor.bits} bits, {tensor.lanes} lanes"
    return Described((tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, text)


_given: dict[int, tuple[Any, ...]] = {}
"""What capsules that are out refer to, by the address of their structure."""


def _delete(managed: Any) -> None:
    _given.pop(ctypes.addressof(managed.contents), None)


def _destroy(capsule: int) -> None:
    if _is_valid(capsule, _NAME):  # whoever consumes a capsule renames it, and calls the deleter
        _given.pop(_pointer_raw(capsule, _NAME), None)


_deleter, _destructor = _Deleter(_delete), _Destructor(_destroy)


def capsule(owner: object, address: int, shape: tuple[int, ...], dtype: DType, device: tuple[int, int]) -> Any:
    """A capsule for a contiguous array; it keeps `owner` alive."""
    dims = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    code, bits = _CODES[dtype]
    tensor = _Tensor(address, *device, len(shape), code, bits, 1, dims, None, 0)
    managed = _Managed(tensor, None, _deleter)
    at = ctypes.addressof(managed)
    _given[at] = managed, dims, owner
    return _new(at, _NAME, _destructor)
