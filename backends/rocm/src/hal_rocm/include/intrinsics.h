// The intrinsics of AMD GPUs, in clang's builtins. Orders and scopes are the compiler's: it inserts the waits and the
// cache controls that LLVM's memory model of each target asks for ("User Guide for AMDGPU Backend", Memory Model).
#pragma once
#ifndef __device__  // a compiler without HIP's headers
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#endif

#include <hal/device/types.h>

#define HAL_DEVICE __device__ inline __attribute__((always_inline))
#define HAL_DEVICE_CALL __device__ inline __attribute__((noinline))
#define HAL_KERNEL extern "C" __global__ __attribute__((amdgpu_flat_work_group_size(1, 1024)))
#define HAL_UNROLL _Pragma("unroll")
#define HAL_BLOCK_MEMORY 16384

// Ticks of the constant clock in a millisecond. The device says; this is what most have.
#ifndef HAL_WALL_CLOCK_KHZ
#define HAL_WALL_CLOCK_KHZ 100000
#endif

namespace hal::device {

HAL_DEVICE u32 block_index() { return __builtin_amdgcn_workgroup_id_x(); }
HAL_DEVICE u32 lane() { return __builtin_amdgcn_workitem_id_x(); }
HAL_DEVICE u32 lanes() { return __builtin_amdgcn_workgroup_size_x(); }

// Wait until all loads, stores and cache write-backs of this wavefront are done. The compiler's own waits are not enough:
// - A release of the work-group need not wait until stores have left the compute unit, but after a block's barrier any
//   lane may release to the system what all have stored.
// - It leaves out the wait behind a write-back (buffer_wbl2) where the wavefront itself has nothing outstanding, but what
//   is written back may be what others have stored.
HAL_DEVICE void accesses_done() {
#if defined(__GFX9__) && defined(__AMDGCN__)
  asm volatile("s_waitcnt vmcnt(0)" ::: "memory");
#elif defined(__GFX10__) || defined(__GFX11__)
  asm volatile("s_waitcnt vmcnt(0)\n\ts_waitcnt_vscnt null, 0x0" ::: "memory");
#elif defined(__AMDGCN__)
  asm volatile("s_wait_loadcnt 0x0\n\ts_wait_storecnt 0x0" ::: "memory");
#endif
}

HAL_DEVICE void block_barrier() {
  accesses_done();
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

// Wavefronts have 64 lanes up to GFX9, 32 lanes in later ones. Whether any lane of the wavefront says so.
#if defined(__GFX9__)
constexpr u32 kWavefront = 64;
#else
constexpr u32 kWavefront = 32;
#endif
HAL_DEVICE bool wave_any(bool value) {
#if !__has_builtin(__builtin_amdgcn_ballot_w64)
  return __builtin_amdgcn_uicmp(value, 0u, 33) != 0;  // compilers up to ROCm 5; 33 is "not equal"
#elif defined(__GFX9__)
  return __builtin_amdgcn_ballot_w64(value) != 0;
#else
  return __builtin_amdgcn_ballot_w32(value) != 0;
#endif
}

HAL_DEVICE bool block_any(bool value) {
  __shared__ u32 said[32];  // by each wavefront
  bool any = wave_any(value);
  if (lane() % kWavefront == 0) said[lane() / kWavefront] = any;
  block_barrier();
  u32 result = 0;
  for (u32 wave = 0; wave * kWavefront < lanes(); wave++) result |= said[wave];
  block_barrier();  // before the next call writes
  return result != 0;
}

HAL_DEVICE void* block_memory() {
  __shared__ __attribute__((aligned(16))) u8 memory[HAL_BLOCK_MEMORY];
  return memory;
}

HAL_DEVICE u32 load_relaxed_4(const u32* at) {
  return __hip_atomic_load(at, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM);
}
HAL_DEVICE u64 load_relaxed_8(const u64* at) {
  return __hip_atomic_load(at, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM);
}
HAL_DEVICE u64 load_acquire_8(const u64* at) {
  return __hip_atomic_load(at, __ATOMIC_ACQUIRE, __HIP_MEMORY_SCOPE_SYSTEM);
}
HAL_DEVICE void store_relaxed_4(u32* at, u32 value) {
  __hip_atomic_store(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM);
}
HAL_DEVICE void store_relaxed_8(u64* at, u64 value) {
  __hip_atomic_store(at, value, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM);
}
HAL_DEVICE void store_release_8(u64* at, u64 value) {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "");
  accesses_done();
  store_relaxed_8(at, value);
}

// Each half is an access of its own.
HAL_DEVICE Pack<4> load_packets_16(const void* at) {
  u64 low = load_relaxed_8(static_cast<const u64*>(at)), high = load_relaxed_8(static_cast<const u64*>(at) + 1);
  return {{static_cast<u32>(low), static_cast<u32>(low >> 32), static_cast<u32>(high), static_cast<u32>(high >> 32)}};
}
HAL_DEVICE void store_packets_16(void* at, Pack<4> value) {
  store_relaxed_8(static_cast<u64*>(at), value.word[0] | static_cast<u64>(value.word[1]) << 32);
  store_relaxed_8(static_cast<u64*>(at) + 1, value.word[2] | static_cast<u64>(value.word[3]) << 32);
}

HAL_DEVICE u32 load_device_4(const u32* at) {
  return __hip_atomic_load(at, __ATOMIC_ACQUIRE, __HIP_MEMORY_SCOPE_AGENT);
}
HAL_DEVICE u32 atomic_add_4(u32* at, u32 value) {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "agent");
  accesses_done();
  return __hip_atomic_fetch_add(at, value, __ATOMIC_ACQUIRE, __HIP_MEMORY_SCOPE_AGENT);
}
HAL_DEVICE u64 atomic_add_8(u64* at, u64 value) {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "agent");
  accesses_done();
  return __hip_atomic_fetch_add(at, value, __ATOMIC_ACQUIRE, __HIP_MEMORY_SCOPE_AGENT);
}

HAL_DEVICE u64 clock_ns() {
#if __has_builtin(__builtin_readsteadycounter)
  u64 ticks = __builtin_readsteadycounter();
#else
  u64 ticks = __builtin_amdgcn_s_memrealtime();
#endif
  constexpr u64 kScale = 1000000;  // of nanoseconds in a millisecond; most clocks divide it
  if constexpr (kScale % HAL_WALL_CLOCK_KHZ == 0) return ticks * (kScale / HAL_WALL_CLOCK_KHZ);
  return ticks / HAL_WALL_CLOCK_KHZ * kScale + ticks % HAL_WALL_CLOCK_KHZ * kScale / HAL_WALL_CLOCK_KHZ;
}
HAL_DEVICE void pause() { __builtin_amdgcn_s_sleep(1); }

#if defined(__AMDGCN__)
#define HAL_HAS_HALF
HAL_DEVICE float half_to_float(u16 bits) { return static_cast<float>(__builtin_bit_cast(_Float16, bits)); }
HAL_DEVICE u16 float_to_half(float value) { return __builtin_bit_cast(u16, static_cast<_Float16>(value)); }
#endif

}  // namespace hal::device
