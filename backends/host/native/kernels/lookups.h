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

// Each bit of `yes` where `which` has it set, of `no` elsewhere.
inline __m512i where(__m512i which, __m512i yes, __m512i no) {
  return _mm512_ternarylogic_epi64(which, yes, no, 0xca);
}

// Each result's code, with the sign that is the highest bit of `signs`.
template <int zero>
inline __m512i signed_codes(__m512i results, __m512i signs) {
  const __m512i negative = _mm512_sub_epi8(results, all(zero - 128));
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
  // With three bits of mantissa, sums have eight bits. Where larger mantissas from 5/4 on count half, with the next
  // exponent, and so those of the smallest numbers, seven bits tell all sums apart.
  static constexpr bool kRaises = kOne == 8;
  // As those of the type, but an average cannot overflow.
  static constexpr int kZero = halved ? 128 : F::kZero, kSmallestNormal = kZero + kOne;
  // A result is what is looked up for the exponent plus what is looked up for the sum, made positive by an offset.
  static constexpr int kOffset = kOne == 8 ? 128 + 8 * halved : 125, kBase = kZero - kOffset;
  // What is looked up where nothing is left. With this offset it gives, with any exponent, a result that no number has:
  // a table where one had it would not compile.
  static constexpr int kCancelled = kOne == 8 ? 1 : 0;
  // Sums that no numbers have; infinity is in the larger, and more or less than that where the smaller is infinite too.
  static constexpr int kNanSum = 124;
  static constexpr int kInfinity = 220, kInfinitySum = 120, kBothInfinite = 7;
  // Where there is no infinity, the addition of both saturates for all that is NaN. Else no number has this result.
  static constexpr int kNanResult = F::kInfinite ? 64 : 255;
  static constexpr int kDiffer = 64;  // is added to the index in `smaller` where the signs differ

  // Of the larger magnitude: its exponent, and its mantissa with guard bits.
  ByteTable<128> exponent, larger;
  // Of the smaller one: its exponent, negated, and its mantissa; with `exponent` added, which saturates where the two are
  // too far apart, the index in `smaller` of its mantissa where it belongs.
  ByteTable<128> remainder;
  ByteTable<128> smaller;
  // By the sum of the mantissas: what it adds to the exponent.
  ByteTable<128> combined;
  // By the lower bits of a result below the smallest normal number: the result as the type has it; 128 less where it
  // has no sign, as where numbers have cancelled out. A sum of nothing but zeros keeps its sign.
  ByteTable<128> small;

  constexpr SumTables() {
    constexpr int kNear = 255 - kFar * kOne;
    for (int x = 1; x < F::kSpecial; ++x) {
      const Larger l(x);
      exponent.at[x] = kBase + l.exponent * kOne;
      larger.at[x] = l.mantissa;
      const typename F::Normal n(x);
      remainder.at[x] = kNear - kBase - n.exponent * kOne + n.mantissa;
    }
    for (int d = 0; d < kFar; ++d) {
      for (int m = 0; m < kOne; ++m) {
        const int index = (kNear + d * kOne + m) & 63, mantissa = shifted(d, m);
        smaller.at[index] = distinct(mantissa);
        smaller.at[index + kDiffer] = -mantissa;
      }
    }
    // Exponents differ in every way there is.
    for (int x = 1; x < (kFar + 2) * kOne; ++x) {
      for (int y = 1; y <= x; ++y) {
        const Larger l(x);
        const typename F::Normal n(y);
        const int d = l.exponent - n.exponent, mantissa = d < kFar ? shifted(d, n.mantissa) : 0;
        put(l.mantissa + distinct(mantissa), l.mantissa + mantissa);
        put(l.mantissa - mantissa, l.mantissa - mantissa);
      }
    }
    // Zero is too far from all but itself.
    exponent.at[0] = exponent.at[1] - 1;
    remainder.at[0] = 255 - exponent.at[1];
    larger.at[0] = smaller.at[254 & 63];
    put(2 * larger.at[0], 2 * larger.at[0]);

    for (uint8_t& entry : small.at) entry = kZero;
    for (int x = 0; x < F::kSpecial; ++x) small.at[(exponent.at[x] + kCancelled) & 127] = kZero - 128;
    for (int n = 1; n < kOne << halved; ++n) {
      uint8_t& entry = small.at[(kZero + typename F::Normal(n).code() - halved * kOne) & 127];
      if (entry != kZero) throw "a number's result is one of those that cancel out";
      entry = kZero + rounded(n, halved);
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
      smaller.at[(kInfinity & 63) + kDiffer] = kBothInfinite;
      combined.at[kInfinitySum] = combined.at[kInfinitySum - kBothInfinite] = kZero + F::kSpecial - kInfinity;
      combined.at[kNanSum] = 256 + kNanResult - 255;
      combined.at[kInfinitySum + kBothInfinite] = 256 + kNanResult - kInfinity;  // the addition wraps around
      for (int n = 0; n < kOne - 1 && halved == 0; ++n) small.at[n] = 255;  // what overflowed
    }
    small.at[kNanResult & 127] = kZero - 128 + F::kNan;
  }

 private:
  struct Larger {
    int exponent, mantissa;
    constexpr explicit Larger(int x)
        : exponent(x < kOne ? 1 : x / kOne), mantissa((x < kOne ? x : kOne + x % kOne) << kGuards) {
      if (kRaises && (x < 2 * kOne || x % kOne >= kOne / 4)) ++exponent, mantissa /= 2;
    }
  };

  static constexpr int shifted(int exponents, int mantissa) {
    const int whole = (kOne + mantissa) << kGuards;
    return whole >> exponents | (whole % (1 << exponents) != 0);
  }

  // With this, sums from 128 on are odd, and without their highest bit none of the others is one of them.
  static constexpr int distinct(int smaller) { return smaller + (kRaises && smaller >= 56 ? 1 : 0); }

  constexpr void put(int index, int sum) {
    const int shift = log2_of(sum) - F::kMantissa;
    const int code = (shift - kGuards - halved) * kOne + rounded(sum, shift) - kOne;
    const int value = sum == 0 ? kCancelled : kOffset + code;
    uint8_t& entry = combined.at[index % 128];
    if (entry != 0 && entry != value) throw "two sums are one index";
    entry = value;
  }
};

template <class F, int halved>
struct LookedUpSum {
  static constexpr bool kCanonical = true;
  static constexpr SumTables<F, halved> kTables{};

  template <size_t n, class Acc>
  [[gnu::always_inline]] static void apply_each(Acc (&acc)[n], const Acc (&next)[n]) {
    constexpr const auto& t = kTables;
    __m512i a[n], b[n], larger[n], smaller[n], differ[n], exponent[n], sum[n];
    __mmask64 some[n];
    each<n>([&](size_t v) { a[v] = bits<__m512i>(acc[v].part[0]), b[v] = bits<__m512i>(next[v].part[0]); });
    // with the same sign, they compare as their magnitudes
    each<n>([&](size_t v) { some[v] = _mm512_cmplt_epu8_mask(a[v], where(all(0x80), a[v], b[v])); });
    each<n>([&](size_t v) { larger[v] = _mm512_mask_mov_epi8(a[v], some[v], b[v]); });
    each<n>([&](size_t v) { smaller[v] = _mm512_mask_mov_epi8(b[v], some[v], a[v]); });
    // the highest bit, moved to the place of `kDiffer`
    each<n>([&](size_t v) { differ[v] = _mm512_avg_epu8(_mm512_xor_si512(a[v], b[v]), all(-1)); });
    each<n>([&](size_t v) { exponent[v] = t.exponent[larger[v]]; });
    each<n>([&](size_t v) { smaller[v] = _mm512_adds_epu8(exponent[v], t.remainder[smaller[v]]); });
    each<n>([&](size_t v) { smaller[v] = t.smaller[where(all(t.kDiffer), differ[v], smaller[v])]; });
    each<n>([&](size_t v) { sum[v] = _mm512_add_epi8(t.larger[larger[v]], smaller[v]); });
    each<n>([&](size_t v) { sum[v] = t.combined[sum[v]]; });
    each<n>([&](size_t v) {
      sum[v] = F::kInfinite ? _mm512_add_epi8(exponent[v], sum[v]) : _mm512_adds_epu8(exponent[v], sum[v]);
    });
    // the byte after `kNanResult` is 0 where NaN is what saturates
    constexpr int after = F::kInfinite ? 0 : 1;
    each<n>([&](size_t v) {
      some[v] = _mm512_cmplt_epu8_mask(_mm512_add_epi8(sum[v], all(after)), all(t.kSmallestNormal + after));
    });
    each<n>([&](size_t v) { sum[v] = t.small.where(some[v], sum[v]); });
    each<n>([&](size_t v) { acc[v].part[0] = bits<U8>(signed_codes<t.kZero>(sum[v], larger[v])); });
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
    const __m512i mantissas = where(all(F::kOne - 1), f, _mm512_slli_epi16(g, F::kMantissa));
    const __m512i result = _mm512_adds_epu8(_mm512_adds_epu8(f, g), t.both[mantissas]);
    // A subnormal product is rounded at another place, and infinity times zero is none.
    const __mmask64 other = _mm512_mask_cmplt_epu8_mask(some, result, all(F::kSmallestNormal)) |
                            _mm512_cmpeq_epi8_mask(result, all(-1));
    const __m512i or_zero = _mm512_mask_mov_epi8(all(F::kZero), some, result);
    const __m512i number = signed_codes<F::kZero>(or_zero, _mm512_xor_si512(a, b));
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
