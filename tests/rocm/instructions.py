"""Single instructions of AMD GPUs, and what NumPy makes of the same values: `python -m tests.rocm.instructions`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import Kernels

Array = NDArray[Any]
TYPES = {"u": "u4", "i": "i4", "U": "u8", "I": "i8", "f": "f4", "d": "f8", "h": "f2", "s": "u2", "t": "i2"}
"""Letters of types. Those of 16 bits lie in the lower half of a register; as results its upper half is zero."""
LANES = 64
VALUES = 16 * LANES


@dataclass(frozen=True)
class Check:
    """An instruction as inline assembly, the types of its result and its sources, the same in NumPy."""

    text: str
    result: str
    sources: str
    expected: Callable[..., Any]
    only: str = ""
    """The one architecture that has it."""


def _rotated(a: Array, b: Array, c: Array) -> Array:
    both = a.astype("u8") << np.uint64(32) | b
    return (both >> (c & 31).astype("u8")).astype("u4")


def _permuted(a: Array, b: Array, c: Array) -> Array:
    both = a.astype("u8") << np.uint64(32) | b
    made = np.zeros_like(a)
    for at in range(4):
        which = c >> np.uint32(8 * at) & 0xFF
        byte = (both >> (8 * (which & 7)).astype("u8")).astype("u4") & 0xFF
        sign = (both >> (16 * (which & 3) + 15).astype("u8")).astype("u4") & 1
        byte = np.where(which < 8, byte, np.where(which < 12, sign * 255, np.where(which > 12, 255, 0)))
        made |= byte.astype("u4") << np.uint32(8 * at)
    return made


def _field(a: Array, b: Array, c: Array) -> Array:
    return a >> (b & 31) & ((np.uint64(1) << (c & 31).astype("u8")) - np.uint64(1)).astype("u4")


def _lower(a: Array, b: Array) -> Array:
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, np.where((a < b) | ((a == b) & np.signbit(a)), a, b)))


def _higher(a: Array, b: Array) -> Array:
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, np.where((a > b) | ((a == b) & ~np.signbit(a)), a, b)))


def _leading(a: Array) -> Array:
    return np.array([32 - int(each).bit_length() if each else 0xFFFFFFFF for each in a], "u4")


def _to_integer(a: Array, least: int, most: int) -> Array:
    whole = np.trunc(np.where(np.isnan(a), 0, a).astype("f8"))
    return np.clip(whole, least, most).astype("i8")


def _wide(a: Array) -> Array:
    return a.astype("u8")


def _halves(function: Callable[[Array, Array], Array], kind: str) -> Callable[[Array, Array], Array]:
    def packed(a: Array, b: Array) -> Array:
        return function(a.view(kind), b.view(kind)).astype(kind).view("u4")

    return packed


def _select(which: str, function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda a, b: function(a, b >> np.uint32(16) if which == "high" else b & 0xFF)


CHECKS = [
    Check("v_add_u32 %0, %1, %2", "u", "uu", np.add),
    Check("v_sub_u32 %0, %1, %2", "u", "uu", np.subtract),
    Check("v_subrev_u32 %0, %1, %2", "u", "uu", lambda a, b: b - a),
    Check("v_add_co_u32 %0, vcc, %1, %2\\n v_addc_co_u32 %0, vcc, 0, 0, vcc", "u", "uu", lambda a, b: a + b < a),
    Check("v_sub_co_u32 %0, vcc, %1, %2\\n v_subb_co_u32 %0, vcc, %1, %2, vcc", "u", "uu",
          lambda a, b: a - b - (a < b)),
    Check("v_mul_lo_u32 %0, %1, %2", "u", "uu", np.multiply),
    Check("v_mul_hi_u32 %0, %1, %2", "u", "uu", lambda a, b: _wide(a) * _wide(b) >> np.uint64(32)),
    Check("v_mul_hi_i32 %0, %1, %2", "i", "ii", lambda a, b: a.astype("i8") * b.astype("i8") >> 32),
    Check("v_mul_u32_u24 %0, %1, %2", "u", "uu", lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF)),
    Check("v_mad_u64_u32 %0, vcc, %1, %2, %3", "U", "uuU", lambda a, b, c: _wide(a) * _wide(b) + c),
    Check("v_add3_u32 %0, %1, %2, %3", "u", "uuu", lambda a, b, c: a + b + c),
    Check("v_lshl_add_u32 %0, %1, %2, %3", "u", "uuu", lambda a, b, c: (a << (b & 31)) + c),
    Check("v_add_lshl_u32 %0, %1, %2, %3", "u", "uuu", lambda a, b, c: (a + b) << (c & 31)),
    Check("v_lshl_add_u64 %0, %1, 3, %2", "U", "UU", lambda a, b: (a << np.uint64(3)) + b, "gfx942"),
    Check("v_lshl_or_b32 %0, %1, %2, %3", "u", "uuu", lambda a, b, c: a << (b & 31) | c),
    Check("v_and_or_b32 %0, %1, %2, %3", "u", "uuu", lambda a, b, c: a & b | c),
    Check("v_bfi_b32 %0, %1, %2, %3", "u", "uuu", lambda a, b, c: a & b | ~a & c),
    Check("v_bfe_u32 %0, %1, %2, %3", "u", "uuu", _field),
    Check("v_bfe_i32 %0, %1, 4, 9", "i", "i", lambda a: a << 19 >> 23),
    Check("v_lshlrev_b32 %0, %1, %2", "u", "uu", lambda a, b: b << (a & 31)),
    Check("v_ashrrev_i32 %0, %1, %2", "i", "ii", lambda a, b: b >> (a & 31)),
    Check("v_lshlrev_b64 %0, %1, %2", "U", "uU", lambda a, b: b << _wide(a & 63)),
    Check("v_lshrrev_b64 %0, %1, %2", "U", "uU", lambda a, b: b >> _wide(a & 63)),
    Check("v_ashrrev_i64 %0, %1, %2", "I", "uI", lambda a, b: b >> (a & 63).astype("i8")),
    Check("v_lshlrev_b16 %0, %1, %2", "s", "ss", lambda a, b: b << (a & 15)),
    Check("v_alignbit_b32 %0, %1, %2, %3", "u", "uuu", _rotated),
    Check("v_perm_b32 %0, %1, %2, %3", "u", "uuu", _permuted),
    Check("v_ffbh_u32 %0, %1", "u", "u", _leading),
    Check("v_ffbh_i32 %0, %1", "u", "i", lambda a: _leading(np.where(a < 0, ~a, a))),
    Check("v_bfrev_b32 %0, %1", "u", "u", lambda a: np.array([int(f"{each:032b}"[::-1], 2) for each in a], "u4")),
    Check("v_bcnt_u32_b32 %0, %1, %2", "u", "uu", lambda a, b: np.array([int(x).bit_count() for x in a], "u4") + b),
    Check("v_min_i32 %0, %1, %2", "i", "ii", np.minimum),
    Check("v_max_u16 %0, %1, %2", "s", "ss", np.maximum),
    Check("v_max3_i16 %0, %1, %2, %3", "t", "ttt", lambda a, b, c: np.maximum(np.maximum(a, b), c)),
    Check("v_min3_u32 %0, %1, %2, %3", "u", "uuu", lambda a, b, c: np.minimum(np.minimum(a, b), c)),
    Check("v_add_u16 %0, %1, %2", "s", "ss", np.add),
    Check("v_mul_lo_u16 %0, %1, %2", "s", "ss", np.multiply),
    Check("v_cmp_gt_i64 vcc, %1, %2\\n v_cndmask_b32 %0, 0, 1, vcc", "u", "II", np.greater),
    Check("v_cmp_le_u64 vcc, %1, %2\\n v_cndmask_b32 %0, 0, 1, vcc", "u", "UU", np.less_equal),
    Check("v_cmp_nlt_f32 vcc, %1, %2\\n v_cndmask_b32 %0, 0, 1, vcc", "u", "ff", lambda a, b: ~(a < b)),
    Check("v_cmp_u_f16 vcc, %1, %2\\n v_cndmask_b32 %0, 0, 1, vcc", "u", "hh", lambda a, b: np.isnan(a) | np.isnan(b)),
    Check("v_cmp_lg_f64 vcc, %1, %2\\n v_cndmask_b32 %0, 0, 1, vcc", "u", "dd", lambda a, b: (a < b) | (a > b)),
    Check("v_add_f32 %0, %1, %2", "f", "ff", np.add),
    Check("v_sub_f32 %0, |%1|, -%2", "f", "ff", lambda a, b: np.abs(a) + b),
    Check("v_mul_f64 %0, %1, %2", "d", "dd", np.multiply),
    Check("v_fma_f32 %0, %1, %2, -%3", "f", "fff", lambda a, b, c: a.astype("f8") * b - c),
    Check("v_min_f32 %0, %1, %2", "f", "ff", _lower),
    Check("v_max_f32 %0, %1, %2", "f", "ff", _higher),
    Check("v_max_f64 %0, %1, %2", "d", "dd", _higher),
    Check("v_min_f16 %0, %1, %2", "h", "hh", _lower),
    Check("v_add_f16 %0, %1, %2", "h", "hh", np.add),
    Check("v_mul_f16 %0, %1, %2", "h", "hh", np.multiply),
    Check("v_trunc_f32 %0, %1", "f", "f", np.trunc),
    Check("v_rndne_f64 %0, %1", "d", "d", np.rint),
    Check("v_ldexp_f32 %0, %1, -16", "f", "f", lambda a: np.ldexp(a, -16)),
    Check("v_cvt_f16_f32 %0, %1", "h", "f", lambda a: a.astype("f2")),
    Check("v_cvt_f32_f16 %0, %1", "f", "h", lambda a: a.astype("f4")),
    Check("v_cvt_f32_f64 %0, %1", "f", "d", lambda a: a.astype("f4")),
    Check("v_cvt_f64_f32 %0, %1", "d", "f", lambda a: a.astype("f8")),
    Check("v_cvt_f32_u32 %0, %1", "f", "u", lambda a: a.astype("f4")),
    Check("v_cvt_f64_i32 %0, %1", "d", "i", lambda a: a.astype("f8")),
    Check("v_cvt_u32_f32 %0, %1", "u", "f", lambda a: _to_integer(a, 0, 2**32 - 1)),
    Check("v_cvt_i32_f64 %0, %1", "i", "d", lambda a: _to_integer(a, -(2**31), 2**31 - 1)),
    Check("v_cvt_f32_ubyte2 %0, %1", "f", "u", lambda a: (a >> np.uint32(16) & 0xFF).astype("f4")),
    Check("v_pk_add_u16 %0, %1, %2", "u", "uu", _halves(np.add, "u2")),
    Check("v_pk_mul_lo_u16 %0, %1, %2", "u", "uu", _halves(np.multiply, "u2")),
    Check("v_pk_max_i16 %0, %1, %2", "u", "uu", _halves(np.maximum, "i2")),
    Check("v_pk_add_f16 %0, %1, %2", "u", "uu", _halves(np.add, "f2")),
    Check("v_pk_add_u16 %0, %1, %2 op_sel:[0,1] op_sel_hi:[1,0]", "u", "uu",
          lambda a, b: _halves(np.add, "u2")(a, b << np.uint32(16) | b >> np.uint32(16))),
    Check("v_pk_add_f32 %0, %1, %2", "U", "UU", lambda a, b: (a.view("f4") + b.view("f4")).view("u8")),
    Check("v_pk_mul_f32 %0, %1, %2 op_sel:[1,0] op_sel_hi:[0,1]", "U", "UU",
          lambda a, b: ((a << np.uint64(32) | a >> np.uint64(32)).view("f4") * b.view("f4")).view("u8")),
    Check("v_fma_mixlo_f16 %0, %1, %2, 0 op_sel_hi:[1,0,0]", "h", "hf",
          lambda a, b: (a.astype("f8") * b + 0.0).astype("f4")),
    Check("v_add_u32_sdwa %0, %1, %2 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:DWORD src1_sel:WORD_1", "u", "uu",
          _select("high", np.add)),
    Check("v_and_b32_sdwa %0, %1, %2 dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:DWORD src1_sel:BYTE_0", "u", "uu",
          _select("byte", np.bitwise_and)),
    Check("v_max_i16_sdwa %0, sext(%1), sext(%2) dst_sel:DWORD dst_unused:UNUSED_PAD src0_sel:BYTE_1 src1_sel:BYTE_1",
          "t", "uu", lambda a, b: np.maximum(*((x >> np.uint32(8) & 0xFF).astype("u1").view("i1") for x in (a, b)))),
    Check("v_lshrrev_b32_sdwa %0, %1, %2 dst_sel:BYTE_1 dst_unused:UNUSED_PAD src0_sel:BYTE_0 src1_sel:DWORD",
          "u", "uu", lambda a, b: (b >> (a & 31) & 0xFF) << np.uint32(8)),
    Check("v_readfirstlane_b32 s20, %1\\n v_mov_b32 %0, s20", "u", "u", lambda a: np.repeat(a[::LANES], LANES)),
    Check("v_readlane_b32 s20, %1, 5\\n v_mov_b32 %0, s20", "u", "u", lambda a: np.repeat(a[5::LANES], LANES)),
    Check("v_mbcnt_lo_u32_b32 %0, -1, 0\\n v_mbcnt_hi_u32_b32 %0, -1, %0", "u", "u",
          lambda a: np.arange(a.size) % LANES),
    Check("s_mov_b64 s[20:21], exec\\n v_cmp_gt_i32 vcc, 0, %1\\n v_mov_b32 %0, 1\\n s_andn2_b64 exec, exec, vcc\\n"
          "v_mov_b32 %0, 2\\n s_mov_b64 exec, s[20:21]", "u", "i", lambda a: np.where(a < 0, 1, 2)),
]  # fmt: skip
"""Each with no more than three sources."""
SPECIAL = {
    "f": [0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-45, 1e-40, -1e-40, 3.4e38, 2.0**32, 65520, 65519.99],
    "d": [0.0, -0.0, 0.5, -2.5, np.inf, -np.inf, np.nan, 5e-324, 1e-310, 1.7e308, 2.0**31, -(2.0**31) - 1],
    "h": [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 6e-8, 6.1e-5, 65504.0],
}


def _values(letter: str, seed: int) -> Array:
    """Any bits at all, and in front of them the values that are special, against one another."""
    kind = np.dtype(TYPES[letter])
    rng = np.random.default_rng([seed, ord(letter)])
    made = np.frombuffer(rng.bytes(VALUES * kind.itemsize), kind).copy()
    if letter in SPECIAL:
        special = np.array(SPECIAL[letter], kind)
    else:
        edges = [0, 1, 31, 32, 255, np.iinfo(kind).max, np.iinfo(kind).max // 2 + 1]
        special = np.array([*edges, *(np.iinfo(kind).min + each for each in (0, 1))], kind)
    grid = np.resize(np.repeat(special, len(special) ** seed) if seed < 2 else special, VALUES // 2)
    made[: grid.size] = grid
    return made


def _kernel(number: int, check: Check) -> str:
    def of(letter: str) -> str:
        return "u64" if letter in "UId" else "u32"

    count = len(check.sources)
    given = ", ".join(f"const {of(each)}* source{k}" for k, each in enumerate(check.sources))
    inputs = ", ".join(f'"v"(source{k}[at])' for k in range(count))
    return f"""
KERNEL void check_{number}({of(check.result)}* result, {given}) {{
  u32 at = block_index() * {LANES} + lane();
  {of(check.result)} made;
  asm volatile("{check.text}" : "=&v"(made) : {inputs} : "vcc", "s20", "s21");
  result[at] = made;
}}
"""


def _widened(values: Array) -> Array:
    """As registers hold them: 16 bits in 32."""
    return values.view("u2").astype("u4") if values.itemsize == 2 else values


def wrong(kernels: Kernels, number: int, check: Check) -> str:
    """What is wrong with an instruction; "" if nothing."""
    sources = [_values(letter, seed) for seed, letter in enumerate(check.sources)]
    kind = np.dtype(TYPES[check.result])
    got = _widened(np.full(VALUES, 0xA5, kind))
    kernels.run(f"check_{number}", got, *map(_widened, sources), blocks=VALUES // LANES)
    with np.errstate(all="ignore"):
        expected = np.asarray(check.expected(*sources)).astype(kind)
    found = got.astype("u2").view(kind) if kind.itemsize == 2 else got.view(kind)
    bits = f"u{kind.itemsize}"
    differ = found.view(bits) != expected.view(bits)
    if kind.kind == "f":
        differ &= ~(np.isnan(found) & np.isnan(expected))
    if check.text.startswith("v_pk_") and "f" in check.text:
        part = "f2" if "f16" in check.text else "f4"
        same = (found.view(part) == expected.view(part)) | (np.isnan(found.view(part)) & np.isnan(expected.view(part)))
        differ &= ~same.reshape(VALUES, 2).all(axis=1)
    if kind.itemsize == 2 and (got >> np.uint32(16)).any() and "mixlo" not in check.text:
        return f"{check.text}: the upper half of a result is not zero"
    if not differ.any():
        return ""
    at = int(np.flatnonzero(differ)[0])
    return f"{check.text}: {found[at]!r} of {[source[at] for source in sources]}, expected {expected[at]!r}"


def main(architecture: str) -> None:
    """Check them all; what is wrong goes to stdout."""
    chosen = [check for check in CHECKS if check.only in ("", architecture)]
    kernels = Kernels("".join(_kernel(number, check) for number, check in enumerate(chosen)))
    problems = list(filter(None, (wrong(kernels, number, check) for number, check in enumerate(chosen))))
    print(f"{len(chosen)} instructions, wrong: {problems or 'none'}")


if __name__ == "__main__":
    main(os.environ["HIP_STANDIN_ARCH"])
