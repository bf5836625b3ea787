// Arithmetic on two operands of a narrow type in half precision, where the CPU has it.
//
// Rounding a sum or a product of two numbers first to half precision and then to a type of p bits gives what rounding
// once does, where half precision has 2p + 2 bits (S. A. Figueroa, "When is double rounding innocuous?", 1995), and
// 8-bit floats have 3 and 4. What that leaves open, the ends of the range, tests try out: every pair of numbers there is.
// More operands are summed in single precision, for their sums may have bits that are not in any of them.
#pragma once

#include "reduce.h"

#if defined(HAL_KERNELS_FP16)

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

// Half precision in itself, of 11 bits: what the 24 of single precision give, by the same rule. Not for averages, whose
// sums overflow.
struct Float16InHalf {
  using Stored = uint16_t;
  using Raw = F16;
  using Acc = Parts<F16, 1>;
  static Acc widen(Raw v) { return {v}; }
  static Raw round(Acc acc) { return acc.part[0]; }
};

// The average of two, whose sum need not be a number of the type.
struct Mean {
  static constexpr bool kCanonical = false;
  template <class V>
  static V apply(V a, V b) {
    return a * static_cast<Lane<V>>(0.5) + b * static_cast<Lane<V>>(0.5);
  }
};

// Without the lowest `dropped` bits of half precision: to nearest even by a carry into what stays.
template <int dropped>
inline U16 carried(F16 f) {
  const auto v = bits<__m512i>(f), up = _mm512_add_epi16(v, _mm512_set1_epi16((1 << (dropped - 1)) - 1));
  const __mmask32 odd = _mm512_test_epi16_mask(v, _mm512_set1_epi16(1 << dropped));
  return bits<U16>(_mm512_mask_add_epi16(up, odd, up, _mm512_set1_epi16(1)));
}

struct Float8E5M2InHalf {
  using Stored = uint8_t;
  using Raw = U16;
  using Acc = Parts<F16, 2>;
  static Acc widen(Raw v) { return {bits<F16>(v << 8), bits<F16>(v & 0xff00)}; }
  static Raw round(Acc acc) { return carried<8>(acc.part[0]) >> 8 | (carried<8>(acc.part[1]) & 0xff00); }
};

// Numbers times 2^-8, as which the bits of a code are those of half precision. The code of NaN is an ordinary number
// there, so that which elements have it is known apart; half precision does not overflow.
struct Float8E4M3InHalf {
  using Stored = uint8_t;
  using Raw = U16;
  struct Acc {
    static constexpr int kParts = 2;
    F16 part[2];
    __m512i largest;  // of the magnitudes so far: kNan where one was NaN, with the bit of the sign set

    template <class Op>
    [[gnu::always_inline]] void combine(const Acc& next) {
      for (int p = 0; p < kParts; ++p) part[p] = Op::apply(part[p], next.part[p]);
      largest = _mm512_max_epu8(largest, next.largest);
    }
    template <class Op, class Finish>
    void finish(const Finish&) {}
  };
  static Acc widen(Raw v) {
    const U16 low = bits<U16>(bits<I16>(v << 8) >> 1) & kCode, high = bits<U16>(bits<I16>(v) >> 1) & kCode;
    return {{bits<F16>(low), bits<F16>(high)}, bits<__m512i>(v | kSigns)};
  }
  static Raw round(Acc acc) {
    const U16 low = carried<7>(acc.part[0]), high = carried<7>(acc.part[1]);
    const U16 magnitudes = (low >> 7 & 0x00ff) | (high << 1 & 0xff00);
    const U16 signs = low >> 8 | (high & 0xff00);
    const U16 codes = (magnitudes & kMagnitudes) | (signs & kSigns);
    const __mmask64 nan = _mm512_cmpeq_epi8_mask(acc.largest, _mm512_set1_epi8(-1)) |
                          _mm512_cmpge_epu8_mask(bits<__m512i>(magnitudes), _mm512_set1_epi8(kNan));
    return bits<U16>(_mm512_mask_mov_epi8(bits<__m512i>(codes), nan, _mm512_set1_epi8(kNan)));
  }

 private:
  static constexpr uint16_t kCode = 0xbf80, kMagnitudes = 0x7f7f, kSigns = 0x8080;
  static constexpr char kNan = 0x7f;
};

// The product where both operands come times 2^-8.
struct ScaledProd {
  static constexpr bool kCanonical = false;
  template <class V>
  static V apply(V a, V b) {
    return a * (b * static_cast<Lane<V>>(256));
  }
};

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA

#endif
