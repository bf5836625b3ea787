// Floating point in each lane. The mode is the one that clang asks for: round to nearest even, subnormal numbers kept;
// a kernel that asks for another one is refused where it is loaded (code.cpp).
#include "float.h"

#include <cmath>

namespace standin::isa {

using u32 = uint32_t;
using u64 = uint64_t;

// The order that v_min and v_max go by: -0 lies below +0; a number wins over what is none.
template <class T>
static T least(T a, T b) {
  if (std::isnan(a)) return std::isnan(b) ? a + b : b;
  if (std::isnan(b)) return a;
  return a < b || (a == b && std::signbit(a)) ? a : b;
}
template <class T>
static T greatest(T a, T b) {
  if (std::isnan(a)) return std::isnan(b) ? a + b : b;
  if (std::isnan(b)) return a;
  return a > b || (a == b && !std::signbit(a)) ? a : b;
}

template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int kBias = 127, kMantissa = 23, kScale = 64, kFar = 96, kUnderflow = -150;
};
template <>
struct Format<double> {
  static constexpr int kBias = 1023, kMantissa = 52, kScale = 128, kFar = 768, kUnderflow = -1075;
};
// The exponent as the format stores it.
template <class T>
static int exponent(T value) {
  using Bits = std::conditional_t<sizeof(T) == 8, u64, u32>;
  return static_cast<int>(cast<Bits>(value) >> Format<T>::kMantissa) & (2 * Format<T>::kBias + 1);
}
template <class T>
static bool subnormal(T value) {
  return std::fpclassify(value) == FP_SUBNORMAL;
}

// Division in steps that keep clear of overflow and of subnormal numbers, after AMD, "CDNA3 ISA Reference Guide",
// V_DIV_SCALE, V_DIV_FMAS, V_DIV_FIXUP. The sequence that compilers make of them rounds correctly; no step of it has
// been compared with hardware.
template <class T>
static Carried<T> div_scale(T value, T denominator, T numerator) {
  constexpr int kScale = Format<T>::kScale;
  if (numerator == 0 || denominator == 0) return {cast<T>(not_a_number<T>()), false};
  int apart = exponent(numerator) - exponent(denominator);
  bool tiny_inverse = subnormal(1 / denominator), tiny_quotient = subnormal(numerator / denominator);
  if (apart >= Format<T>::kFar) return {value == denominator ? std::ldexp(value, kScale) : value, true};
  if (subnormal(denominator)) return {std::ldexp(value, kScale), false};
  // downwards: such a denominator is at least a quarter of the greatest number
  if (tiny_inverse && tiny_quotient) return {value == denominator ? std::ldexp(value, -kScale) : value, true};
  if (tiny_inverse) return {std::ldexp(value, -kScale), false};
  if (tiny_quotient) return {value == numerator ? std::ldexp(value, kScale) : value, true};
  constexpr int kTiny = sizeof(T) == 8 ? 53 : 23;
  if (exponent(numerator) <= kTiny) return {std::ldexp(value, kScale), false};
  return {value, false};
}
template <class T>
static T div_fmas(T a, T b, T c, bool scaled) {
  if (!scaled) return arithmetic(std::fma(a, b, c), a, b, c);
  // one rounding, also where the result is subnormal
  __float128 exact = static_cast<__float128>(a) * b + c;
  int by = exponent(c) > Format<T>::kBias ? Format<T>::kScale : -Format<T>::kScale;
  __float128 factor = 1;
  for (int i = 0; i < std::abs(by); i++) factor *= by > 0 ? 2.0 : 0.5;
  return arithmetic(static_cast<T>(exact * factor), a, b, c);
}
template <class T>
static T div_fixup(T quotient, T denominator, T numerator) {
  bool negative = std::signbit(denominator) != std::signbit(numerator);
  T sign = negative ? T{-1} : T{1};
  if (std::isnan(numerator)) return numerator + numerator;
  if (std::isnan(denominator)) return denominator + denominator;
  if ((denominator == 0 && numerator == 0) || (std::isinf(denominator) && std::isinf(numerator))) {
    return std::copysign(cast<T>(not_a_number<T>()), T{-1});
  }
  T infinite = std::numeric_limits<T>::infinity();
  if (denominator == 0 || std::isinf(numerator)) return sign * infinite;
  if (std::isinf(denominator) || numerator == 0) return sign * 0;
  int apart = exponent(numerator) - exponent(denominator);
  if (apart < Format<T>::kUnderflow) return sign * 0;
  if (std::isnan(quotient)) return sign * infinite;  // it has overflowed on the way
  return std::copysign(quotient, sign);
}

template <class T, class Class>
static bool is_class(T value, Class mask) {
  bool negative = std::signbit(value);
  int kind = 0;  // from the lowest bit: NaN that signals, NaN, -inf, -normal, -subnormal, -0, +0, …, +inf
  switch (std::fpclassify(value)) {
    case FP_NAN: kind = quiet(value) ? 1 : 0; break;
    case FP_INFINITE: kind = negative ? 2 : 9; break;
    case FP_NORMAL: kind = negative ? 3 : 8; break;
    case FP_SUBNORMAL: kind = negative ? 4 : 7; break;
    default: kind = negative ? 5 : 6;
  }
  return mask >> kind & 1;
}

// What all three formats have; those of 16 bits work on floats and are rounded once more, which is exact for these.
template <class T, class Lift>
static void add_common(Opcodes& all, const std::string& type, Lift lift) {
  unsigned honours = kSigns | kSdwa | (sizeof(T) == 2 ? kOpSel : kClamp);
  auto compare = [&](const char* name, auto function) {
    all["v_cmp_" + std::string(name) + type] = {
        lanes([=](T a, T b) { return Bit{function(lift(a), lift(b))}; }), kSigns | kSdwa};
  };
  compare("lt", [](auto a, auto b) { return a < b; });
  compare("le", [](auto a, auto b) { return a <= b; });
  compare("gt", [](auto a, auto b) { return a > b; });
  compare("ge", [](auto a, auto b) { return a >= b; });
  compare("eq", [](auto a, auto b) { return a == b; });
  compare("neq", [](auto a, auto b) { return !(a == b); });
  compare("lg", [](auto a, auto b) { return a < b || a > b; });
  compare("nlg", [](auto a, auto b) { return !(a < b || a > b); });
  compare("nlt", [](auto a, auto b) { return !(a < b); });
  compare("nle", [](auto a, auto b) { return !(a <= b); });
  compare("ngt", [](auto a, auto b) { return !(a > b); });
  compare("nge", [](auto a, auto b) { return !(a >= b); });
  compare("o", [](auto a, auto b) { return !std::isnan(a) && !std::isnan(b); });
  compare("u", [](auto a, auto b) { return std::isnan(a) || std::isnan(b); });
  auto one = [&](const char* name, auto function) {
    all["v_" + std::string(name) + type] = {lanes([=](T a) {
                                              return lower<T>(arithmetic(function(lift(a)), lift(a)));
                                            }),
                                            honours};
  };
  one("trunc", [](auto a) { return std::trunc(a); });
  one("floor", [](auto a) { return std::floor(a); });
  one("ceil", [](auto a) { return std::ceil(a); });
  one("rndne", [](auto a) { return std::nearbyint(a); });
  one("rcp", [](auto a) { return 1 / a; });
  one("sqrt", [](auto a) { return std::sqrt(a); });
  auto two = [&](const char* name, auto function) {
    all["v_" + std::string(name) + type] = {
        lanes([=](T a, T b) { return lower<T>(arithmetic(function(lift(a), lift(b)), lift(a), lift(b))); }), honours};
  };
  two("add", [](auto a, auto b) { return a + b; });
  two("sub", [](auto a, auto b) { return a - b; });
  two("subrev", [](auto a, auto b) { return b - a; });
  two("mul", [](auto a, auto b) { return a * b; });
  two("min", [](auto a, auto b) { return least(a, b); });
  two("max", [](auto a, auto b) { return greatest(a, b); });
}

template <class T>
static void add_fused(Opcodes& all, const std::string& type) {
  auto fma = [](T a, T b, T c) { return arithmetic(std::fma(a, b, c), a, b, c); };
  all["v_fma" + type] = {lanes(fma), kSigns | kClamp};
  all["v_fmac" + type] = {accumulate(fma), kSigns | kClamp};
  all["v_div_scale" + type] = {lanes([](T a, T b, T c) { return div_scale(a, b, c); }), kSigns};
  all["v_div_fixup" + type] = {lanes([](T a, T b, T c) { return div_fixup(a, b, c); }), kSigns};
  all["v_div_fmas" + type] = {[](Wave& wave, const Instruction& instruction) {
                                T a[kLanes], b[kLanes], c[kLanes];
                                fetch(wave, instruction, 1, a);
                                fetch(wave, instruction, 2, b);
                                fetch(wave, instruction, 3, c);
                                u64 scaled = wave.pair(kVcc);
                                for (int i = 0; i < kLanes; i++) a[i] = div_fmas(a[i], b[i], c[i], scaled >> i & 1);
                                store(wave, instruction, a);
                              },
                              kSigns};
  all["v_cmp_class" + type] = {lanes([](T a, u32 mask) { return Bit{is_class(a, mask)}; }), kSigns};
  all["v_ldexp" + type] = {lanes([](T a, int by) { return arithmetic(std::ldexp(a, by), a); }), kSigns};
  all["v_fract" + type] = {lanes([](T a) { return arithmetic(a - std::floor(a), a); }), kSigns};
  all["v_frexp_mant" + type] = {lanes([](T a) {
                                  int exponent;
                                  return std::isfinite(a) ? std::frexp(a, &exponent) : a;
                                }),
                                kSigns};
  all["v_frexp_exp_i32" + type] = {lanes([](T a) {
                                     int exponent = 0;
                                     if (std::isfinite(a)) std::frexp(a, &exponent);
                                     return exponent;
                                   }),
                                   kSigns};
}

void add_float(Opcodes& all) {
  add_common<float>(all, "_f32", [](float a) { return a; });
  add_common<double>(all, "_f64", [](double a) { return a; });
  add_common<Half>(all, "_f16", [](Half a) { return to_float(a); });
  add_fused<float>(all, "_f32");
  add_fused<double>(all, "_f64");
  all["v_rcp_iflag_f32"] = all["v_rcp_f32"];
  all["v_min3_f32"] = {lanes([](float a, float b, float c) { return least(least(a, b), c); }), kSigns};
  all["v_max3_f32"] = {lanes([](float a, float b, float c) { return greatest(greatest(a, b), c); }), kSigns};
  // Multiply and add with two roundings; these alone take subnormal numbers as zero, whatever the mode.
  auto flush = [](float a) { return subnormal(a) ? std::copysign(0.0f, a) : a; };
  auto mad = [flush](float a, float b, float c) {
    float product = flush(flush(a) * flush(b));
    return arithmetic(flush(product + flush(c)), a, b, c);
  };
  all["v_mad_f32"] = {lanes(mad), kSigns | kClamp};
  all["v_mac_f32"] = {accumulate(mad), kSigns};
  all["v_madmk_f32"] = {lanes([mad](float a, float b, float c) { return mad(a, b, c); }), 0};
  all["v_madak_f32"] = all["v_madmk_f32"];
  auto fma = [](float a, float b, float c) { return arithmetic(std::fma(a, b, c), a, b, c); };
  all["v_fmamk_f32"] = all["v_fmaak_f32"] = {lanes(fma), 0};
}

}  // namespace standin::isa
