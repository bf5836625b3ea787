// Vectors of the instruction set being compiled: width, memory access, conversion between half and single precision.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define HAL_KERNELS_AVX512 1
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__) && defined(__F16C__)
#define HAL_KERNELS_AVX2 1
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <class T, int N>
struct VecOf {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <class T, int N>
using Vec = typename VecOf<T, N>::type;

// Vectors as wide as the accumulator of narrow floats.
inline constexpr int kLanes32 = kVectorBytes / 4;
using F32 = Vec<float, kLanes32>;
using U32 = Vec<uint32_t, kLanes32>;
using U16 = Vec<uint16_t, kLanes32>;
using U8 = Vec<uint8_t, kLanes32>;

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

template <class To, class From>
inline To bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  return (To)v;
}

// The one NaN that results contain.
template <class V>
inline V canonical_nan(V v) {
  return v == v ? v : V{} + __builtin_nanf("");
}

#if defined(HAL_KERNELS_AVX512)

inline F32 half_to_single(U16 h) { return (F32)_mm512_cvtph_ps((__m256i)h); }
inline U16 single_to_half(F32 f) { return (U16)_mm512_cvtps_ph((__m512)f, _MM_FROUND_TO_NEAREST_INT); }

#elif defined(HAL_KERNELS_AVX2)

inline F32 half_to_single(U16 h) { return (F32)_mm256_cvtph_ps((__m128i)h); }
inline U16 single_to_half(F32 f) { return (U16)_mm256_cvtps_ph((__m256)f, _MM_FROUND_TO_NEAREST_INT); }

#else

inline F32 half_to_single(U16 h) {
  const U32 wide = __builtin_convertvector(h, U32);
  const U32 magnitude = (wide & 0x7fff) << 13;
  const U32 exponent = magnitude & 0x0f800000;
  const uint32_t rebias = (127 - 15) << 23;
  const U32 normal = magnitude + rebias;
  const U32 special = normal + rebias;  // infinity, NaN: the largest exponent of one is that of the other
  // A subnormal times 2^-24: give it the exponent of the smallest normal number, then take that number away.
  const U32 subnormal = bits<U32>(bits<F32>(normal + (1u << 23)) - 0x1p-14f);
  const U32 finite = exponent == 0 ? subnormal : normal;
  return bits<F32>((exponent == 0x0f800000 ? special : finite) | (wide & 0x8000) << 16);
}

inline U16 single_to_half(F32 f) {
  const U32 all = bits<U32>(f);
  const U32 magnitude = all & 0x7fffffff;
  const uint32_t rebias = (127 - 15) << 23;
  // Rounds to nearest even by a carry into the bits that stay; a carry out of the largest number gives infinity.
  const U32 normal = (magnitude - rebias + 0xfff + (magnitude >> 13 & 1)) >> 13;
  // The sum's last place is half precision's smallest subnormal, so the adder does the rounding.
  const U32 subnormal = bits<U32>(bits<F32>(magnitude) + 0.5f) - 0x3f000000;
  const U32 finite = magnitude < 0x38800000 ? subnormal : normal;
  const U32 special = magnitude > 0x7f800000 ? U32{} + 0x7e00 : U32{} + 0x7c00;
  const U32 result = magnitude < 0x47800000 ? finite : special;
  return __builtin_convertvector(result | (all >> 16 & 0x8000), U16);
}

#endif

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA
