// A pair of fences for «store, then look whether anybody sleeps» against «say that I sleep, then look once more». One of
// the two must see the other. The first happens in every call, the second seldom; so the second pays for both where
// the kernel can interrupt all other processors for it (membarrier), and the first is nothing but an order of
// instructions. The waker need not wait until its store has reached the other processors.
#pragma once
#include <atomic>

namespace hal {

// Whether this process takes part in the barriers of others; asked for once, when the module is loaded.
extern const bool kBarriersReachUs;

inline void light_fence() {
  if (kBarriersReachUs) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
}

void heavy_fence();

}  // namespace hal
