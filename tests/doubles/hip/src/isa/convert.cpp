// Conversions between formats of numbers; integers saturate, and what is no number becomes 0.
#include <cmath>

#include "float.h"

namespace standin::isa {

using u32 = uint32_t;
using i32 = int32_t;

float to_float(Half half) {
  u32 sign = static_cast<u32>(half.bits & 0x8000) << 16, exponent = half.bits >> 10 & 31, mantissa = half.bits & 0x3ff;
  if (exponent == 31) return cast<float>(sign | 0x7f800000 | mantissa << 13);
  float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                              : std::ldexp(static_cast<float>(mantissa + 1024), static_cast<int>(exponent) - 25);
  return sign ? -value : value;
}

Half to_half(float value) {
  u32 bits = cast<u32>(value), sign = bits >> 16 & 0x8000;
  if (std::isnan(value)) return {static_cast<uint16_t>(sign | 0x7e00 | (bits >> 13 & 0x3ff))};
  float size = std::fabs(value);
  if (size >= 65520) return {static_cast<uint16_t>(sign | 0x7c00)};  // halfway between the greatest and the next
  int exponent = size == 0 ? -14 : std::max(std::ilogb(size), -14);
  // steps of the format at this size, rounded to even; one step too many carries into the exponent as it should
  auto steps = static_cast<u32>(std::nearbyint(std::ldexp(size, 10 - exponent)));
  return {static_cast<uint16_t>(sign | (static_cast<u32>(exponent + 14) * 1024 + steps))};
}

template <class To, class From>
static To saturated(From value) {
  if (std::isnan(value)) return 0;
  double whole = std::trunc(static_cast<double>(value));
  constexpr double kLeast = std::numeric_limits<To>::min(), kMost = std::numeric_limits<To>::max();
  return static_cast<To>(std::min(std::max(whole, kLeast), kMost));
}

void add_convert(Opcodes& all) {
  auto put = [&](const char* name, auto function, unsigned honours) { all[name] = {lanes(function), honours}; };
  put("v_cvt_f32_f16", [](Half a) { return arithmetic(to_float(a), to_float(a)); }, kSigns | kSdwa | kClamp);
  put("v_cvt_f16_f32", [](float a) { return to_half(a); }, kSigns | kSdwa);
  put("v_cvt_f64_f32", [](float a) { return arithmetic(static_cast<double>(a), a); }, kSigns | kClamp);
  put("v_cvt_f32_f64", [](double a) { return arithmetic(static_cast<float>(a), a); }, kSigns | kClamp);
  put("v_cvt_f32_u32", [](u32 a) { return static_cast<float>(a); }, kSdwa);
  put("v_cvt_f32_i32", [](i32 a) { return static_cast<float>(a); }, kSdwa);
  put("v_cvt_f64_u32", [](u32 a) { return static_cast<double>(a); }, 0);
  put("v_cvt_f64_i32", [](i32 a) { return static_cast<double>(a); }, 0);
  put("v_cvt_u32_f32", [](float a) { return saturated<u32>(a); }, kSigns);
  put("v_cvt_i32_f32", [](float a) { return saturated<i32>(a); }, kSigns);
  put("v_cvt_u32_f64", [](double a) { return saturated<u32>(a); }, kSigns);
  put("v_cvt_i32_f64", [](double a) { return saturated<i32>(a); }, kSigns);
  put("v_cvt_f16_u16", [](uint16_t a) { return to_half(a); }, kSdwa);
  put("v_cvt_f16_i16", [](int16_t a) { return to_half(a); }, kSdwa);
  put("v_cvt_f32_ubyte0", [](u32 a) { return static_cast<float>(a & 0xff); }, kSdwa);
  put("v_cvt_f32_ubyte1", [](u32 a) { return static_cast<float>(a >> 8 & 0xff); }, kSdwa);
  put("v_cvt_f32_ubyte2", [](u32 a) { return static_cast<float>(a >> 16 & 0xff); }, kSdwa);
  put("v_cvt_f32_ubyte3", [](u32 a) { return static_cast<float>(a >> 24); }, kSdwa);
}

}  // namespace standin::isa
