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

// NaN where either operand is; the later of two that compare equal (as +0 and -0 do).
struct Min {
  template <class V>
  static V apply(V a, V b) {
    const V lower = a < b ? a : b;
    return a == a ? lower : a;
  }
};

struct Max {
  template <class V>
  static V apply(V a, V b) {
    const V higher = a > b ? a : b;
    return a == a ? higher : a;
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
  template <class Type>
  typename Type::Acc apply(typename Type::Acc acc) const {
    return acc;
  }
};

template <class Scalar>
struct Divide;

template <class Scalar>
struct DivideFloat {
  explicit DivideFloat(uint64_t divisor)
      : divisor_(static_cast<Scalar>(divisor)), reciprocal_(1 / divisor_), exact_((divisor & (divisor - 1)) == 0) {}
  template <class Type>
  typename Type::Acc apply(typename Type::Acc acc) const {
    // The reciprocal of a power of two is exact, so the product is the quotient, and several times faster.
    return exact_ ? acc * reciprocal_ : acc / divisor_;
  }

 private:
  Scalar divisor_, reciprocal_;
  bool exact_;
};

template <>
struct Divide<float> : DivideFloat<float> {
  using DivideFloat::DivideFloat;
};
template <>
struct Divide<double> : DivideFloat<double> {
  using DivideFloat::DivideFloat;
};

// Integers: there is no vector instruction, but a float with more mantissa bits than the integer has gives a quotient
// that truncates to the right number. (Next below an integer n, a / d is short of it by at least 1/d, which is more
// than half a last place of n.) 64 bits have no such float.
template <int bytes>
struct QuotientOf {
  using type = float;
};
template <>
struct QuotientOf<4> {
  using type = double;
};

template <class Scalar>
struct Divide {
  explicit Divide(uint64_t divisor) : divisor_(static_cast<Wide>(divisor)) {}
  template <class Type>
  typename Type::Acc apply(typename Type::Acc acc) const {
    Scalar lane[Type::kLanes];
    store(lane, acc);
    for (int i = 0; i < Type::kLanes; ++i) lane[i] = static_cast<Scalar>(static_cast<Wide>(lane[i]) / divisor_);
    return load<typename Type::Acc>(lane);
  }

 private:
  using Wide = typename QuotientOf<sizeof(Scalar)>::type;
  Wide divisor_;
};

template <class Scalar>
struct DivideInteger64 {
  explicit DivideInteger64(uint64_t divisor) : divisor_(static_cast<Scalar>(divisor)) {}
  template <class Type>
  typename Type::Acc apply(typename Type::Acc acc) const {
    for (int i = 0; i < Type::kLanes; ++i) acc[i] /= divisor_;
    return acc;
  }

 private:
  Scalar divisor_;
};

template <>
struct Divide<int64_t> : DivideInteger64<int64_t> {
  using DivideInteger64::DivideInteger64;
};
template <>
struct Divide<uint64_t> : DivideInteger64<uint64_t> {
  using DivideInteger64::DivideInteger64;
};

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA
