// Copies, in one instruction set.

#include "isa.h"
#include "simd.h"

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

inline constexpr size_t kLineBytes = 64;

inline void stream(char* to, U8 v) {
#if defined(HAL_KERNELS_AVX512)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)v);
#elif defined(HAL_KERNELS_AVX2)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)v);
#elif defined(__x86_64__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)v);
#else
  store(to, v);
#endif
}

}  // namespace

void store_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

void copy_unfenced(void* dst, const void* src, size_t nbytes) {
  char* to = static_cast<char*>(dst);
  const char* from = static_cast<const char*>(src);
  // Streaming pays for whole lines, and needs the alignment.
  const size_t to_line = -reinterpret_cast<uintptr_t>(to) % kLineBytes;
  const size_t head = to_line < nbytes ? to_line : nbytes;
  __builtin_memcpy(to, from, head);
  size_t i = head;
  for (; nbytes - i >= kLineBytes; i += kLineBytes) {
    for (size_t v = 0; v < kLineBytes; v += kVectorBytes) stream(to + i + v, load<U8>(from + i + v));
  }
  __builtin_memcpy(to + i, from + i, nbytes - i);
}

void copy(void* dst, const void* src, size_t nbytes, bool streaming) {
  if (dst == src) return;
  if (streaming) {
    copy_unfenced(dst, src, nbytes);
    store_fence();
    return;
  }
  char* to = static_cast<char*>(dst);
  const char* from = static_cast<const char*>(src);
  size_t i = 0;
  for (; nbytes - i >= 4 * kVectorBytes; i += 4 * kVectorBytes) {
    U8 v[4];
#pragma GCC unroll 4
    for (size_t k = 0; k < 4; ++k) v[k] = load<U8>(from + i + k * kVectorBytes);
#pragma GCC unroll 4
    for (size_t k = 0; k < 4; ++k) store(to + i + k * kVectorBytes, v[k]);
  }
  for (; nbytes - i >= kVectorBytes; i += kVectorBytes) store(to + i, load<U8>(from + i));
  if (i < nbytes) store_some(to + i, load_some<U8>(from + i, nbytes - i), nbytes - i);
}

}  // namespace hal::kernels::HAL_KERNELS_ISA
