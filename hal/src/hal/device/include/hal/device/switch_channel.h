// A channel to a group's multicast memory: one store reaches every member, one load returns the reduction over all.
// Where the device has it, intrinsics.h defines HAL_HAS_MULTICAST. In which order a switch adds is its own affair.
#pragma once
#include <hal/device/arithmetic.h>
#include <hal/device/semaphore.h>

namespace hal::device {

#ifdef HAL_HAS_MULTICAST

// Made by the host and read by kernels. Offsets are multiples of 16 bytes. Each lane for itself; the ranks are ordered
// by semaphores, before and after. `fence` stands between what a lane does here and what is done at members' own
// addresses: behind the wait before, ahead of the signal after.
struct SwitchChannel {
  u8* multicast;  // the group's memory at its one address

  // Whether loads reduce elements of this type by this operation.
  template <int dtype, int op>
  static constexpr bool reduces = kMulticastReduces<dtype, op>;

  // 16 bytes, reduced over all members.
  template <int dtype, int op>
  HAL_DEVICE Pack<4> load(u64 offset) const {
    static_assert(reduces<dtype, op>, "multicast memory does not reduce this type by this operation");
    return multicast_load<dtype, op>(multicast + offset);
  }
  // 16 bytes, to all members.
  HAL_DEVICE void store(u64 offset, Pack<4> data) const { multicast_store(multicast + offset, data); }
  HAL_DEVICE void fence() const { multicast_fence(); }

  // `bytes`, a multiple of 16, reduced over all members and stored to all of them, by the lanes of a block. It fences.
  template <int dtype, int op>
  HAL_DEVICE void all_reduce(u64 offset, u64 bytes) const {
    fence();
    for (u64 at = u64{lane()} * 16; at < bytes; at += u64{lanes()} * 16) store(offset + at, load<dtype, op>(offset + at));
    fence();
  }
};

#endif

}  // namespace hal::device
