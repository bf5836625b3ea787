// Narrow floating-point numbers, as codes, to single precision and back: exact, and to nearest even. With integers
// alone, so that no compiler option changes a result.
#pragma once
#include <intrinsics.h>

#include <hal/device/types.h>

namespace hal::device {

template <class To, class From>
HAL_DEVICE To same_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  union {
    From from;
    To to;
  } both;
  both.from = value;
  return both.to;
}

HAL_DEVICE u32 bits_of(float value) { return same_bits<u32>(value); }
HAL_DEVICE u64 bits_of(double value) { return same_bits<u64>(value); }
HAL_DEVICE float single_of(u32 bits) { return same_bits<float>(bits); }
HAL_DEVICE double double_of(u64 bits) { return same_bits<double>(bits); }

// A sign, then `kExponent` and `kMantissa` bits. Without infinities only the all-ones code is NaN, and what exceeds
// the largest number is NaN too.
template <int kExponent, int kMantissa, bool kInfinities>
struct Narrow {
  static constexpr int kBias = (1 << (kExponent - 1)) - 1;
  static constexpr u32 kSign = 1u << (kExponent + kMantissa);
  static constexpr u32 kTop = ((1u << kExponent) - 1) << kMantissa;  // the exponent field
  static constexpr u32 kNaN = kInfinities ? kTop | 1u << (kMantissa - 1) : kSign - 1;

  HAL_DEVICE static float widen(u32 code) {
    u32 sign = (code & kSign) << (31 - kExponent - kMantissa), magnitude = code & (kSign - 1);
    if (kInfinities ? magnitude > kTop : magnitude == kNaN) return single_of(sign | 0x7fc00000);
    if (kInfinities && magnitude == kTop) return single_of(sign | 0x7f800000);
    if (magnitude >> kMantissa == 0) {  // below the normal numbers: multiples of their last place
      float value = static_cast<float>(magnitude) * single_of(static_cast<u32>(127 + 1 - kBias - kMantissa) << 23);
      return single_of(sign | bits_of(value));
    }
    return single_of(sign | ((magnitude << (23 - kMantissa)) + (static_cast<u32>(127 - kBias) << 23)));
  }

  HAL_DEVICE static u32 round(float value) {
    u32 bits = bits_of(value), magnitude = bits & 0x7fffffff;
    u32 sign = bits >> 31 << (kExponent + kMantissa);
    if (magnitude > 0x7f800000) return kNaN;
    constexpr int kDropped = 23 - kMantissa;
    constexpr u32 kLowest = static_cast<u32>(128 - kBias) << 23;  // the least normal number
    if (magnitude < kLowest) {
      u32 shift = kDropped + ((kLowest >> 23) - (magnitude >> 23));
      if (shift > 24) return sign;
      u32 mantissa = (magnitude & 0x7fffff) | 0x800000;
      return sign | (mantissa + (1u << (shift - 1)) - 1 + (mantissa >> shift & 1)) >> shift;
    }
    u32 rounded = magnitude + (1u << (kDropped - 1)) - 1 + (magnitude >> kDropped & 1);
    u32 code = (rounded >> kDropped) - (static_cast<u32>(127 - kBias) << kMantissa);
    if (kInfinities) return sign | (code < kTop ? code : kTop);
    return code < kNaN ? sign | code : kNaN;
  }
};

struct Half {
  static constexpr u32 kNaN = 0x7e00;
#ifdef HAL_HAS_HALF
  HAL_DEVICE static float widen(u32 code) { return half_to_float(static_cast<u16>(code)); }
  HAL_DEVICE static u32 round(float value) { return value == value ? float_to_half(value) : kNaN; }
#else
  HAL_DEVICE static float widen(u32 code) { return Narrow<5, 10, true>::widen(code); }
  HAL_DEVICE static u32 round(float value) { return Narrow<5, 10, true>::round(value); }
#endif
};

// The upper half of a single-precision number.
struct Bfloat {
  static constexpr u32 kNaN = 0x7fc0;
  HAL_DEVICE static float widen(u32 code) { return single_of(code << 16); }
  HAL_DEVICE static u32 round(float value) {
    if (value != value) return kNaN;
    u32 bits = bits_of(value);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  }
};

using E4M3 = Narrow<4, 3, false>;
using E5M2 = Narrow<5, 2, true>;

}  // namespace hal::device
