"""Test data whose reduction is known exactly, in every element type and operation and for any number of ranks.

A value depends on the rank and on its place by a hash of both, so that no stretch of one rank's data is a copy of
another stretch or of another rank's: data that arrives twice, not at all, or at the wrong place is noticed.

Reductions of floats must not depend on the order in which an algorithm combines the ranks, although each step may
round to the element type. So values are such that the result over *any* subset of ranks can be represented:

sum, avg    integers whose magnitudes, summed over all ranks, stay within what the mantissa holds
prod        powers of two whose exponents, summed over all ranks, stay within the normal numbers
min, max    any finite numbers

Where there are more ranks than the type has room for (8 for `float8_e5m2`), a part of the ranks, another one at each
place, contributes the neutral element. Integers wrap around exactly, so sum and prod use all of their bits; avg, which
divides, does not wrap.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from hal.interface.dtypes import DType, ReduceOp

Array = NDArray[Any]

_ACTIVE_IN_BITWISE = 4
"""Ranks that contribute to one `band` or `bor`: of more, the result would be all zeros or all ones."""

_LARGEST_MAGNITUDE = 1 << 30
_LARGEST_EXPONENT = 64

_FOLD: dict[ReduceOp, Callable[[Array, Array], Array]] = {
    ReduceOp.SUM: np.add,
    ReduceOp.PROD: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
    ReduceOp.AVG: np.add,
    ReduceOp.BAND: np.bitwise_and,
    ReduceOp.BOR: np.bitwise_or,
    ReduceOp.BXOR: np.bitwise_xor,
}


class Values:
    """The data of one call on `ranks` ranks: endless sequences, one a rank, and their reduction.

    Without `op` the data is only moved, and any bit pattern that is a finite number occurs. Another `seed` gives
    other data. Sequences repeat after 2^32 elements.
    """

    def __init__(self, dtype: DType, op: ReduceOp | None, ranks: int, seed: int) -> None:
        if op is not None:
            op.check(dtype)
        self._dtype = dtype
        self._op = op
        self._ranks = ranks
        self._seed = seed

    def of(self, rank: int, start: int, stop: int) -> Array:
        """Elements [start, stop) of a rank's sequence, as a new array."""
        return self._wide(rank, start, stop).astype(self._dtype.numpy, copy=False)

    def reduced(self, start: int, stop: int) -> Array:
        """Elements [start, stop) of the reduction over all ranks, as a new array. Needs an `op`."""
        assert self._op is not None
        fold = _FOLD[self._op]
        total = self._exact(0, start, stop)
        for rank in range(1, self._ranks):
            total = fold(total, self._exact(rank, start, stop))
        if self._op is ReduceOp.AVG:
            total = self._divided(total)
        result: Array = total.astype(self._dtype.numpy, copy=False)
        return result

    def _exact(self, rank: int, start: int, stop: int) -> Array:
        """A rank's elements in a type in which folding is exact: float64 holds all partial results of any float."""
        wide = self._wide(rank, start, stop)
        return wide.astype(np.float64, copy=False) if self._dtype.is_float else wide

    def _wide(self, rank: int, start: int, stop: int) -> Array:
        """A rank's elements, in the element type or in a wider one that holds them exactly."""
        dtype, op = self._dtype, self._op
        bits = _scramble(start, stop, _key(self._seed, rank))
        if op is None or op in (ReduceOp.MIN, ReduceOp.MAX, ReduceOp.BXOR):
            return _pattern(bits, dtype)
        if op in (ReduceOp.BAND, ReduceOp.BOR):
            return self._bitwise(bits, rank, start, stop)
        if op is ReduceOp.PROD:
            if dtype.is_float:
                exponents = self._bounded(bits, rank, start, stop, _exponent_room(dtype), _LARGEST_EXPONENT)
                signs = 1.0 - 2.0 * (bits >> np.uint32(30) & np.uint32(1))
                powers: Array = np.ldexp(signs, exponents.astype(np.int32))
                return powers
            odd: Array = _pattern(bits, dtype) | dtype.numpy.type(1)  # so that no product is ever zero
            return odd
        if op is ReduceOp.SUM and not dtype.is_float:
            return _pattern(bits, dtype)
        return self._bounded(bits, rank, start, stop, _integer_room(dtype), _LARGEST_MAGNITUDE)

    def _bounded(self, bits: Array, rank: int, start: int, stop: int, room: int, largest: int) -> Array:
        """Integers other than zero, of both signs where there are two, whose magnitudes sum up to at most `room`."""
        share = min(max(1, room // self._ranks), largest)
        magnitude_bits = share.bit_length() - 1
        values = (bits & np.uint32((1 << magnitude_bits) - 1)).astype(np.int64) + 1
        if self._dtype.numpy.kind != "u":
            values *= 1 - 2 * (bits >> np.uint32(31)).astype(np.int64)
        silent = self._silent(rank, start, stop, room)
        if silent is not None:
            values[silent] = 0
        return values if self._dtype.is_float else values.astype(self._dtype.numpy)

    def _bitwise(self, bits: Array, rank: int, start: int, stop: int) -> Array:
        values = _pattern(bits, self._dtype)
        silent = self._silent(rank, start, stop, _ACTIVE_IN_BITWISE)
        if silent is not None:
            zero = self._dtype.numpy.type(0)
            values[silent] = ~zero if self._op is ReduceOp.BAND else zero
        return values

    def _silent(self, rank: int, start: int, stop: int, room: int) -> Array | None:
        """Where this rank contributes nothing, so that at most `room` ranks do; None where all of them may."""
        groups = -(-self._ranks // room)
        if groups == 1:
            return None
        chosen = (_scramble(start, stop, _key(self._seed, -1)) >> np.uint32(16)) * np.uint32(groups) >> np.uint32(16)
        silent: Array = chosen != rank % groups
        return silent

    def _divided(self, total: Array) -> Array:
        """The average as `ReduceOp` defines it: rounded once in the accumulator's type, integers towards zero."""
        if self._dtype.is_float:
            accumulator = self._dtype.accumulator.numpy
            average: Array = total.astype(accumulator) / accumulator.type(self._ranks)
            return average
        wide = total.astype(np.uint64 if total.dtype.kind == "u" else np.int64)
        ranks = wide.dtype.type(self._ranks)
        quotient: Array = (wide - np.fmod(wide, ranks)) // ranks
        return quotient


def _finfo(dtype: DType) -> Any:
    return ml_dtypes.finfo(dtype.numpy)  # type: ignore[no-untyped-call]  # it has no types


def _integer_room(dtype: DType) -> int:
    """The largest integer up to which the type represents all."""
    if dtype.is_float:
        return int(2 ** (_finfo(dtype).nmant + 1))
    return int(np.iinfo(dtype.numpy).max)


def _exponent_room(dtype: DType) -> int:
    """The largest exponent e such that 2^e and 2^-e are normal numbers."""
    limits = _finfo(dtype)
    return int(min(-limits.minexp, limits.maxexp - 1))


def _pattern(bits: Array, dtype: DType) -> Array:
    """The hash as elements, of which any bit may be set, with infinities and NaN left out."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    words = bits.astype(unsigned, copy=False)
    if dtype.itemsize == 8:
        words = words * np.uint64(0x9E3779B97F4A7C15)
    if dtype.is_float:
        # the exponent's lowest bit: without it the exponent is never the highest one
        words = words & ~unsigned.type(1 << int(_finfo(dtype).nmant))
    return words.view(dtype.numpy)


@functools.lru_cache(maxsize=4096)
def _key(seed: int, rank: int) -> np.uint32:
    """A key for a rank's sequence; a fixed function, the same in every process."""
    mixed = ((seed * 0x100003 + rank + 2) * 0x9E3779B97F4A7C15) % 2**64
    mixed = ((mixed ^ (mixed >> 31)) * 0xBF58476D1CE4E5B9) % 2**64
    return np.uint32(mixed >> 32)


def _scramble(start: int, stop: int, key: np.uint32) -> Array:
    """A hash of each number in [start, stop) and the key, as uint32 (the steps of MurmurHash3's finaliser).

    The key comes in between the two multiplications: added to the numbers it would only shift the sequence.
    """
    x = np.arange(stop - start, dtype=np.uint32)
    x += np.uint32(start & 0xFFFFFFFF)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(15)
    x ^= key
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0x27D4EB2F)
    x ^= x >> np.uint32(16)
    return x
