// The operations, on accumulators: `a` is what is accumulated so far, `b` the next operand.
#pragma once

#include "simd.h"

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

// Signed integers are summed and multiplied as unsigned ones (see integers.cpp), which wrap around by definition.
struct Sum {
  template <class V>
  static V apply(V a, V b) {
    return a + b;
  }
};

struct Prod {
  template <class V>
  static V apply(V a, V b) {
    return a * b;
  }
};

// The canonical NaN where either operand is NaN; the later of two that compare equal (as +0 and -0 do).
struct Min {
  template <class V>
  static V apply(V a, V b) {
    return nan_of_either(a, b, a < b ? a : b);
  }
};

struct Max {
  template <class V>
  static V apply(V a, V b) {
    return nan_of_either(a, b, a > b ? a : b);
  }
};

struct Band {
  template <class V>
  static V apply(V a, V b) {
    return a & b;
  }
};

struct Bor {
  template <class V>
  static V apply(V a, V b) {
    return a | b;
  }
};

struct Bxor {
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

// There is no vector instruction to divide integers, but a float with more mantissa bits than the integer has gives a
// quotient that truncates to the right number: next below an integer n, a / d is short of it by at least 1 / d, which
// is more than half a last place of n. No float is wide enough for 64 bits.
template <class Scalar>
struct DivideInteger {
  explicit DivideInteger(uint64_t divisor) : divisor_(static_cast<Quotient>(divisor)) {}
  template <class V>
  V apply(V acc) const {
    Scalar lane[sizeof acc / sizeof(Scalar)];
    store(lane, acc);
    for (Scalar& x : lane) x = static_cast<Scalar>(static_cast<Quotient>(x) / divisor_);
    return load<V>(lane);
  }

 private:
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
};

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA
