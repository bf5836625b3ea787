// What HAL's portable device code needs of this device (docs/device.md): the lanes of a launch are fibers of one thread,
// so that who waits lets the others run. Other ranks are other threads and processes, on which atomics order.
#pragma once
#include <hal/device/types.h>
#include <time.h>

#define HAL_DEVICE inline
#define HAL_DEVICE_CALL inline __attribute__((noinline))
#define HAL_KERNEL extern "C" __attribute__((visibility("default")))
#define HAL_UNROLL
#define HAL_BLOCK_MEMORY 16384
#define HAL_TURNS_BETWEEN_LOOKS 16

namespace hal::device {

struct Block {
  u32 index, lanes;
  u32 arrived, generation;
  bool any, result;
  alignas(16) unsigned char memory[HAL_BLOCK_MEMORY];
};

// Who runs on this thread, and whether it has done something that others may wait for. Set by fibers.h.
struct Running {
  Block* block = nullptr;
  u32 lane = 0;
  bool progress = false;
};
inline thread_local Running running;
inline void let_others_run();

inline u32 block_index() { return running.block->index; }
#ifdef HAL_SYSV_ONE_LANE  // known to the compiler, so that loops over the lanes are plain loops
inline u32 lane() { return 0; }
inline u32 lanes() { return 1; }
#else
inline u32 lane() { return running.lane; }
inline u32 lanes() { return running.block->lanes; }
#endif

inline bool block_any(bool value) {
  if (lanes() == 1) return value;
  Block& block = *running.block;
  block.any = block.any || value;
  u32 generation = block.generation;
  if (++block.arrived == lanes()) {
    block.result = block.any;
    block.any = false;
    block.arrived = 0;
    block.generation++;
    running.progress = true;
  } else {
    while (block.generation == generation) let_others_run();
  }
  return block.result;  // stays until all lanes have come to the next barrier
}
inline void block_barrier() { block_any(false); }
inline void* block_memory() { return running.block->memory; }

inline u32 load_relaxed_4(const u32* at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
inline u64 load_relaxed_8(const u64* at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
inline u64 load_acquire_8(const u64* at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
inline u32 load_device_4(const u32* at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }

inline void store_relaxed_4(u32* at, u32 value) {
  running.progress = true;
  __atomic_store_n(at, value, __ATOMIC_RELAXED);
}
inline void store_relaxed_8(u64* at, u64 value) {
  running.progress = true;
  __atomic_store_n(at, value, __ATOMIC_RELAXED);
}
inline void store_release_8(u64* at, u64 value) {
  running.progress = true;
  __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

inline Pack<4> load_packets_16(const void* at) {
  auto* half = static_cast<const u64*>(at);
  u64 first = load_relaxed_8(half), second = load_relaxed_8(half + 1);
  return {{static_cast<u32>(first), static_cast<u32>(first >> 32), static_cast<u32>(second),
           static_cast<u32>(second >> 32)}};
}
inline void store_packets_16(void* at, Pack<4> value) {
  auto* half = static_cast<u64*>(at);
  store_relaxed_8(half, value.word[0] | static_cast<u64>(value.word[1]) << 32);
  store_relaxed_8(half + 1, value.word[2] | static_cast<u64>(value.word[3]) << 32);
}

inline u32 atomic_add_4(u32* at, u32 value) {
  running.progress = true;
  return __atomic_fetch_add(at, value, __ATOMIC_ACQ_REL);
}
inline u64 atomic_add_8(u64* at, u64 value) {
  running.progress = true;
  return __atomic_fetch_add(at, value, __ATOMIC_ACQ_REL);
}

inline u64 clock_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

inline void pause() { let_others_run(); }

}  // namespace hal::device
