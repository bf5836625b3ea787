// How the elements of each type are loaded into and stored from the accumulator's type.
#pragma once

#include "simd.h"

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

// A type that accumulates in itself.
template <class T>
struct Plain {
  using Stored = T;
  using Scalar = T;  // of the accumulator
  static constexpr int kLanes = kVectorBytes / sizeof(T);
  using Acc = Vec<T, kLanes>;
  static Acc load(const Stored* from) { return HAL_KERNELS_ISA::load<Acc>(from); }
  static Acc round(Acc acc) { return acc; }
};

// The narrow floats accumulate in float32.
struct NarrowFloat {
  using Scalar = float;
  static constexpr int kLanes = kLanes32;
  using Acc = F32;
};

struct Float16 : NarrowFloat {
  using Stored = uint16_t;
  static F32 load(const Stored* from) { return half_to_single(HAL_KERNELS_ISA::load<U16>(from)); }
  static U16 round(F32 acc) { return single_to_half(acc); }
};

struct Bfloat16 : NarrowFloat {
  using Stored = uint16_t;
  static F32 load(const Stored* from) {
    return bits<F32>(__builtin_convertvector(HAL_KERNELS_ISA::load<U16>(from), U32) << 16);
  }
  static U16 round(F32 acc) {
    // To nearest even by a carry; the canonical NaN has no bits below to carry from.
    const U32 all = bits<U32>(acc);
    return __builtin_convertvector((all + 0x7fff + (all >> 16 & 1)) >> 16, U16);
  }
};

// `x` rounded to nearest even to `mantissa` bits after the leading one; below 2^min_exponent to the fixed step that
// is the last place there (so gradual underflow comes out right). Beyond 2^max_exponent only the overflow matters.
template <int mantissa, int min_exponent, int max_exponent>
inline F32 round_mantissa(F32 x) {
  const U32 sign = bits<U32>(x) & 0x80000000;
  const uint32_t lowest = (127 + min_exponent) << 23, highest = (127 + max_exponent) << 23;
  U32 exponent = bits<U32>(x) & 0x7f800000;
  exponent = exponent < lowest ? U32{} + lowest : exponent;
  exponent = exponent > highest ? U32{} + highest : exponent;
  // 1.5 × 2^(exponent + 23 - mantissa): the last place of any sum with it is the wanted one, for both signs of x.
  const F32 anchor = bits<F32>(exponent + ((23 - mantissa) << 23 | 1 << 22));
  const F32 rounded = (x + anchor) - anchor;
  return bits<F32>(bits<U32>(rounded) | sign);  // the difference of equal numbers is +0
}

// The upper byte of a half-precision number.
struct Float8E5M2 : NarrowFloat {
  using Stored = uint8_t;
  static F32 load(const Stored* from) {
    return half_to_single(__builtin_convertvector(HAL_KERNELS_ISA::load<U8>(from), U16) << 8);
  }
  static U8 round(F32 acc) {
    return __builtin_convertvector(single_to_half(round_mantissa<2, -14, 16>(acc)) >> 8, U8);
  }
};

// Times 2^-8 and with three more exponent values in use at the top, the upper bits of a half-precision number.
struct Float8E4M3 : NarrowFloat {
  using Stored = uint8_t;
  static F32 load(const Stored* from) {
    const U16 code = __builtin_convertvector(HAL_KERNELS_ISA::load<U8>(from), U16);
    const U16 magnitude = code & 0x7f;
    const U16 half = magnitude << 7 | (code & 0x80) << 8;
    return half_to_single(magnitude == 0x7f ? U16{} + 0x7e00 : half) * 0x1p8f;
  }
  static U8 round(F32 acc) {
    const U16 half = single_to_half(round_mantissa<3, -6, 9>(acc) * 0x1p-8f);
    const U16 code = (half & 0x7fff) >> 7;
    const U16 finite_or_nan = code > 0x7f ? U16{} + 0x7f : code;
    return __builtin_convertvector(finite_or_nan | (half >> 8 & 0x80), U8);
  }
};

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA
