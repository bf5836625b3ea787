// Vectors of the instruction set being compiled: width, memory access, conversion between half and single precision.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define HAL_KERNELS_AVX512 1
inline constexpr size_t kVectorBytes = 64;
#elif defined(__AVX2__) && defined(__F16C__)
#define HAL_KERNELS_AVX2 1
inline constexpr size_t kVectorBytes = 32;
#else
inline constexpr size_t kVectorBytes = 16;
#endif

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vec = typename VecOf<T>::type;

using U8 = Vec<uint8_t>;
using U16 = Vec<uint16_t>;
using I16 = Vec<int16_t>;
using U32 = Vec<uint32_t>;
using F32 = Vec<float>;

template <class To, class From>
inline To bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  return (To)v;
}

template <class V>
inline V load(const void* from) {
  V v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <class V>
inline void store(void* to, V v) {
  __builtin_memcpy(to, &v, sizeof v);
}

// The first `nbytes < kVectorBytes` of a vector, touching no byte beyond them. The rest of a loaded one is zero.
#if defined(HAL_KERNELS_AVX512)

template <class V>
inline V load_some(const void* from, size_t nbytes) {
  const __m512i some = _mm512_maskz_loadu_epi8((uint64_t{1} << nbytes) - 1, from);
  return load<V>(&some);
}

template <class V>
inline void store_some(void* to, V v, size_t nbytes) {
  _mm512_mask_storeu_epi8(to, (uint64_t{1} << nbytes) - 1, load<__m512i>(&v));
}

#else

// Piece by piece, by the binary digits of the length: quicker than a call of memcpy for so few.
inline void copy_some(char* to, const char* from, size_t nbytes) {
  size_t i = 0;
  const auto piece = [&](auto size) {
    if (nbytes & size()) {
      __builtin_memcpy(to + i, from + i, size());
      i += size();
    }
  };
  if constexpr (kVectorBytes > 16) piece([] { return size_t{16}; });
  piece([] { return size_t{8}; });
  piece([] { return size_t{4}; });
  piece([] { return size_t{2}; });
  piece([] { return size_t{1}; });
}

template <class V>
inline V load_some(const void* from, size_t nbytes) {
  V v{};
  copy_some(reinterpret_cast<char*>(&v), static_cast<const char*>(from), nbytes);
  return v;
}

template <class V>
inline void store_some(void* to, V v, size_t nbytes) {
  copy_some(static_cast<char*>(to), reinterpret_cast<const char*>(&v), nbytes);
}

#endif

template <class V>
using Lane = std::remove_reference_t<decltype(std::declval<V&>()[0])>;

#if defined(__AVX512FP16__)
#define HAL_KERNELS_FP16 1  // arithmetic in half precision
using F16 = Vec<_Float16>;
template <class V>
inline constexpr bool kIsFloat = std::is_floating_point_v<Lane<V>> || std::is_same_v<Lane<V>, _Float16>;
#else
template <class V>
inline constexpr bool kIsFloat = std::is_floating_point_v<Lane<V>>;
#endif

// The one NaN that results contain.
template <class V>
inline V canonical_nan(V v) {
#if defined(HAL_KERNELS_AVX512)
  // one instruction: by the class of a number, of which the two kinds of NaN come first, another one or itself
  if constexpr (std::is_same_v<V, F32>) {
    return (V)_mm512_fixupimm_ps(_mm512_set1_ps(__builtin_nanf("")), (__m512)v, _mm512_set1_epi32(0x11111100), 0);
  }
#endif
  return v == v ? v : V{} + __builtin_nanf("");
}

// `v`, but that NaN where `a` or `b` is NaN. There is none among integers.
template <class V>
inline V nan_of_either(V a, V b, V v) {
  if constexpr (kIsFloat<V>) {
    return (a == a) & (b == b) ? v : V{} + __builtin_nanf("");
  } else {
    return v;
  }
}

// The accumulators of one vector of elements: one vector, or several where the accumulator is wider than the element.
// Which element is in which part and lane is up to the type.
template <class V, int n>
struct Parts {
  static constexpr int kParts = n;
  V part[n];

  template <class Op>
  [[gnu::always_inline]] void combine(const Parts& next) {
#pragma GCC unroll 4
    for (int p = 0; p < n; ++p) part[p] = Op::apply(part[p], next.part[p]);
  }

  // What is done after the last operand. Some operations have made every NaN of theirs canonical as they went.
  template <class Op, class Finish>
  [[gnu::always_inline]] void finish(const Finish& finish) {
#pragma GCC unroll 4
    for (int p = 0; p < n; ++p) {
      part[p] = finish.apply(part[p]);
      if constexpr (kIsFloat<V> && !Op::kCanonical) part[p] = canonical_nan(part[p]);
    }
  }
};

// Between a vector of half-precision numbers and single precision; to nearest even. Where the instructions for it take
// half a vector, `Halves` is one in two pieces, which memory gives and takes for nothing; else it is a vector.
#if defined(HAL_KERNELS_AVX512)

struct Halves {
  __m256i low, high;
};

inline Halves apart(U16 v) {
  return {_mm512_castsi512_si256((__m512i)v), _mm512_extracti64x4_epi64((__m512i)v, 1)};
}

inline U16 together(Halves h) { return (U16)_mm512_inserti64x4(_mm512_castsi256_si512(h.low), h.high, 1); }

inline Parts<F32, 2> half_to_single(Halves h) { return {(F32)_mm512_cvtph_ps(h.low), (F32)_mm512_cvtph_ps(h.high)}; }

inline Halves single_to_half(F32 low, F32 high) {
  return {_mm512_cvtps_ph((__m512)low, _MM_FROUND_TO_NEAREST_INT),
          _mm512_cvtps_ph((__m512)high, _MM_FROUND_TO_NEAREST_INT)};
}

#elif defined(HAL_KERNELS_AVX2)

struct Halves {
  __m128i low, high;
};

inline Halves apart(U16 v) { return {_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1)}; }

inline U16 together(Halves h) { return (U16)_mm256_set_m128i(h.high, h.low); }

inline Parts<F32, 2> half_to_single(Halves h) { return {(F32)_mm256_cvtph_ps(h.low), (F32)_mm256_cvtph_ps(h.high)}; }

inline Halves single_to_half(F32 low, F32 high) {
  return {_mm256_cvtps_ph((__m256)low, _MM_FROUND_TO_NEAREST_INT),
          _mm256_cvtps_ph((__m256)high, _MM_FROUND_TO_NEAREST_INT)};
}

#else

using Halves = U16;

inline Halves apart(U16 v) { return v; }

inline U16 together(Halves h) { return h; }

// `h` holds one number in the lower half of each lane.
inline F32 half_lanes_to_single(U32 h) {
  const U32 magnitude = (h & 0x7fff) << 13;
  const U32 exponent = magnitude & 0x0f800000;
  const uint32_t rebias = (127 - 15) << 23;
  const U32 normal = magnitude + rebias;
  const U32 special = normal + rebias;  // infinity, NaN: the largest exponent of one is that of the other
  // A subnormal times 2^-24: give it the exponent of the smallest normal number, then take that number away.
  const U32 subnormal = bits<U32>(bits<F32>(normal + (1u << 23)) - 0x1p-14f);
  const U32 finite = exponent == 0 ? subnormal : normal;
  return bits<F32>((exponent == 0x0f800000 ? special : finite) | (h & 0x8000) << 16);
}

inline U32 single_to_half_lanes(F32 f) {
  const U32 all = bits<U32>(f);
  const U32 magnitude = all & 0x7fffffff;
  const uint32_t rebias = (127 - 15) << 23;
  // Rounds to nearest even by a carry into the bits that stay; a carry out of the largest number gives infinity.
  const U32 normal = (magnitude - rebias + 0xfff + (magnitude >> 13 & 1)) >> 13;
  // The sum's last place is half precision's smallest subnormal, so the adder does the rounding.
  const U32 subnormal = bits<U32>(bits<F32>(magnitude) + 0.5f) - 0x3f000000;
  const U32 finite = magnitude < 0x38800000 ? subnormal : normal;
  const U32 special = magnitude > 0x7f800000 ? U32{} + 0x7e00 : U32{} + 0x7c00;
  return (magnitude < 0x47800000 ? finite : special) | (all >> 16 & 0x8000);
}

inline Parts<F32, 2> half_to_single(U16 h) {
  const U32 pairs = bits<U32>(h);
  return {half_lanes_to_single(pairs & 0xffff), half_lanes_to_single(pairs >> 16)};
}

inline U16 single_to_half(F32 low, F32 high) {
  return bits<U16>(single_to_half_lanes(low) | single_to_half_lanes(high) << 16);
}

#endif

#if defined(HAL_KERNELS_AVX512) || defined(HAL_KERNELS_AVX2)
inline void store(void* to, Halves h) {
  store(to, h.low);
  store(static_cast<char*>(to) + sizeof h.low, h.high);
}
#endif

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA
