"""Whole kernels on the stand-in, and what NumPy makes of the same: `python -m tests.rocm.computations WHAT …`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hal.interface.dtypes import DType, ReduceOp
from hal.reference.arithmetic import combine

from .kernels import Kernels

Array = NDArray[Any]
LANES = 64


def same(what: str, got: Array, expected: Array) -> None:
    """Fail with the first element that differs, bit for bit; what is no number is like any other."""
    with np.errstate(all="ignore"):
        expected = expected.astype(got.dtype)
    numbers = got.dtype.kind != "f" or ~(np.isnan(got) & np.isnan(expected))
    wrong = np.flatnonzero((got.view(f"u{got.itemsize}") != expected.view(f"u{got.itemsize}")) & numbers)
    if wrong.size:
        at = wrong[0]
        raise SystemExit(f"{what}: {wrong.size} differ, element {at} is {got[at]!r}, expected {expected[at]!r}")


REDUCTION = """
template <int dtype, int op>
HAL_DEVICE void reduce(u8* packs, u8* elements, const u8* data, u64 sources, u64 bytes, u64 divisor) {
  using Stored = typename Element<dtype>::Stored;
  u64 at = (block_index() * lanes() + lane()) * 16ull;
  Accumulator<dtype, op, 4> sum;
  for (u64 s = 0; s < sources; s++) {
    const Pack<4>& pack = *reinterpret_cast<const Pack<4>*>(data + s * bytes + at);
    if (s == 0) sum.begin(pack);
    else sum.add(pack);
  }
  *reinterpret_cast<Pack<4>*>(packs + at) = sum.result(static_cast<i64>(divisor));
  for (u64 end = at + 16; at < end; at += sizeof(Stored)) {
    ElementAccumulator<dtype, op> one;
    for (u64 s = 0; s < sources; s++) {
      Stored element = *reinterpret_cast<const Stored*>(data + s * bytes + at);
      if (s == 0) one.begin(element);
      else one.add(element);
    }
    *reinterpret_cast<Stored*>(elements + at) = one.result(static_cast<i64>(divisor));
  }
}
"""


def arithmetic(label: str) -> None:
    """Device arithmetic of a type is the reference's: any bits at all, and small numbers."""
    dtype = DType.of(label)
    ops = [op for op in ReduceOp if not (op.is_bitwise and dtype.is_float)]
    kernels = Kernels(
        REDUCTION
        + "".join(
            f"KERNEL void reduce_{op.label}(u8* p, u8* e, const u8* d, u64 s, u64 b, u64 by) "
            f"{{ reduce<{int(dtype)}, {int(op)}>(p, e, d, s, b, by); }}\n"
            for op in ops
        )
    )
    rng = np.random.default_rng([7, dtype])
    count = 4 * LANES * 16 // dtype.itemsize
    for op in ops:
        for sources, divisor in ((2, 1), (3, 3), (1, 300)) if op is ReduceOp.AVG else ((2, 1), (3, 1)):
            anything = np.frombuffer(rng.bytes(sources * count * dtype.itemsize), dtype.numpy).reshape(sources, count)
            with np.errstate(all="ignore"):
                small = (rng.standard_normal((sources, count)) * 8).astype(np.float32).astype(dtype.numpy)
            data = np.ascontiguousarray(np.where(np.arange(count) % 2, anything, small).astype(dtype.numpy))
            packs, elements = np.zeros(count, dtype.numpy), np.zeros(count, dtype.numpy)
            size = packs.nbytes
            kernels.run(
                f"reduce_{op.label}", packs, elements, data, sources, size, divisor, blocks=size // (LANES * 16)
            )
            wanted = combine(list(data), dtype, op, divisor).view(f"u{dtype.itemsize}")
            same(f"{label} {op.label} of packs", packs.view(f"u{dtype.itemsize}"), wanted)
            same(f"{label} {op.label} of elements", elements.view(f"u{dtype.itemsize}"), wanted)


def division() -> None:
    """Division, which takes many instructions, of numbers and of integers."""
    types = {"float": "f4", "double": "f8", "u32": "u4", "i32": "i4", "u64": "u8", "i64": "i8"}
    kernels = Kernels(
        "".join(
            f"KERNEL void divide_{name}({name}* r, const {name}* a, const {name}* b) "
            f"{{ u32 at = block_index() * 64 + lane(); r[at] = a[at] / b[at]; }}\n"
            for name in types
        )
    )
    rng = np.random.default_rng(3)
    for name, kind in types.items():
        size = 64 * LANES
        a, b = (np.frombuffer(rng.bytes(size * np.dtype(kind).itemsize), kind).copy() for _ in range(2))
        with np.errstate(all="ignore"):
            b[: size // 2] = (a[: size // 2] * rng.random(size // 2)).astype(kind)  # quotients near 1
            if kind[0] != "f":
                b >>= (rng.integers(0, 8 * b.itemsize, size)).astype(kind)
                b[b == 0] = 1
                b[b == -1] = 7  # the least number has no negative
                quotient = np.array([_truncated(int(x), int(y)) for x, y in zip(a, b, strict=True)], kind)
            else:
                quotient = a / b
        got = np.zeros_like(a)
        kernels.run(f"divide_{name}", got, a, b, blocks=64)
        same(f"division of {name}", got, quotient)


def _truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


FLOW = """
__device__ __attribute__((noinline)) u32 steps(u64 n) {  // of the Collatz sequence, which differ by lane
  u32 count = 0;
  while (n != 1) {
    n = n % 2 ? 3 * n + 1 : n / 2;
    count++;
  }
  return count;
}
KERNEL void diverge(u32* r) { r[lane()] = steps(lane() + 1); }

KERNEL void private_memory(u32* r, const u32* order) {  // an array by an index that is not known beforehand
  volatile u32 held[40];
  for (u32 i = 0; i < 40; i++) held[i] = i * 1000 + lane();
  u32 sum = 0;
  for (u32 i = 0; i < 20; i++) sum = sum * 3 + held[order[(i + lane()) % 40]];
  r[lane()] = sum;
}

KERNEL void block_sum(u64* r, const u32* a) {  // by halves, through the block's memory, 4 wavefronts
  __shared__ u64 held[256];
  held[lane()] = a[block_index() * lanes() + lane()];
  block_barrier();
  for (u32 half = 128; half; half /= 2) {
    if (lane() < half) held[lane()] += held[lane() + half];
    block_barrier();
  }
  if (lane() == 0) r[block_index()] = held[0];
}

KERNEL void bytes(u8* r, const u8* a, u64 shift) {  // not aligned
  u64 word;
  __builtin_memcpy(&word, a + lane() * 8 + shift, 8);
  r[lane()] = static_cast<u8>(word >> 13);
  i8 small = static_cast<i8>(a[lane()]);
  reinterpret_cast<i32*>(r + 64)[lane()] = small;
}

KERNEL void count(u32* words, u64* wide, u32 unused) {
  atomic_add_4(words, lane());
  atomic_add_8(wide, 1ull << 32);
  __hip_atomic_fetch_add(words + 1, 1, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM);
}

KERNEL void meet(u64* flags, u64* r, u64 blocks) {  // every block waits for every other one
  if (lane() == 0) {
    store_release_8(flags + block_index(), block_index() + 1);
    u64 sum = 0;
    for (u64 other = 0; other < blocks; other++) {
      u64 seen;
      while ((seen = load_acquire_8(flags + other)) == 0) pause();
      sum += seen;
    }
    r[block_index()] = sum;
  }
  bool late = block_any(lane() == lanes() - 1);
  if (late && lane() == 1) r[blocks + block_index()] = 7;
}
"""


def flow() -> None:
    """Branches, calls, private and shared memory, barriers, atomics, blocks that wait for one another."""
    kernels = Kernels(FLOW)
    rng = np.random.default_rng(5)
    got = np.zeros(LANES, "u4")
    kernels.run("diverge", got)
    same("lanes that part", got, np.array([_collatz(n + 1) for n in range(LANES)]))

    order = rng.integers(0, 40, 40).astype("u4")
    kernels.run("private_memory", got, order)
    wanted = np.zeros(LANES, "u4")
    for i in range(20):
        wanted = wanted * 3 + order[(i + np.arange(LANES)) % 40] * 1000 + np.arange(LANES, dtype="u4")
    same("private memory", got, wanted)

    data, sums = rng.integers(0, 2**32, 256 * 5, "u4"), np.zeros(5, "u8")
    kernels.run("block_sum", sums, data, blocks=5, lanes=256)
    same("sums of blocks", sums, data.reshape(5, 256).sum(axis=1, dtype="u8"))

    given, made = np.frombuffer(rng.bytes(1024), "u1").copy(), np.zeros(64 * 5, "u1")
    kernels.run("bytes", made, given, 3)
    same("bytes", made[:64], (np.frombuffer(given[3 : 3 + 512].tobytes(), "u8") >> np.uint64(13)).astype("u1"))
    same("signed bytes", made[64:].view("i4"), given[:64].view("i1"))

    words, wide = np.zeros(2, "u4"), np.zeros(1, "u8")
    kernels.run("count", words, wide, 0, blocks=8, lanes=100)
    same("atomics", words, np.array([8 * sum(range(100)), 800]))
    same("atomics of 8 bytes", wide, np.array([800 << 32]))

    flags, seen = np.zeros(6, "u8"), np.zeros(12, "u8")
    kernels.run("meet", flags, seen, 6, blocks=6, lanes=192)
    same("blocks that meet", seen, np.array([21] * 6 + [7] * 6))


def _collatz(n: int) -> int:
    count = 0
    while n != 1:
        n, count = (3 * n + 1 if n % 2 else n // 2), count + 1
    return count


def unknown() -> None:
    """An instruction that is not known, which only a launch with 1 reaches: it fails."""
    kernels = Kernels(
        """KERNEL void odd(u32* r, u64 reach) {
          u32 made = 5;
          if (reach) asm volatile("v_sad_u8 %0, %0, %0, %0" : "+v"(made));
          r[lane()] = made;
        }"""
    )
    got = np.zeros(LANES, "u4")
    kernels.run("odd", got, 0)
    same("around what is not known", got, np.full(LANES, 5))
    kernels.run("odd", got, 1)


def beyond() -> None:
    """An access to an address that is none: it fails."""
    kernels = Kernels("KERNEL void far(u64 at) { *reinterpret_cast<u32*>(at) = 1; }")
    kernels.run("far", 8)


CHECKS: dict[str, Callable[..., None]] = {
    "arithmetic": arithmetic,
    "division": division,
    "flow": flow,
    "unknown": unknown,
    "beyond": beyond,
}

if __name__ == "__main__":
    CHECKS[sys.argv[1]](*sys.argv[2:])
    print("right")
