// The intrinsics on CPUs: every lane is a thread. Tests alone use it.
#pragma once
#include <sched.h>
#include <time.h>

#include <condition_variable>
#include <mutex>
#include <vector>

#include <hal/device/types.h>

#define HAL_DEVICE inline
#define HAL_DEVICE_CALL inline
#define HAL_KERNEL extern "C"
#define HAL_UNROLL
#define HAL_BLOCK_MEMORY 16384
#define HAL_TURNS_BETWEEN_LOOKS 16

// What a sanitizer has to find: with these the intrinsics do not keep their contract.
#ifdef HAL_TEST_WEAK_RELEASE
#define HAL_TEST_RELEASE __ATOMIC_RELAXED
#else
#define HAL_TEST_RELEASE __ATOMIC_RELEASE
#endif
#ifdef HAL_TEST_WEAK_ACQUIRE
#define HAL_TEST_ACQUIRE __ATOMIC_RELAXED
#else
#define HAL_TEST_ACQUIRE __ATOMIC_ACQUIRE
#endif
#ifdef HAL_TEST_WEAK_ATOMIC
#define HAL_TEST_BOTH __ATOMIC_RELAXED
#else
#define HAL_TEST_BOTH __ATOMIC_ACQ_REL
#endif

namespace hal::device {

// What the lanes of a block share.
struct CpuBlock {
  explicit CpuBlock(u32 index, u32 lanes) : index(index), lanes(lanes) {}

  bool meet(bool value) {
    std::unique_lock lock(mutex);
    any = any || value;
    if (++arrived == lanes) {
      result = any;
      any = false;
      arrived = 0;
      generation++;
      all.notify_all();
      return result;
    }
    u32 current = generation;
    all.wait(lock, [&] { return generation != current; });
    return result;
  }

  const u32 index, lanes;
  std::mutex mutex;
  std::condition_variable all;
  u32 arrived = 0, generation = 0;
  bool any = false, result = false;
  alignas(16) unsigned char memory[HAL_BLOCK_MEMORY];
};

struct CpuLane {
  CpuBlock* block;
  u32 index;
  u64 random;  // 0: the schedule is left to the system
};
inline thread_local CpuLane* cpu_lane = nullptr;

// A seeded disturbance of the schedule, at every intrinsic.
inline void disturb() {
  u64& x = cpu_lane->random;
  if (x == 0) return;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  if (x % 64 == 0) {
    timespec nap{0, static_cast<long>(x >> 8) % 50000};
    nanosleep(&nap, nullptr);
  } else if (x % 8 == 0) {
    sched_yield();
  }
}

inline u32 block_index() { return cpu_lane->block->index; }
inline u32 lane() { return cpu_lane->index; }
inline u32 lanes() { return cpu_lane->block->lanes; }
inline bool block_any(bool value) {
  disturb();
  return cpu_lane->block->meet(value);
}
inline void block_barrier() { block_any(false); }
inline void* block_memory() { return cpu_lane->block->memory; }

inline u32 load_relaxed_4(const u32* at) {
  disturb();
  return __atomic_load_n(at, __ATOMIC_RELAXED);
}
inline u64 load_relaxed_8(const u64* at) {
  disturb();
  return __atomic_load_n(at, __ATOMIC_RELAXED);
}
inline u64 load_acquire_8(const u64* at) {
  disturb();
  return __atomic_load_n(at, HAL_TEST_ACQUIRE);
}
inline u32 load_device_4(const u32* at) {
  disturb();
  return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}
inline void store_relaxed_4(u32* at, u32 value) {
  disturb();
  __atomic_store_n(at, value, __ATOMIC_RELAXED);
}
inline void store_relaxed_8(u64* at, u64 value) {
  disturb();
  __atomic_store_n(at, value, __ATOMIC_RELAXED);
}
inline void store_release_8(u64* at, u64 value) {
  disturb();
  __atomic_store_n(at, value, HAL_TEST_RELEASE);
}

// The halves one after the other, in either order, as the contract allows.
inline Pack<4> load_packets_16(const void* at) {
  auto* half = static_cast<const u64*>(at);
  bool reversed = cpu_lane->random >> 20 & 1;
  u64 value[2];
  value[reversed] = load_relaxed_8(half + reversed);
  value[!reversed] = load_relaxed_8(half + !reversed);
  return {{static_cast<u32>(value[0]), static_cast<u32>(value[0] >> 32), static_cast<u32>(value[1]),
           static_cast<u32>(value[1] >> 32)}};
}
inline void store_packets_16(void* at, Pack<4> value) {
  auto* half = static_cast<u64*>(at);
  bool reversed = cpu_lane->random >> 21 & 1;
  u64 halves[2] = {value.word[0] | static_cast<u64>(value.word[1]) << 32,
                   value.word[2] | static_cast<u64>(value.word[3]) << 32};
  store_relaxed_8(half + reversed, halves[reversed]);
  store_relaxed_8(half + !reversed, halves[!reversed]);
}

inline u32 atomic_add_4(u32* at, u32 value) {
  disturb();
  return __atomic_fetch_add(at, value, HAL_TEST_BOTH);
}
inline u64 atomic_add_8(u64* at, u64 value) {
  disturb();
  return __atomic_fetch_add(at, value, HAL_TEST_BOTH);
}

inline u64 clock_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<u64>(t.tv_sec) * 1'000'000'000 + static_cast<u64>(t.tv_nsec);
}

inline void pause() { sched_yield(); }

// Multicast memory: an address range of its own, which stands for the same range of every member. A load adds, as a
// switch may, in any order: here from the last member to the first.
#define HAL_HAS_MULTICAST

struct CpuMulticast {
  const unsigned char* base = nullptr;  // never touched
  std::vector<unsigned char*> members;
};
inline CpuMulticast cpu_multicast;
inline u64 cpu_multicast_accesses = 0;

// Where a double of a driver has made the memory, it says where the members' is.
extern "C" __attribute__((weak)) unsigned double_multicast(const void* at, unsigned char** members);

inline std::vector<unsigned char*> multicast_members(const void* at) {
  __atomic_fetch_add(&cpu_multicast_accesses, 1, __ATOMIC_RELAXED);
  if (double_multicast != nullptr) {
    unsigned char* found[64];
    unsigned count = double_multicast(at, found);
    if (count == 0) __builtin_trap();
    return {found, found + count};
  }
  std::vector<unsigned char*> members;
  for (unsigned char* member : cpu_multicast.members) {
    members.push_back(member + (static_cast<const unsigned char*>(at) - cpu_multicast.base));
  }
  return members;
}

template <int dtype, int op>
constexpr bool kMulticastReduces = dtype == 4 && op == 0;  // int32, sum

template <int dtype, int op>
Pack<4> multicast_load(const void* at) {
  disturb();
  Pack<4> sum{};
  auto members = multicast_members(at);
  for (size_t m = members.size(); m-- > 0;) {
    auto* words = reinterpret_cast<const u32*>(members[m]);
    for (int i = 0; i < 4; i++) sum.word[i] += load_relaxed_4(words + i);
  }
  return sum;
}

inline void multicast_store(void* at, Pack<4> value) {
  for (unsigned char* member : multicast_members(at)) {
    auto* words = reinterpret_cast<u32*>(member);
    for (int i = 0; i < 4; i++) store_relaxed_4(words + i, value.word[i]);
  }
}

inline void multicast_fence() { disturb(); }

}  // namespace hal::device
