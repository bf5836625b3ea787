// The arithmetic of a move: what is accumulated for each type, the operations, division, and the rounding at the end.
// Bit for bit that of hal.reference.arithmetic.
#pragma once
#include <hal/device/numbers.h>

namespace hal::device {

// Codes of hal.interface.dtypes.
enum DType : i32 {
  kInt8, kUint8, kInt16, kUint16, kInt32, kUint32, kInt64, kUint64,
  kFloat16, kBfloat16, kFloat32, kFloat64, kFloat8E4M3, kFloat8E5M2,
};
enum Op : i32 { kSum, kProd, kMin, kMax, kAvg, kBand, kBor, kBxor };

HAL_DEVICE constexpr bool is_float(int dtype) { return dtype >= kFloat16; }

// `Stored` holds the bits of an element, `Acc` is what is accumulated. Sums and products of integers are those of
// `Wrap`, which wraps around and is not widened to a signed type.
template <class T, class StoredT, class WrapT, class WideT>
struct Integer {
  using Stored = StoredT;
  using Acc = T;
  using Wrap = WrapT;
  using Wide = WideT;  // holds every divisor
  HAL_DEVICE static Acc widen(Stored bits) { return static_cast<Acc>(bits); }
  HAL_DEVICE static Stored round(Acc acc) { return static_cast<Stored>(acc); }
};

template <class Format, class StoredT>
struct NarrowFloat {
  using Stored = StoredT;
  using Acc = float;
  HAL_DEVICE static Acc widen(Stored bits) { return Format::widen(bits); }
  HAL_DEVICE static Stored round(Acc acc) { return static_cast<Stored>(Format::round(acc)); }
};

template <int dtype>
struct Element;
template <> struct Element<kInt8> : Integer<i8, u8, u32, i64> {};
template <> struct Element<kUint8> : Integer<u8, u8, u32, u64> {};
template <> struct Element<kInt16> : Integer<i16, u16, u32, i64> {};
template <> struct Element<kUint16> : Integer<u16, u16, u32, u64> {};
template <> struct Element<kInt32> : Integer<i32, u32, u32, i64> {};
template <> struct Element<kUint32> : Integer<u32, u32, u32, u64> {};
template <> struct Element<kInt64> : Integer<i64, u64, u64, i64> {};
template <> struct Element<kUint64> : Integer<u64, u64, u64, u64> {};
template <> struct Element<kFloat16> : NarrowFloat<Half, u16> {};
template <> struct Element<kBfloat16> : NarrowFloat<Bfloat, u16> {};
template <> struct Element<kFloat8E4M3> : NarrowFloat<E4M3, u8> {};
template <> struct Element<kFloat8E5M2> : NarrowFloat<E5M2, u8> {};
template <> struct Element<kFloat32> {
  using Stored = u32;
  using Acc = float;
  HAL_DEVICE static Acc widen(Stored bits) { return single_of(bits); }
  HAL_DEVICE static Stored round(Acc acc) { return acc == acc ? bits_of(acc) : 0x7fc00000; }
};
template <> struct Element<kFloat64> {
  using Stored = u64;
  using Acc = double;
  HAL_DEVICE static Acc widen(Stored bits) { return double_of(bits); }
  HAL_DEVICE static Stored round(Acc acc) { return acc == acc ? bits_of(acc) : 0x7ff8000000000000; }
};

template <int dtype, int op>
HAL_DEVICE constexpr bool is_defined() {
  return op < kBand || !is_float(dtype);
}

// `a` is what is accumulated so far, `b` the next operand.
template <int dtype, int op>
HAL_DEVICE typename Element<dtype>::Acc combine(typename Element<dtype>::Acc a, typename Element<dtype>::Acc b) {
  using Acc = typename Element<dtype>::Acc;
  if constexpr (op == kMin) {
    return a != a ? a : a < b ? a : b;  // NaN where either is; the later of two that compare equal
  } else if constexpr (op == kMax) {
    return a != a ? a : a > b ? a : b;
  } else if constexpr (op == kBand) {
    return static_cast<Acc>(a & b);
  } else if constexpr (op == kBor) {
    return static_cast<Acc>(a | b);
  } else if constexpr (op == kBxor) {
    return static_cast<Acc>(a ^ b);
  } else if constexpr (is_float(dtype)) {
    return op == kProd ? a * b : a + b;
  } else {
    using Wrap = typename Element<dtype>::Wrap;
    Wrap x = static_cast<Wrap>(a), y = static_cast<Wrap>(b);
    return static_cast<Acc>(op == kProd ? x * y : x + y);
  }
}

template <int dtype>
HAL_DEVICE typename Element<dtype>::Acc divided(typename Element<dtype>::Acc acc, i64 divisor) {
  using Acc = typename Element<dtype>::Acc;
  if constexpr (is_float(dtype)) {
    return acc / static_cast<Acc>(divisor);
  } else {
    using Wide = typename Element<dtype>::Wide;
    return static_cast<Acc>(static_cast<Wide>(acc) / static_cast<Wide>(divisor));
  }
}

// Element `i` of a pack, as bits.
template <class Stored, int kWords>
HAL_DEVICE Stored element(const Pack<kWords>& pack, int i) {
  constexpr int kEach = static_cast<int>(sizeof(Stored));
  if constexpr (kEach == 8) {
    return static_cast<Stored>(pack.word[2 * i]) | static_cast<Stored>(pack.word[2 * i + 1]) << 32;
  } else {
    return static_cast<Stored>(pack.word[i * kEach / 4] >> (i * kEach % 4 * 8));
  }
}

template <class Stored, int kWords>
HAL_DEVICE void set_element(Pack<kWords>& pack, int i, Stored bits) {
  constexpr int kEach = static_cast<int>(sizeof(Stored));
  if constexpr (kEach == 8) {
    pack.word[2 * i] = static_cast<u32>(bits);
    pack.word[2 * i + 1] = static_cast<u32>(bits >> 32);
  } else {
    u32& word = pack.word[i * kEach / 4];
    if (i * kEach % 4 == 0) word = 0;  // elements are set in order
    word |= static_cast<u32>(bits) << (i * kEach % 4 * 8);
  }
}

// What is accumulated of the elements of a pack.
template <int dtype, int op, int kWords>
struct Accumulator {
  using Type = Element<dtype>;
  using Stored = typename Type::Stored;
  static constexpr int kElements = 4 * kWords / static_cast<int>(sizeof(Stored));

  typename Type::Acc acc[kElements];

  HAL_DEVICE void begin(const Pack<kWords>& first) {
    HAL_UNROLL
    for (int i = 0; i < kElements; i++) acc[i] = Type::widen(element<Stored>(first, i));
  }
  HAL_DEVICE void add(const Pack<kWords>& next) {
    HAL_UNROLL
    for (int i = 0; i < kElements; i++) acc[i] = combine<dtype, op>(acc[i], Type::widen(element<Stored>(next, i)));
  }
  HAL_DEVICE Pack<kWords> result(i64 divisor) {
    Pack<kWords> pack;
    HAL_UNROLL
    for (int i = 0; i < kElements; i++) {
      auto value = op == kAvg && divisor != 1 ? divided<dtype>(acc[i], divisor) : acc[i];
      set_element<Stored>(pack, i, Type::round(value));
    }
    return pack;
  }
};

// A single element, where memory is not aligned for packs.
template <int dtype, int op>
struct ElementAccumulator {
  using Type = Element<dtype>;
  using Stored = typename Type::Stored;
  typename Type::Acc acc;

  HAL_DEVICE void begin(Stored first) { acc = Type::widen(first); }
  HAL_DEVICE void add(Stored next) { acc = combine<dtype, op>(acc, Type::widen(next)); }
  HAL_DEVICE Stored result(i64 divisor) {
    return Type::round(op == kAvg && divisor != 1 ? divided<dtype>(acc, divisor) : acc);
  }
};

}  // namespace hal::device
