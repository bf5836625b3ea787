// What a vendor supplies, as `intrinsics.h`, found by the compiler through an include path of the vendor's own. Copy
// this, and put the device's own in place of every body. docs/device.md has the contract function by function.
//
// Scopes: `system` is every processor that can reach the memory, of any rank; `device` all blocks of this device.
// Addresses are multiples of the size of the access. All functions are in namespace hal::device.
#pragma once
#include <hal/device/types.h>

// What stands before every function that runs on the device, before one that is not to be inlined, before a kernel, and
// before a loop to be unrolled.
#define HAL_DEVICE
#define HAL_DEVICE_CALL
#define HAL_KERNEL extern "C"
#define HAL_UNROLL

namespace hal::device {

// Who runs: the block's number in the grid, the lane's number in the block, how many lanes a block has.
HAL_DEVICE u32 block_index();
HAL_DEVICE u32 lane();
HAL_DEVICE u32 lanes();

// All lanes of the block arrive before any goes on; what each did before, all see after. The second returns to every
// lane whether any said true.
HAL_DEVICE void block_barrier();
HAL_DEVICE bool block_any(bool value);

// HAL_BLOCK_MEMORY bytes that the lanes of a block share, aligned to 16; content undefined when a kernel starts.
#define HAL_BLOCK_MEMORY 16384
HAL_DEVICE void* block_memory();

// Loads and stores, each a single access, at system scope. Relaxed ones order nothing; they are never served from a
// cache that another processor's store does not reach. Acquire: what was written before the store that it sees is
// visible to later accesses of this lane. Release: earlier accesses of this lane, and all that they were ordered after
// (block barriers, acquires), come first for whoever acquires.
HAL_DEVICE u32 load_relaxed_4(const u32* at);
HAL_DEVICE u64 load_relaxed_8(const u64* at);
HAL_DEVICE u64 load_acquire_8(const u64* at);
HAL_DEVICE void store_relaxed_4(u32* at, u32 value);
HAL_DEVICE void store_relaxed_8(u64* at, u64 value);
HAL_DEVICE void store_release_8(u64* at, u64 value);

// 16 bytes, relaxed, at system scope. Each half of 8 bytes is a single access; the two need not be one.
HAL_DEVICE Pack<4> load_packets_16(const void* at);
HAL_DEVICE void store_packets_16(void* at, Pack<4> value);

// Acquire, at device scope: what blocks of this device share.
HAL_DEVICE u32 load_device_4(const u32* at);

// Add and return what was there before; acquire and release, at device scope.
HAL_DEVICE u32 atomic_add_4(u32* at, u32 value);
HAL_DEVICE u64 atomic_add_8(u64* at, u64 value);

// Nanoseconds since some moment, the same for all blocks of the device, never less than before.
HAL_DEVICE u64 clock_ns();

// Called in every turn of a spin loop.
HAL_DEVICE void pause();

// Optional: the device's own conversions, to nearest even, with gradual underflow. The value is not NaN.
// #define HAL_HAS_HALF
// HAL_DEVICE float half_to_float(u16 bits);
// HAL_DEVICE u16 float_to_half(float value);

// Optional: multicast memory. 16 bytes reduced over all members, and stored to all members; relaxed, at system scope.
// #define HAL_HAS_MULTICAST
// template <int dtype, int op> constexpr bool kMulticastReduces = false;  // true for what the next one serves
// template <int dtype, int op> HAL_DEVICE Pack<4> multicast_load(const void* at);
// HAL_DEVICE void multicast_store(void* at, Pack<4> value);
// HAL_DEVICE void multicast_fence();  // orders this lane's accesses there with accesses at members' own addresses

}  // namespace hal::device
