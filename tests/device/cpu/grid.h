// A grid of blocks on CPUs: a thread for every lane.
#pragma once
#include <memory>
#include <thread>
#include <vector>

#include "intrinsics.h"

namespace hal::device {

// Run `kernel()` on every lane of `blocks` blocks, and return when all have ended. With a seed the schedule is
// disturbed, for each lane in its own way.
template <class Kernel>
void run_grid(u32 blocks, u32 lanes, u64 seed, const Kernel& kernel) {
  std::vector<std::unique_ptr<CpuBlock>> shared;
  std::vector<std::thread> threads;
  for (u32 b = 0; b < blocks; b++) {
    shared.push_back(std::make_unique<CpuBlock>(b, lanes));
    for (u32 l = 0; l < lanes; l++) {
      threads.emplace_back([&kernel, block = shared.back().get(), l, seed] {
        u64 mixed = (seed ^ (u64{block->index} << 32 | l)) * 0x9e3779b97f4a7c15;
        CpuLane self{block, l, seed == 0 ? 0 : mixed | 1};
        cpu_lane = &self;
        kernel();
      });
    }
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace hal::device
