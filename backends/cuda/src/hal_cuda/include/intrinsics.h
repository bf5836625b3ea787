// The intrinsics of NVIDIA GPUs from compute capability 8.0 on, in PTX.
#pragma once
#include <hal/device/types.h>

#define HAL_DEVICE __device__ __forceinline__
#define HAL_DEVICE_CALL __device__ __noinline__
#define HAL_KERNEL extern "C" __global__ __launch_bounds__(1024)
#define HAL_UNROLL _Pragma("unroll")
#define HAL_BLOCK_MEMORY 16384
#define HAL_HAS_HALF

namespace hal::device {

HAL_DEVICE u32 block_index() { return blockIdx.x; }
HAL_DEVICE u32 lane() { return threadIdx.x; }
HAL_DEVICE u32 lanes() { return blockDim.x; }
HAL_DEVICE void block_barrier() { __syncthreads(); }
HAL_DEVICE bool block_any(bool value) { return __syncthreads_or(value) != 0; }

HAL_DEVICE void* block_memory() {
  __shared__ __align__(16) u8 memory[HAL_BLOCK_MEMORY];
  return memory;
}

HAL_DEVICE u64 global(const void* at) { return static_cast<u64>(__cvta_generic_to_global(at)); }

HAL_DEVICE u32 load_relaxed_4(const u32* at) {
  u32 value;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(global(at)) : "memory");
  return value;
}
HAL_DEVICE u64 load_relaxed_8(const u64* at) {
  u64 value;
  asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(value) : "l"(global(at)) : "memory");
  return value;
}
HAL_DEVICE u64 load_acquire_8(const u64* at) {
  u64 value;
  asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(value) : "l"(global(at)) : "memory");
  return value;
}
HAL_DEVICE void store_relaxed_4(u32* at, u32 value) {
  asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(global(at)), "r"(value) : "memory");
}
HAL_DEVICE void store_relaxed_8(u64* at, u64 value) {
  asm volatile("st.relaxed.sys.global.u64 [%0], %1;" ::"l"(global(at)), "l"(value) : "memory");
}
HAL_DEVICE void store_release_8(u64* at, u64 value) {
  asm volatile("st.release.sys.global.u64 [%0], %1;" ::"l"(global(at)), "l"(value) : "memory");
}

// A vector access is one access for each of its elements, so that these have to be 8 bytes wide.
HAL_DEVICE Pack<4> load_packets_16(const void* at) {
  u64 low, high;
  asm volatile("ld.relaxed.sys.global.v2.u64 {%0, %1}, [%2];" : "=l"(low), "=l"(high) : "l"(global(at)) : "memory");
  return {{static_cast<u32>(low), static_cast<u32>(low >> 32), static_cast<u32>(high), static_cast<u32>(high >> 32)}};
}
HAL_DEVICE void store_packets_16(void* at, Pack<4> value) {
  u64 low = value.word[0] | static_cast<u64>(value.word[1]) << 32;
  u64 high = value.word[2] | static_cast<u64>(value.word[3]) << 32;
  asm volatile("st.relaxed.sys.global.v2.u64 [%0], {%1, %2};" ::"l"(global(at)), "l"(low), "l"(high) : "memory");
}

HAL_DEVICE u32 load_device_4(const u32* at) {
  u32 value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(global(at)) : "memory");
  return value;
}
HAL_DEVICE u32 atomic_add_4(u32* at, u32 value) {
  u32 before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(before) : "l"(global(at)), "r"(value) : "memory");
  return before;
}
HAL_DEVICE u64 atomic_add_8(u64* at, u64 value) {
  u64 before;
  asm volatile("atom.acq_rel.gpu.global.add.u64 %0, [%1], %2;" : "=l"(before) : "l"(global(at)), "l"(value) : "memory");
  return before;
}

HAL_DEVICE u64 clock_ns() {
  u64 now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}
HAL_DEVICE void pause() {}

HAL_DEVICE float half_to_float(u16 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
HAL_DEVICE u16 float_to_half(float value) {
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

#if __CUDA_ARCH__ >= 900
#define HAL_HAS_MULTICAST

// Codes of DType and Op (arithmetic.h): int32, uint32, float16, bfloat16, float32; sum.
template <int dtype, int op>
constexpr bool kMulticastReduces = op == 0 && (dtype == 4 || dtype == 5 || (dtype >= 8 && dtype <= 10));

#define HAL_MULTICAST_LOAD(form, type)                                                                      \
  asm volatile("multimem.ld_reduce.relaxed.sys.global.add" form " {%0, %1, %2, %3}, [%4];"                  \
               : type(value[0]), type(value[1]), type(value[2]), type(value[3])                             \
               : "l"(global(at))                                                                            \
               : "memory")

template <int dtype, int op>
HAL_DEVICE Pack<4> multicast_load(const void* at) {
  u32 value[4];
  if constexpr (dtype == 10) {
    float sum[4];
    asm volatile("multimem.ld_reduce.relaxed.sys.global.add.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3])
                 : "l"(global(at))
                 : "memory");
    for (int i = 0; i < 4; i++) value[i] = __float_as_uint(sum[i]);
  } else if constexpr (dtype == 8) {
    HAL_MULTICAST_LOAD(".acc::f32.v4.f16x2", "=r");
  } else if constexpr (dtype == 9) {
    HAL_MULTICAST_LOAD(".acc::f32.v4.bf16x2", "=r");
  } else {
    for (int i = 0; i < 4; i++) {
      asm volatile("multimem.ld_reduce.relaxed.sys.global.add.u32 %0, [%1];"
                   : "=r"(value[i])
                   : "l"(global(at) + 4 * static_cast<u64>(i))
                   : "memory");
    }
  }
  return {{value[0], value[1], value[2], value[3]}};
}
#undef HAL_MULTICAST_LOAD

HAL_DEVICE void multicast_store(void* at, Pack<4> value) {
  asm volatile("multimem.st.relaxed.sys.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(global(at)),
               "f"(__uint_as_float(value.word[0])), "f"(__uint_as_float(value.word[1])),
               "f"(__uint_as_float(value.word[2])), "f"(__uint_as_float(value.word[3]))
               : "memory");
}
// A multicast address and a member's own are aliases of one memory, which the memory model orders by this fence alone.
HAL_DEVICE void multicast_fence() { asm volatile("fence.proxy.alias;" ::: "memory"); }
#endif

}  // namespace hal::device
