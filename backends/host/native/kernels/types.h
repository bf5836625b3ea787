// How a vector of elements of each type becomes accumulators, and how accumulators become elements again.
//
// Narrow elements are not moved to lanes of their own in order: a lane twice as wide holds two, which a shift and a
// mask separate. The accumulators are put together again the same way, so their order is of no consequence.
#pragma once

#include "simd.h"

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

// A type that accumulates in itself.
template <class T>
struct Plain {
  using Stored = T;
  using Raw = Vec<T>;
  using Acc = Parts<Vec<T>, 1>;
  static Acc widen(Raw v) { return {v}; }
  static Raw round(Acc acc) { return acc.part[0]; }
};

struct Float16 {
  using Stored = uint16_t;
  using Raw = Halves;
  using Acc = Parts<F32, 2>;
  static Acc widen(Raw v) { return half_to_single(v); }
  static Raw round(Acc acc) { return single_to_half(acc.part[0], acc.part[1]); }
};

// The upper half of a single-precision number.
struct Bfloat16 {
  using Stored = uint16_t;
  using Raw = U32;
  using Acc = Parts<F32, 2>;
  static Acc widen(Raw v) { return {bits<F32>(v << 16), bits<F32>(v & 0xffff0000)}; }
  static Raw round(Acc acc) { return carried(acc.part[0]) >> 16 | (carried(acc.part[1]) & 0xffff0000); }

 private:
  // To nearest even by a carry into the upper half; the canonical NaN has nothing below to carry.
  static U32 carried(F32 f) { return bits<U32>(f) + 0x7fff + (bits<U32>(f) >> 16 & 1); }
};

// `x` rounded to nearest even to `mantissa` bits after the leading one; below 2^min_exponent to the fixed step that
// is the last place there (so gradual underflow comes out right). Beyond 2^max_exponent only the overflow matters.
template <int mantissa, int min_exponent, int max_exponent>
inline F32 round_mantissa(F32 x) {
  const U32 sign = bits<U32>(x) & 0x80000000;
  const uint32_t lowest = (127 + min_exponent) << 23, highest = (127 + max_exponent) << 23;
  U32 exponent = bits<U32>(x) & 0x7f800000;
  exponent = exponent > lowest ? exponent : U32{} + lowest;
  exponent = exponent > highest ? U32{} + highest : exponent;
  // 1.5 × 2^(exponent + 23 - mantissa): the last place of any sum with it is the wanted one, for both signs of x.
  const F32 anchor = bits<F32>(exponent + ((23 - mantissa) << 23 | 1 << 22));
  const F32 rounded = (x + anchor) - anchor;
  return bits<F32>(bits<U32>(rounded) | sign);  // the difference of equal numbers is +0
}

// The upper byte of a half-precision number.
struct Float8E5M2 {
  using Stored = uint8_t;
  using Raw = U16;
  using Acc = Parts<F32, 4>;
  static Acc widen(Raw v) {
    const Parts<F32, 2> even = half_to_single(apart(v << 8)), odd = half_to_single(apart(v & 0xff00));
    return {even.part[0], even.part[1], odd.part[0], odd.part[1]};
  }
  static Raw round(Acc acc) {
    return half(acc.part[0], acc.part[1]) >> 8 | (half(acc.part[2], acc.part[3]) & 0xff00);
  }

 private:
  static U16 half(F32 low, F32 high) {
    return together(single_to_half(round_mantissa<2, -14, 16>(low), round_mantissa<2, -14, 16>(high)));
  }
};

// Like a half-precision number times 2^8 with the first exponent bit and the last seven mantissa bits left out.
struct Float8E4M3 {
  using Stored = uint8_t;
  using Raw = U16;
  using Acc = Parts<F32, 4>;
  static Acc widen(Raw v) {
    const Parts<F32, 2> even = single(v << 8), odd = single(v & 0xff00);
    return {even.part[0], even.part[1], odd.part[0], odd.part[1]};
  }
  static Raw round(Acc acc) { return code(acc.part[0], acc.part[1]) >> 8 | code(acc.part[2], acc.part[3]); }

 private:
  static constexpr uint16_t kSign = 0x8000, kNoSign = 0x7fff, kMagnitude = 0x3f80;  // in half precision

  // From the code in the upper byte of each lane.
  static Parts<F32, 2> single(U16 code) {
    const U16 half = bits<U16>(bits<I16>(code) >> 1) & (kSign | kMagnitude);
    const U16 nan = U16{} + 0x7e00;
    const Parts<F32, 2> f = half_to_single(apart((half & kMagnitude) == kMagnitude ? nan : half));
    return {f.part[0] * 0x1p8f, f.part[1] * 0x1p8f};
  }

  // To the code in the upper byte of each lane, with nothing below.
  static U16 code(F32 low, F32 high) {
    const F32 small[] = {round_mantissa<3, -6, 9>(low) * 0x1p-8f, round_mantissa<3, -6, 9>(high) * 0x1p-8f};
    const U16 half = together(single_to_half(small[0], small[1]));
    const U16 magnitude = half & kNoSign;
    const U16 finite_or_nan = magnitude > kMagnitude ? U16{} + kMagnitude : magnitude;
    // what overflows is the NaN that results contain, which has no sign
    const U16 sign = magnitude < kMagnitude ? half & kSign : U16{};
    return finite_or_nan << 1 | sign;
  }
};

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA
