// Arithmetic on two 8-bit floats without widening them, where the CPU looks 64 bytes up at once in its registers.
//
// To the mantissa of the larger magnitude, with three bits below its last place, that of the smaller is added, or taken
// away, shifted by the difference of the exponents; what the sum says of exponent and rounding is looked up. Of the bits
// shifted out it is enough to know whether any was set (the guard, round and sticky bits of J. T. Coonen, "An
// implementation guide to a proposed standard for floating-point arithmetic", 1980). A product is looked up by both
// mantissas.
//
// Exponents stand above mantissas, as in codes, so that a step to the next number is 1; a number that is subnormal in
// the type counts here as normal with a smaller exponent. The tables are made from the types' definitions when this is
// compiled; tests try every pair of numbers there is.
#pragma once

#include "reduce.h"

#if defined(__AVX512VBMI__)
#define HAL_KERNELS_LOOKUPS 1

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

template <int entries>
struct ByteTable {
  alignas(64) uint8_t at[entries] = {};

  // By the lower bits of each index.
  __m512i operator[](__m512i index) const {
    if constexpr (entries == 64) {
      return _mm512_permutexvar_epi8(index, part(0));
    } else {
      return _mm512_permutex2var_epi8(part(0), index, part(1));
    }
  }
  // The index itself where not `some`.
  __m512i where(__mmask64 some, __m512i index) const {
    return _mm512_mask2_permutex2var_epi8(part(0), index, some, part(1));
  }

 private:
  __m512i part(int n) const { return _mm512_load_si512(at + 64 * n); }
};

// n / 2^shift, to nearest even; a negative shift multiplies.
constexpr int rounded(int n, int shift) {
  if (shift <= 0) return n << -shift;
  const int whole = n >> shift, rest = n & ((1 << shift) - 1), half = 1 << (shift - 1);
  return whole + (rest > half || (rest == half && whole % 2 != 0));
}

constexpr int log2_of(int n) { return n < 2 ? 0 : 1 + log2_of(n / 2); }

template <class Widened, int bits_of_mantissa, int bias, int special, bool infinite, uint8_t nan>
struct Format {
  using Wide = Widened;
  static constexpr int kMantissa = bits_of_mantissa, kBias = bias;
  static constexpr int kOne = 1 << kMantissa;  // the mantissa's leading bit, and the codes of one exponent
  static constexpr int kSpecial = special;    // the magnitude of what overflows; from it on none is a number
  static constexpr bool kInfinite = infinite;
  static constexpr char kNan = nan;
  // A result is a code, perhaps below those of normal numbers, plus this: an addition that saturates overflows right.
  static constexpr int kZero = 255 - special, kSmallestNormal = kZero + kOne;

  // What a number's magnitude, which is not zero, is as a normal number.
  struct Normal {
    int exponent, mantissa;
    constexpr explicit Normal(int magnitude) : exponent(magnitude / kOne), mantissa(magnitude % kOne) {
      if (exponent > 0) return;
      for (exponent = 1; mantissa < kOne; mantissa *= 2) --exponent;
      mantissa -= kOne;
    }
    constexpr int code() const { return exponent * kOne + mantissa; }
  };
};

using E4M3 = Format<Float8E4M3, 3, 7, 0x7f, false, 0x7f>;
using E5M2 = Format<Float8E5M2, 2, 15, 0x7c, true, 0x7e>;

inline __m512i all(int byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }

inline __m512i magnitudes(__m512i codes) { return _mm512_and_si512(codes, all(0x7f)); }

// Each result's code, with the sign that is the highest bit of `signs`.
template <class F>
inline __m512i signed_codes(__m512i results, __m512i signs) {
  const __m512i negative = _mm512_sub_epi8(results, all(F::kZero - 128));
  return _mm512_ternarylogic_epi64(signs, all(0x7f), negative, 0xa8);  // (signs | 0x7f) & negative
}

// One step for each of `n` vectors: a CPU does better with the steps of several in turn than with one after the other.
template <size_t n, class Step>
[[gnu::always_inline]] inline void each(const Step& step) {
#pragma GCC unroll 4
  for (size_t v = 0; v < n; ++v) step(v);
}

// `halved`: 1 for the average of two, 0 for their sum.
template <class F, int halved>
struct SumTables {
  static constexpr int kOne = F::kOne, kGuards = 3;
  static constexpr int kFar = kOne == 8 ? 6 : 5;  // exponents apart by so much do not matter to each other
  // A result is what is looked up for the exponent plus what is looked up for the sum, made positive by an offset.
  static constexpr int kOffset = kOne == 8 ? 128 : 125, kBase = F::kZero - kOffset;
  // What is looked up where nothing is left. With this offset it gives, with any exponent, a result that no number has:
  // a table where one had it would not compile.
  static constexpr int kCancelled = kOne == 8 ? 1 : 0;
  // Sums that no numbers have; infinity is in the larger, and more or less than that where the smaller is infinite too.
  static constexpr int kNanSum = F::kInfinite ? 124 : 250;
  static constexpr int kInfinity = 220, kInfinitySum = 120, kBothInfinite = 7;
  // A result that no number has, for NaN where not all that overflows is. There the addition need not saturate.
  static constexpr int kNanResult = 64;

  // Of the larger magnitude: its exponent, and its mantissa with guard bits.
  ByteTable<128> exponent, larger;
  // Of the smaller one: its exponent, negated, and its mantissa; with `exponent` added, which saturates where the two are
  // too far apart, the index in `smaller` of its mantissa where it belongs.
  ByteTable<128> remainder;
  ByteTable<64> smaller;
  // By the sum of the mantissas, below 128 and from there on: what it adds to the exponent.
  ByteTable<128> low, high;
  // By the lower bits of a result below the smallest normal number: the result as the type has it; 128 less where it
  // has no sign, as where numbers have cancelled out. A sum of nothing but zeros keeps its sign.
  ByteTable<128> small;

  constexpr SumTables() {
    constexpr int kNear = 255 - kFar * kOne;
    for (int x = 1; x < F::kSpecial; ++x) {
      const int e = x < kOne ? 1 : x / kOne;
      exponent.at[x] = kBase + e * kOne;
      larger.at[x] = (x < kOne ? x : kOne + x % kOne) << kGuards;
      const typename F::Normal n(x);
      remainder.at[x] = kNear - kBase - n.exponent * kOne + n.mantissa;
    }
    for (int d = 0; d < kFar; ++d) {
      for (int m = 0; m < kOne; ++m) {
        const int whole = (kOne + m) << kGuards;
        smaller.at[(kNear + d * kOne + m) & 63] = whole >> d | (whole % (1 << d) != 0);
      }
    }
    // Zero is too far from all but itself.
    exponent.at[0] = kBase + kOne - 1;
    remainder.at[0] = 255 - (kBase + kOne);
    larger.at[0] = smaller.at[254 & 63];

    low.at[0] = kCancelled;
    for (int sum = 1; sum < 32 * kOne; ++sum) {
      const int shift = log2_of(sum) - F::kMantissa;
      const int code = (shift - kGuards - halved) * kOne + rounded(sum, shift) - kOne;
      (sum < 128 ? low : high).at[sum % 128] = kOffset + code;
    }
    for (uint8_t& entry : small.at) entry = F::kZero;
    for (int x = 0; x < F::kSpecial; ++x) small.at[exponent.at[x] + kCancelled] = F::kZero - 128;
    for (int n = 1; n < kOne << halved; ++n) {
      uint8_t& entry = small.at[(F::kZero + typename F::Normal(n).code() - halved * kOne) & 127];
      if (entry != F::kZero) throw "a number's result is one of those that cancel out";
      entry = F::kZero + rounded(n, halved);
    }

    for (int x = F::kSpecial; x < 128; ++x) {
      exponent.at[x] = 255;
      larger.at[x] = kNanSum;
      remainder.at[x] = 0;
    }
    if constexpr (F::kInfinite) {
      exponent.at[F::kSpecial] = kInfinity;
      larger.at[F::kSpecial] = kInfinitySum;
      smaller.at[kInfinity & 63] = -kBothInfinite;
      low.at[kInfinitySum] = low.at[kInfinitySum - kBothInfinite] = 255 - kInfinity;
      low.at[kInfinitySum + kBothInfinite] = 256 + kNanResult - kInfinity;  // the addition wraps around
      low.at[kNanSum] = 256 + kNanResult - 255;
      small.at[kNanResult] = F::kZero - 128 + F::kNan;
      for (int n = 0; n < kOne - 1 && halved == 0; ++n) small.at[n] = 255;  // what overflowed
    } else {
      high.at[kNanSum - 128] = 255;
    }
  }
};

template <class F, int halved>
struct LookedUpSum {
  static constexpr bool kCanonical = true;
  static constexpr SumTables<F, halved> kTables{};

  template <size_t n, class Acc>
  [[gnu::always_inline]] static void apply_each(Acc (&acc)[n], const Acc (&next)[n]) {
    constexpr const auto& t = kTables;
    __m512i a[n], b[n], x[n], y[n], sign[n], exponent[n], mantissa[n], other[n], sum[n], result[n];
    __mmask64 differ[n], high[n];
    each<n>([&](size_t v) { a[v] = bits<__m512i>(acc[v].part[0]), b[v] = bits<__m512i>(next[v].part[0]); });
    each<n>([&](size_t v) { x[v] = magnitudes(a[v]), y[v] = magnitudes(b[v]); });
    // of the larger
    each<n>([&](size_t v) { sign[v] = _mm512_ternarylogic_epi64(_mm512_sub_epi8(x[v], y[v]), b[v], a[v], 0xca); });
    each<n>([&](size_t v) { differ[v] = _mm512_movepi8_mask(_mm512_xor_si512(a[v], b[v])); });
    each<n>([&](size_t v) { mantissa[v] = _mm512_max_epu8(x[v], y[v]), other[v] = _mm512_min_epu8(x[v], y[v]); });
    each<n>([&](size_t v) { exponent[v] = t.exponent[mantissa[v]]; });
    each<n>([&](size_t v) { mantissa[v] = t.larger[mantissa[v]]; });
    each<n>([&](size_t v) { other[v] = t.remainder[other[v]]; });
    each<n>([&](size_t v) { other[v] = t.smaller[_mm512_adds_epu8(exponent[v], other[v])]; });
    each<n>([&](size_t v) { sum[v] = _mm512_add_epi8(mantissa[v], other[v]); });
    each<n>([&](size_t v) { sum[v] = _mm512_mask_sub_epi8(sum[v], differ[v], mantissa[v], other[v]); });
    if constexpr (2 * F::kOne << t.kGuards > 127) {
      each<n>([&](size_t v) { high[v] = _mm512_movepi8_mask(sum[v]); });
      each<n>([&](size_t v) { result[v] = t.low.where(~high[v], sum[v]); });
      each<n>([&](size_t v) { result[v] = t.high.where(high[v], result[v]); });
    } else {
      each<n>([&](size_t v) { result[v] = t.low[sum[v]]; });
    }
    each<n>([&](size_t v) {
      result[v] = F::kInfinite ? _mm512_add_epi8(exponent[v], result[v]) : _mm512_adds_epu8(exponent[v], result[v]);
    });
    each<n>([&](size_t v) {
      result[v] = t.small.where(_mm512_cmplt_epu8_mask(result[v], all(F::kSmallestNormal)), result[v]);
    });
    each<n>([&](size_t v) {
      // what overflows is NaN without a sign, and the next byte after it is 0
      if constexpr (!F::kInfinite) sign[v] = _mm512_and_si512(sign[v], _mm512_add_epi8(result[v], all(1)));
      result[v] = signed_codes<F>(result[v], sign[v]);
      acc[v].part[0] = bits<U8>(result[v]);
    });
  }
};

template <class F>
struct ProductTables {
  static constexpr int kOne = F::kOne, kBase = 4 * F::kOne;

  ByteTable<128> factor;  // a magnitude as a normal number
  ByteTable<64> both;     // by the mantissas: what they and the exponents' bias add to the sum of the factors

  constexpr ProductTables() {
    for (int x = 1; x < 128; ++x) factor.at[x] = x < F::kSpecial ? kBase + typename F::Normal(x).code() : 255;
    for (int i = 0; i < 64; ++i) {
      const int m = i % kOne, n = i / kOne % kOne, product = (kOne + m) * (kOne + n);
      const int shift = log2_of(product) - F::kMantissa;
      const int code = (shift - F::kMantissa) * kOne + rounded(product, shift) - kOne;
      both.at[i] = F::kZero - 2 * kBase - F::kBias * kOne + code - m - n;
    }
  }
};

template <class F>
struct LookedUpProduct {
  static constexpr bool kCanonical = true;
  static constexpr ProductTables<F> kTables{};

  template <size_t n, class Acc>
  [[gnu::always_inline]] static void apply_each(Acc (&acc)[n], const Acc (&next)[n]) {
    each<n>([&](size_t v) { acc[v].part[0] = product(acc[v].part[0], next[v].part[0]); });
  }

 private:
  static U8 product(U8 left, U8 right) {
    constexpr const auto& t = kTables;
    const __m512i a = bits<__m512i>(left), b = bits<__m512i>(right), x = magnitudes(a), y = magnitudes(b);
    const __mmask64 some = _mm512_test_epi8_mask(x, x) & _mm512_test_epi8_mask(y, y);
    const __m512i f = t.factor[x], g = t.factor[y];
    const __m512i mantissas = _mm512_ternarylogic_epi64(all(F::kOne - 1), f, _mm512_slli_epi16(g, F::kMantissa), 0xca);
    const __m512i result = _mm512_adds_epu8(_mm512_adds_epu8(f, g), t.both[mantissas]);
    // A subnormal product is rounded at another place, and infinity times zero is none.
    const __mmask64 other = _mm512_mask_cmplt_epu8_mask(some, result, all(F::kSmallestNormal)) |
                            _mm512_cmpeq_epi8_mask(result, all(-1));
    const __m512i or_zero = _mm512_mask_mov_epi8(all(F::kZero), some, result);
    const __m512i number = signed_codes<F>(or_zero, _mm512_xor_si512(a, b));
    if (other == 0) [[likely]] return bits<U8>(number);
    return bits<U8>(_mm512_mask_mov_epi8(number, other, widened(left, right)));
  }

  [[gnu::noinline]] static __m512i widened(U8 a, U8 b) {
    using Wide = typename F::Wide;
    auto acc = Wide::widen(bits<U16>(a));
    acc.template combine<Prod>(Wide::widen(bits<U16>(b)));
    acc.template finish<Prod>(Keep(1));
    return bits<__m512i>(Wide::round(acc));
  }
};

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA

#endif
