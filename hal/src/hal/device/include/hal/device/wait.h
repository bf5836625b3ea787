// How device code waits: it spins, and looks now and then whether it is to stop.
#pragma once
#include <intrinsics.h>

#include <hal/device/types.h>

namespace hal::device {

#ifndef HAL_TURNS_BETWEEN_LOOKS
#define HAL_TURNS_BETWEEN_LOOKS 256
#endif

// Spin until `ready()`. `watch.look()` is called every so many turns, and ends the waiting where it returns true; it
// is asked once more after that whether what is waited for has come meanwhile. Returns whether it has.
template <class Watch, class Ready>
HAL_DEVICE bool spin(Watch& watch, const Ready& ready) {
  for (u32 turn = 1; !ready(); turn++) {
    if (turn % HAL_TURNS_BETWEEN_LOOKS == 0 && watch.look()) return ready();
    pause();
  }
  return true;
}

// A watch for kernels of one's own: a deadline, and a word that the host sets to anything but 0 to end all waiting.
struct Deadline {
  u64 at;            // of clock_ns()
  const u64* abort;  // null: none
  bool passed;

  HAL_DEVICE static Deadline after(u64 ns, const u64* abort = nullptr) { return {clock_ns() + ns, abort, false}; }
  HAL_DEVICE bool look() {
    passed = passed || clock_ns() >= at || (abort != nullptr && load_relaxed_8(abort) != 0);
    return passed;
  }
};

}  // namespace hal::device
