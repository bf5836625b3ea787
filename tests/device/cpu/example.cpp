// Runs the example of docs/device.md on two ranks, four times. Prints «right», or what is wrong.
#include <cstdio>

#include <hal/device/memory_channel.h>

#include "grid.h"
#include "ranks.h"

using namespace hal::device;

extern "C" void relu_sum(u64 channel, u64 input, u64 output, u64 count, u64 launch, u64 timeout_ns);

int main() {
  constexpr u64 kCount = 100, kLaunches = 4;
  Memory inbox[2] = {zeros(2 * kCount * 8), zeros(2 * kCount * 8)};
  std::vector<float> x[2], y[2];
  std::vector<std::thread> ranks;
  int wrong = 0;
  for (u64 r = 0; r < 2; r++) {
    for (u64 i = 0; i < kCount; i++) x[r].push_back(static_cast<float>(static_cast<int>(i * (r + 3) % 17) - 8));
    y[r].resize(kCount);
  }
  for (u64 r = 0; r < 2; r++) {
    ranks.emplace_back([&, r] {
      MemoryChannel channel{{}, nullptr, nullptr, inbox[r].get(), inbox[1 - r].get()};
      for (u64 launch = 1; launch <= kLaunches; launch++) {
        run_grid(1, 7, launch, [&] {
          relu_sum(reinterpret_cast<u64>(&channel), reinterpret_cast<u64>(x[r].data()),
                   reinterpret_cast<u64>(y[r].data()), kCount, launch, 60'000'000'000);
        });
      }
    });
  }
  for (auto& rank : ranks) rank.join();
  for (u64 i = 0; i < kCount; i++) {
    float sum = (x[0][i] > 0 ? x[0][i] : 0) + (x[1][i] > 0 ? x[1][i] : 0);
    for (auto& each : y) wrong += each[i] != sum;
  }
  std::printf(wrong == 0 ? "right\n" : "wrong\n");
  return wrong != 0;
}
