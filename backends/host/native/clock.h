// Time as waits, deadlines and traces count it.
#pragma once
#include <time.h>

#include <cstdint>

namespace hal {

// Nanoseconds since a moment that is the same for all processes of this host.
inline int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

}  // namespace hal
