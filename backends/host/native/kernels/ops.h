// The operations, on accumulators: `a` is what is accumulated so far, `b` the next operand. `kCanonical` says whether
// any NaN that one gives is the canonical one.
#pragma once

#include "simd.h"

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

// Signed integers are summed and multiplied as unsigned ones (see integers.cpp), which wrap around by definition.
struct Sum {
  static constexpr bool kCanonical = false;
  template <class V>
  static V apply(V a, V b) {
    return a + b;
  }
};

struct Prod {
  static constexpr bool kCanonical = false;
  template <class V>
  static V apply(V a, V b) {
    if constexpr (sizeof(Lane<V>) > 1) {
      return a * b;
    } else {  // No vector instruction multiplies bytes: words are, of which a byte counts.
      const U16 x = bits<U16>(a), y = bits<U16>(b);
      return bits<V>((x * y & 0x00ff) | (x >> 8) * (y & 0xff00));
    }
  }
};

// The canonical NaN where either operand is NaN; the later of two that compare equal (as +0 and -0 do).
struct Min {
  static constexpr bool kCanonical = true;
  template <class V>
  static V apply(V a, V b) {
    return nan_of_either(a, b, a < b ? a : b);
  }
};

struct Max {
  static constexpr bool kCanonical = true;
  template <class V>
  static V apply(V a, V b) {
    return nan_of_either(a, b, a > b ? a : b);
  }
};

// The same on codes of sign and magnitude, whose magnitudes above `largest` are NaN: narrow floats, without decoding.
template <int largest, int nan>
struct Codes {
  static constexpr bool kCanonical = true;
  template <class V>
  static V magnitude(V code) {
    return code & static_cast<Lane<V>>((1 << (8 * sizeof(Lane<V>) - 1)) - 1);
  }
  // Ordered as the numbers are; both zeros have the same.
  template <class V>
  static V key(V code) {
    return code < 0 ? -magnitude(code) : magnitude(code);
  }
  template <class V>
  static V unless_nan(V a, V b, V v) {
    const V x = magnitude(a), y = magnitude(b);
    return (x > y ? x : y) > largest ? V{} + nan : v;
  }
};

template <int largest, int nan>
struct MinCodes : Codes<largest, nan> {
  template <class V>
  static V apply(V a, V b) {
    return MinCodes::unless_nan(a, b, MinCodes::key(a) < MinCodes::key(b) ? a : b);
  }
};

template <int largest, int nan>
struct MaxCodes : Codes<largest, nan> {
  template <class V>
  static V apply(V a, V b) {
    return MaxCodes::unless_nan(a, b, MaxCodes::key(a) > MaxCodes::key(b) ? a : b);
  }
};

struct Band {
  static constexpr bool kCanonical = false;
  template <class V>
  static V apply(V a, V b) {
    return a & b;
  }
};

struct Bor {
  static constexpr bool kCanonical = false;
  template <class V>
  static V apply(V a, V b) {
    return a | b;
  }
};

struct Bxor {
  static constexpr bool kCanonical = false;
  template <class V>
  static V apply(V a, V b) {
    return a ^ b;
  }
};

// What is done to an accumulator after its last operand, before it is rounded.
struct Keep {
  explicit Keep(uint64_t) {}
  template <class V>
  V apply(V acc) const {
    return acc;
  }
};

template <class Scalar>
struct DivideFloat {
  explicit DivideFloat(uint64_t divisor)
      : divisor_(static_cast<Scalar>(divisor)), reciprocal_(1 / divisor_), exact_((divisor & (divisor - 1)) == 0) {}
  template <class V>
  V apply(V acc) const {
    // The reciprocal of a power of two is exact, so the product is the quotient, and several times faster.
    return exact_ ? acc * reciprocal_ : acc / divisor_;
  }

 private:
  Scalar divisor_, reciprocal_;
  bool exact_;
};

// A power of two is a shift, which truncates downwards: negative numbers are made larger first. For any other divisor
// there is no vector instruction to divide integers, but a float with more mantissa bits than the integer has gives a
// quotient that truncates to the right number: next below an integer n, a / d is short of it by at least 1 / d, which
// is more than half a last place of n. No float is wide enough for 64 bits.
template <class Scalar>
struct DivideInteger {
  explicit DivideInteger(uint64_t divisor)
      : divisor_(static_cast<Quotient>(divisor)),
        shift_((divisor & (divisor - 1)) == 0 ? __builtin_ctzll(divisor) : -1),
        below_(static_cast<Scalar>(divisor - 1)) {}
  template <class V>
  V apply(V acc) const {
    if (shift_ >= static_cast<int>(8 * sizeof(Scalar))) return V{};
    if (shift_ >= 0) {
      if constexpr (std::is_signed_v<Scalar>) acc += (acc < 0) & below_;
      return shifted(acc);
    }
    Scalar lane[sizeof acc / sizeof(Scalar)];
    store(lane, acc);
    for (Scalar& x : lane) x = static_cast<Scalar>(static_cast<Quotient>(x) / divisor_);
    return load<V>(lane);
  }

 private:
  template <class V>
  V shifted(V acc) const {
    if constexpr (sizeof(Scalar) > 1) {
      return acc >> shift_;
    } else {  // No vector instruction shifts bytes: words are shifted, and what came from the neighbour is taken away.
      const V low = bits<V>(bits<U16>(acc) >> shift_) & static_cast<Scalar>(0xff >> shift_);
      if constexpr (std::is_unsigned_v<Scalar>) return low;
      const Scalar sign = static_cast<Scalar>(0x80 >> shift_);
      return (low ^ sign) - sign;
    }
  }

  template <size_t bytes, class Same>
  struct QuotientOf {
    using type = float;
  };
  template <class Same>
  struct QuotientOf<4, Same> {
    using type = double;
  };
  template <class Same>
  struct QuotientOf<8, Same> {
    using type = Same;
  };
  using Quotient = typename QuotientOf<sizeof(Scalar), Scalar>::type;
  Quotient divisor_;
  int shift_;  // -1: the divisor is no power of two
  Scalar below_;
};

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA
