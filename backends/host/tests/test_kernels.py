"""The native reduction and copy kernels against NumPy and ml_dtypes, in every instruction set this CPU has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal_host import _native

ISAS = ("baseline", "avx2", "avx512", "avx512vbmi", "avx512fp16")
GUARD = 64
GUARD_BYTE = 0xA5
COUNTS = (0, 1, 3, 15, 16, 17, 63, 64, 65, 1000, 4099)
SOURCES = (1, 2, 3, 4, 5, 8, 16)
DESTINATIONS = (1, 2, 3)
DEFINED = [(d, o) for d in DType for o in ReduceOp if not (d.is_float and o.is_bitwise)]
FLOATS = [d for d in DType if d.is_float]
NARROW = [d for d in FLOATS if d.accumulator is not d]

Array = np.ndarray[Any, np.dtype[Any]]
finfo: Any = ml_dtypes.finfo  # has no types of its own


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.kernel_isa()
    try:
        _native.set_kernel_isa(request.param)
    except ValueError:
        pytest.skip(f"this CPU or build has no {request.param} kernels")
    yield request.param
    _native.set_kernel_isa(before)


class Buffer:
    """An array at any alignment between guard bytes."""

    def __init__(self, values: Array, offset: int = 0) -> None:
        nbytes = values.nbytes
        self.raw = np.full(nbytes + 2 * GUARD + 64, GUARD_BYTE, np.uint8)
        begin = -self.raw.ctypes.data % 64 + GUARD // 2 + offset
        self.inside = slice(begin, begin + nbytes)
        self.address = self.raw.ctypes.data + begin
        self.dtype = values.dtype
        self.raw[self.inside] = values.view(np.uint8)

    @property
    def values(self) -> Array:
        return self.raw[self.inside].copy().view(self.dtype)

    def assert_guards_untouched(self) -> None:
        assert (self.raw[: self.inside.start] == GUARD_BYTE).all()
        assert (self.raw[self.inside.stop :] == GUARD_BYTE).all()


def expected(op: ReduceOp, divisor: int, sources: list[Array], dtype: DType) -> Array:
    """The rules of `hal.interface.dtypes`, one NumPy operation at a time."""
    divides = op is ReduceOp.AVG and divisor > 1
    if len(sources) == 1 and not divides:
        return sources[0]
    wide = dtype.accumulator.numpy
    acc = sources[0].astype(wide)
    with np.errstate(all="ignore"):
        for source in sources[1:]:
            acc = combine(op, acc, source.astype(wide))
        if divides and dtype.is_float:
            acc = acc / wide.type(divisor)
        elif divides:
            acc = np.array([truncated(int(x), divisor) for x in acc], wide)
        return acc.astype(dtype.numpy)


def combine(op: ReduceOp, a: Array, b: Array) -> Array:
    match op:
        case ReduceOp.SUM | ReduceOp.AVG:
            return a + b
        case ReduceOp.PROD:
            return a * b
        case ReduceOp.MIN:
            return np.where((a < b) | np.isnan(a), a, b)
        case ReduceOp.MAX:
            return np.where((a > b) | np.isnan(a), a, b)
        case ReduceOp.BAND:
            return a & b
        case ReduceOp.BOR:
            return a | b
        case ReduceOp.BXOR:
            return a ^ b


def truncated(dividend: int, divisor: int) -> int:
    quotient = abs(dividend) // divisor
    return quotient if dividend >= 0 else -quotient


def raw_bits(values: Array) -> Array:
    return values.view(f"u{values.dtype.itemsize}")


def is_nan(values: Array) -> Array:
    with np.errstate(invalid="ignore"):  # ml_dtypes warns of signalling NaNs
        result: Array = np.isnan(values)
    return result


def canonical_nan(dtype: DType) -> int:
    """The bits of the NaN that kernels compute: positive, quiet, no payload."""
    codes = {DType.FLOAT8_E4M3: 0x7F, DType.FLOAT8_E5M2: 0x7E, DType.BFLOAT16: 0x7FC0, DType.FLOAT16: 0x7E00}
    return codes.get(dtype) or int(raw_bits(np.array([np.nan], dtype.numpy))[0])


def assert_same_bits(got: Array, want: Array) -> None:
    differs = raw_bits(got) != raw_bits(want)
    if want.dtype.kind not in "iu":
        differs &= ~(is_nan(got) & is_nan(want))
    where = np.flatnonzero(differs)
    assert where.size == 0, f"{where.size} differ, first at {where[0]}: got {got[where[0]]}, want {want[where[0]]}"


def random_values(dtype: DType, count: int, rng: np.random.Generator) -> Array:
    """Random bit patterns (so NaN, infinities and denormals too), and numbers near one in a half of the elements."""
    values = rng.integers(0, 256, count * dtype.itemsize, np.uint8).view(dtype.numpy)
    if dtype.is_float:
        ordinary = rng.standard_normal(count).astype(dtype.numpy)
        values = np.where(rng.integers(0, 2, count).astype(bool), ordinary, values)
    return values


def reduce(
    dtype: DType, op: ReduceOp, divisor: int, sources: list[Array], ndst: int = 1, streaming: bool = False
) -> list[Array]:
    """Run the kernel out of place on misaligned, guarded buffers, and check that it wrote nothing else."""
    srcs = [Buffer(s, offset=k * 5 % 32) for k, s in enumerate(sources)]
    dsts = [Buffer(np.zeros_like(sources[0]), offset=(j * 7 + 3) % 32) for j in range(ndst)]
    count = sources[0].size
    _native.reduce(dtype, op, divisor, [s.address for s in srcs], [d.address for d in dsts], count, streaming)
    for buffer in (*srcs, *dsts):
        buffer.assert_guards_untouched()
    for buffer, source in zip(srcs, sources, strict=True):
        assert (raw_bits(buffer.values) == raw_bits(source)).all()
    return [d.values for d in dsts]


def check(dtype: DType, op: ReduceOp, nsrc: int, ndst: int, count: int, streaming: bool) -> None:
    rng = np.random.default_rng([dtype, op, nsrc, ndst, count])
    sources = [random_values(dtype, count, rng) for _ in range(nsrc)]
    divisor = int(rng.choice([0, 1, nsrc, 3, 7, 16, 1000]))
    want = expected(op, divisor, sources, dtype)
    results = reduce(dtype, op, divisor, sources, ndst, streaming)
    assert_same_bits(results[0], want)
    for other in results[1:]:
        assert (raw_bits(other) == raw_bits(results[0])).all()


@pytest.mark.parametrize(("dtype", "op"), DEFINED, ids=lambda v: v.label)
def test_reductions_match_numpy(isa: str, dtype: DType, op: ReduceOp) -> None:
    # every number of sources, of destinations and every count occurs, but not all their combinations
    for i, count in enumerate(COUNTS):
        check(dtype, op, SOURCES[i % len(SOURCES)], DESTINATIONS[i % len(DESTINATIONS)], count, streaming=i % 4 == 3)
    check(dtype, op, 2, 1, 4099, streaming=True)


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [pytest.param(0, marks=pytest.mark.exhaustive), 1])
@pytest.mark.parametrize(("dtype", "op"), DEFINED, ids=lambda v: v.label)
def test_reductions_match_numpy_in_every_shape(isa: str, dtype: DType, op: ReduceOp, streamed: int) -> None:
    """Every second shape with streaming stores: the odd ones, or the even ones."""
    for i, (nsrc, ndst, count) in enumerate(itertools.product(SOURCES, DESTINATIONS, COUNTS)):
        check(dtype, op, nsrc, ndst, count, streaming=i % 2 == streamed)


@pytest.mark.parametrize("dtype", DType, ids=lambda v: v.label)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_destination_may_be_any_of_the_sources(isa: str, dtype: DType, streaming: bool) -> None:
    rng = np.random.default_rng(dtype)
    for nsrc in (1, 2, 5):
        sources = [random_values(dtype, 4099, rng) for _ in range(nsrc)]
        want = expected(ReduceOp.MAX, 1, sources, dtype)
        for chosen in (*([k] for k in range(nsrc)), list(range(nsrc))):
            srcs = [Buffer(s, offset=k) for k, s in enumerate(sources)]
            dsts = [srcs[k] for k in chosen]
            addresses = [s.address for s in srcs]
            _native.reduce(dtype, ReduceOp.MAX, 1, addresses, [d.address for d in dsts], 4099, streaming)
            for dst in dsts:
                assert_same_bits(dst.values, want)
            for source, values in zip(srcs, sources, strict=True):
                source.assert_guards_untouched()
                assert source in dsts or (raw_bits(source.values) == raw_bits(values)).all()


@pytest.mark.parametrize(("dtype", "op"), DEFINED, ids=lambda v: v.label)
def test_bits_do_not_depend_on_instruction_set_or_position(dtype: DType, op: ReduceOp) -> None:
    rng = np.random.default_rng([dtype, op])
    sources = [random_values(dtype, 4099, rng) for _ in range(3)]
    before = _native.kernel_isa()
    results = []
    for name in ISAS:
        try:
            _native.set_kernel_isa(name)
        except ValueError:
            continue
        results += reduce(dtype, op, 3, sources)
        # one by one, an element is handled by other code than in the midst of many
        results.append(np.concatenate([reduce(dtype, op, 3, [s[i : i + 1] for s in sources])[0] for i in range(64)]))
    _native.set_kernel_isa(before)
    assert results
    for other in results:
        assert (raw_bits(other) == raw_bits(results[0])[: other.size]).all()
    if dtype.is_float:
        nans = raw_bits(results[0])[is_nan(results[0])]
        overflowed = {0xFF} if dtype is DType.FLOAT8_E4M3 else set()  # here overflow keeps its sign
        assert {canonical_nan(dtype)} <= set(nans.tolist()) <= {canonical_nan(dtype)} | overflowed


@pytest.mark.parametrize("dtype", [d for d in DType if not d.is_float], ids=lambda v: v.label)
def test_averages_of_integers_are_truncated(isa: str, dtype: DType) -> None:
    info = np.iinfo(dtype.numpy)
    ends = [info.min, info.min + 1, info.max - 1, info.max]
    values = [*ends, -129, -128, -127, -9, -8, -7, -1, 0, 1, 7, 8, 127, 128, 255]
    values = [v for v in values if info.min <= v <= info.max]
    x, zero = np.array(values * 9, dtype.numpy), np.zeros(9 * len(values), dtype.numpy)
    for divisor in (2, 3, 4, 8, 64, 127, 128, 255, 256, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 30):
        [got] = reduce(dtype, ReduceOp.AVG, divisor, [x, zero])
        assert_same_bits(got, expected(ReduceOp.AVG, divisor, [x, zero], dtype))


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16], ids=lambda v: v.label)
def test_every_half_precision_pattern_survives_widening_and_narrowing(isa: str, dtype: DType) -> None:
    every = np.arange(65536, dtype=np.uint16).view(dtype.numpy)
    zero = np.full_like(every, -0.0)  # adding -0 leaves every number as it is
    [got] = reduce(dtype, ReduceOp.SUM, 1, [every, zero])
    assert_same_bits(got, every)


@pytest.mark.parametrize("dtype", [DType.FLOAT8_E4M3, DType.FLOAT8_E5M2], ids=lambda v: v.label)
@pytest.mark.parametrize("op", [o for o in ReduceOp if not o.is_bitwise], ids=lambda v: v.label)
def test_every_pair_of_float8_numbers(isa: str, dtype: DType, op: ReduceOp) -> None:
    every = np.arange(256, dtype=np.uint8)
    pairs = [np.repeat(every, 256).view(dtype.numpy), np.tile(every, 256).view(dtype.numpy)]
    for divisor in (2, 3):
        assert_same_bits(reduce(dtype, op, divisor, pairs)[0], expected(op, divisor, pairs, dtype))


def float32_between(dtype: DType, rng: np.random.Generator) -> Array:
    """float32 numbers around every number of a narrow type, its rounding boundaries and its range's ends."""
    codes = np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}")
    with np.errstate(invalid="ignore"):
        numbers = codes.view(dtype.numpy).astype(np.float32)
    numbers = np.sort(numbers[np.isfinite(numbers)])
    middles = (numbers[1:].astype(np.float64) + numbers[:-1]) / 2
    middles = np.concatenate([numbers, middles.astype(np.float32)])
    around = [middles, np.nextafter(middles, np.float32(np.inf)), np.nextafter(middles, np.float32(-np.inf))]
    patterns = rng.integers(0, 2**32, 100_000, np.uint64).astype(np.uint32).view(np.float32)
    return np.concatenate([*around, patterns])


@pytest.mark.parametrize("dtype", NARROW, ids=lambda v: v.label)
def test_narrowing_rounds_as_numpy_does(isa: str, dtype: DType) -> None:
    # A float32 comes about inside the accumulator as a sum of narrow numbers, its leading parts, largest first; what
    # is finer than any narrow number, by dividing such a sum by a power of two.
    wanted = float32_between(dtype, np.random.default_rng(dtype))
    largest = float(finfo(dtype.numpy).max)
    seen: set[int] = set()
    with np.errstate(all="ignore"):
        for divisor in (1, 2**20):
            rest = wanted[np.isfinite(wanted)].astype(np.float64) * divisor
            parts: list[Array] = []
            for _ in range(16):
                parts.append(np.clip(rest, -largest, largest).astype(dtype.numpy))
                rest = rest - parts[-1].astype(np.float64)
            want = expected(ReduceOp.AVG, divisor, parts, dtype)
            assert_same_bits(reduce(dtype, ReduceOp.AVG, divisor, parts)[0], want)
            seen.update(raw_bits(want).tolist())
    every = np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}")
    with np.errstate(invalid="ignore"):
        finite = every[np.isfinite(every.view(dtype.numpy).astype(np.float32))]
    assert set(finite.tolist()) <= seen, "every number should have come up"


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda v: v.label)
def test_special_numbers(isa: str, dtype: DType) -> None:
    info = finfo(dtype.numpy)
    special = [0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, info.max, info.min, info.tiny, info.smallest_subnormal]
    with np.errstate(all="ignore"):
        numbers = np.array([float(s) for s in special]).astype(dtype.numpy)
    pairs = [np.repeat(numbers, len(special)), np.tile(numbers, len(special))]
    for op in (ReduceOp.SUM, ReduceOp.PROD, ReduceOp.MIN, ReduceOp.MAX, ReduceOp.AVG):
        assert_same_bits(reduce(dtype, op, 2, pairs)[0], expected(op, 2, pairs, dtype))


def test_minimum_of_equal_operands_is_the_later_one(isa: str) -> None:
    zeros = np.array([0.0, -0.0], np.float32)
    for op in (ReduceOp.MIN, ReduceOp.MAX):
        assert np.signbit(reduce(DType.FLOAT32, op, 1, [zeros, zeros[::-1].copy()])[0]).tolist() == [True, False]


def test_a_narrow_sum_is_rounded_once(isa: str) -> None:
    # rounded after each addition, 2048 + 1 + 1 would stay 2048 in float16
    sources = [np.full(100, x, np.float16) for x in (2048, 1, 1)]
    assert (reduce(DType.FLOAT16, ReduceOp.SUM, 1, sources)[0] == 2050).all()


def test_integers_wrap_around_and_averages_truncate(isa: str) -> None:
    low, minus_one = np.full(70, -128, np.int8), np.full(70, -1, np.int8)
    assert (reduce(DType.INT8, ReduceOp.SUM, 1, [low, minus_one])[0] == 127).all()
    assert (reduce(DType.INT8, ReduceOp.PROD, 1, [low, minus_one])[0] == -128).all()
    assert (reduce(DType.INT8, ReduceOp.AVG, 2, [minus_one, minus_one, minus_one])[0] == -1).all()
    assert (reduce(DType.INT8, ReduceOp.AVG, 1000, [low])[0] == 0).all()


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8, DType.INT16, DType.UINT16], ids=lambda v: v.label)
def test_averages_of_every_narrow_integer(isa: str, dtype: DType) -> None:
    every = np.arange(65536).astype(dtype.numpy)
    for divisor in (2, 3, 7, 255, 641, 65535, 2**31 - 1):
        [got] = reduce(dtype, ReduceOp.AVG, divisor, [every])
        assert (got == expected(ReduceOp.AVG, divisor, [every], dtype)).all()


@pytest.mark.parametrize("dtype", [DType.INT32, DType.UINT32, DType.INT64, DType.UINT64], ids=lambda v: v.label)
def test_averages_just_beside_multiples(isa: str, dtype: DType) -> None:
    info = np.iinfo(dtype.numpy)
    for divisor in (2, 3, 1_000_003, 2**31 - 1):
        multiples = [info.max // divisor * divisor, info.min, info.max, divisor * 5, 0]
        near = [m + d for m in multiples for d in (-1, 0, 1) if info.min <= m + d <= info.max]
        values = np.array(near, dtype.numpy)
        assert (
            reduce(dtype, ReduceOp.AVG, divisor, [values])[0] == expected(ReduceOp.AVG, divisor, [values], dtype)
        ).all()


def test_one_source_is_copied_with_its_nan_payloads(isa: str) -> None:
    patterns = np.arange(65536, dtype=np.uint16).view(np.float16)
    for op, divisor in ((ReduceOp.SUM, 5), (ReduceOp.AVG, 1), (ReduceOp.AVG, 0), (ReduceOp.MIN, 1)):
        for got in reduce(DType.FLOAT16, op, divisor, [patterns], ndst=3):
            assert (raw_bits(got) == raw_bits(patterns)).all()


@pytest.mark.parametrize("streaming", [False, True])
def test_copy_moves_exactly_the_bytes_asked_for(isa: str, streaming: bool) -> None:
    rng = np.random.default_rng(0)
    for nbytes in (0, 1, 3, 15, 31, 63, 64, 65, 127, 255, 256, 257, 1000, 70_001):
        for to, at in ((0, 0), (1, 0), (0, 1), (17, 5), (31, 30)):
            source = Buffer(rng.integers(0, 256, nbytes, np.uint8), offset=at)
            target = Buffer(np.zeros(nbytes, np.uint8), offset=to)
            _native.copy(target.address, source.address, nbytes, streaming)
            assert (target.values == source.values).all()
            target.assert_guards_untouched()
            _native.copy(source.address, source.address, nbytes, streaming)
            assert (target.values == source.values).all()


def test_an_undefined_combination_is_refused() -> None:
    value = Buffer(np.ones(1, np.float32))
    with pytest.raises(ValueError, match="dtype code 10 and operation code 5"):
        _native.reduce(DType.FLOAT32, ReduceOp.BAND, 1, [value.address], [value.address], 1, False)
    with pytest.raises(ValueError, match="dtype code 14"):
        _native.reduce(14, ReduceOp.SUM, 1, [value.address], [value.address], 1, False)


def test_an_unknown_instruction_set_is_refused() -> None:
    before = _native.kernel_isa()
    assert before in ISAS
    with pytest.raises(ValueError, match="avx1024"):
        _native.set_kernel_isa("avx1024")
    assert _native.kernel_isa() == before
