// Signals between ranks: a counter in the receiver's memory, which one sender raises.
#pragma once
#include <hal/device/wait.h>

namespace hal::device {

// Raise a counter in another rank's memory to `value`. What this lane wrote before, and what others of its block wrote
// before a block barrier before this, is visible to whoever sees the value.
HAL_DEVICE void raise_counter(u64* there, u64 value) { store_release_8(there, value); }

// Wait until a counter in this rank's memory is `value` or more; what was written before it is then visible to this
// lane, and after a block barrier to its block.
template <class Watch>
HAL_DEVICE bool await_counter(const u64* here, u64 value, Watch& watch) {
  return spin(watch, [=] { return load_acquire_8(here) >= value; });
}

// One end of a pair of semaphores. Both counters begin at 0. One block uses an end at a time.
struct Semaphore {
  u64* there;       // the counter in the peer's memory that this end raises
  const u64* here;  // the counter in this rank's memory that the peer raises
  u64* sent;        // in this rank's memory, this end's alone: signals sent,
  u64* taken;       // and waited for

  // All lanes call both. `signal` releases what all of them wrote before.
  HAL_DEVICE void signal() const {
    block_barrier();
    if (lane() == 0) {
      u64 count = *sent + 1;
      *sent = count;
      raise_counter(there, count);
    }
  }
  // Wait for the next signal; whether it came. All lanes then see what the peer wrote before it.
  template <class Watch>
  HAL_DEVICE bool wait(Watch& watch) const {
    bool failed = false;
    if (lane() == 0) {
      u64 count = *taken + 1;
      failed = !await_counter(here, count, watch);
      if (!failed) *taken = count;
    }
    return !block_any(failed);
  }
};

}  // namespace hal::device
