// The channels for kernels of one's own, between two ranks that are threads: each rank's part as a kernel would write it.
// Prints what is wrong, or «right».
#include <cstdio>
#include <cstring>

#include <hal/device/memory_channel.h>
#include <hal/device/switch_channel.h>

#include "grid.h"
#include "ranks.h"

namespace {

using namespace hal::device;

constexpr u64 kBytes = 1000, kRounds = 6, kNs = 60'000'000'000;
constexpr u32 kLanes = 5;
std::atomic<int> wrong{0};

void expect(bool right, const char* what) {
  if (!right && wrong++ == 0) std::printf("%s\n", what);
}

u8 byte_of(u64 rank, u64 round, u64 i) { return static_cast<u8>(rank * 101 + round * 37 + i * 7); }

// What two ranks have between them.
struct Pair {
  u64 counter[2] = {}, sent[2] = {}, taken[2] = {};
  Memory memory[2] = {zeros(3 * kBytes), zeros(3 * kBytes)}, inbox[2] = {zeros(8 * kBytes), zeros(8 * kBytes)};

  Semaphore end(int rank) { return {&counter[1 - rank], &counter[rank], &sent[rank], &taken[rank]}; }
  MemoryChannel channel(int rank) {
    return {end(rank), memory[rank].get(), memory[1 - rank].get(), inbox[rank].get(), inbox[1 - rank].get()};
  }
};

template <class Kernel>
void both(u64 seed, const Kernel& kernel) {
  std::vector<std::thread> ranks;
  for (int r = 0; r < 2; r++) {
    ranks.emplace_back([&, r] { run_grid(1, kLanes, seed + static_cast<u64>(r), [&] { kernel(r); }); });
  }
  for (auto& rank : ranks) rank.join();
}

// Memory: [0, kBytes) is one's own, then what the peer put here, then what was fetched from the peer.
void check_round(const MemoryChannel& channel, int rank, u64 round) {
  for (u64 i = lane(); i < kBytes; i += lanes()) {
    u8 other = byte_of(static_cast<u64>(1 - rank), round, i);
    expect(channel.local[kBytes + i] == other, "what was put is wrong");
    expect(channel.local[2 * kBytes + i] == other, "what was fetched is wrong");
  }
}

void memory(u64 seed) {
  Pair pair;
  both(seed, [&](int rank) {
    MemoryChannel channel = pair.channel(rank);
    Deadline deadline = Deadline::after(kNs);
    for (u64 round = 0; round < kRounds; round++) {
      for (u64 i = lane(); i < kBytes; i += lanes()) channel.local[i] = byte_of(static_cast<u64>(rank), round, i);
      block_barrier();
      channel.put(kBytes, 0, kBytes);
      channel.signal();
      expect(channel.wait(deadline), "no signal");
      channel.get(2 * kBytes, 0, kBytes);
      block_barrier();
      check_round(channel, rank, round);
      channel.signal();  // the peer's memory may be written again
      expect(channel.wait(deadline), "no second signal");
    }
  });
}

void packets(u64 seed) {
  Pair pair;
  both(seed, [&](int rank) {
    MemoryChannel channel = pair.channel(rank);
    Deadline deadline = Deadline::after(kNs);
    for (u64 round = 1; round <= kRounds; round++) {
      u32 flag = packet_flag(round);
      for (u64 i = lane(); i < kBytes / 2; i += lanes()) {
        u64 place = round % 2 * (kBytes / 2) + i;
        channel.send(place, flag, byte_of(static_cast<u64>(rank), round, i));
        u32 data = 0;
        expect(channel.receive(place, flag, data, deadline), "no packet");
        expect(data == byte_of(static_cast<u64>(1 - rank), round, i), "a packet is wrong");
      }
      block_barrier();
    }
  });
}

void port(u64 seed) {
  Pair pair;
  Ranks ranks({0, 0}, {0, 0}, 0, 0, true);
  both(seed, [&](int rank) {
    PortChannel channel{pair.end(rank), &ranks.rank[static_cast<size_t>(rank)]->queue, static_cast<u64>(1 - rank),
                        pair.memory[rank].get(), pair.memory[1 - rank].get()};
    Deadline deadline = Deadline::after(kNs);
    for (u64 round = 0; round < kRounds; round++) {
      for (u64 i = lane(); i < kBytes; i += lanes()) channel.local[i] = byte_of(static_cast<u64>(rank), round, i);
      bool together = round % 2 == 0;
      expect(channel.put(kBytes, 0, kBytes, deadline, together), "no room for a put");
      if (!together) expect(channel.signal(deadline), "no room for a signal");
      expect(channel.wait(deadline), "no signal through the port");
      for (u64 i = lane(); i < kBytes; i += lanes()) {
        expect(channel.local[kBytes + i] == byte_of(static_cast<u64>(1 - rank), round, i), "what was posted is wrong");
      }
      expect(channel.flush(deadline), "no flush");
      expect(channel.signal(deadline) && channel.wait(deadline), "no second signal through the port");
    }
  });
  ranks.stop();
}

void multicast(u64 seed) {
  Pair pair;
  constexpr u64 kElements = 64;
  u8 window[kElements * 4];
  cpu_multicast = {window, {pair.memory[0].get(), pair.memory[1].get()}};
  both(seed, [&](int rank) {
    auto* own = reinterpret_cast<i32*>(pair.memory[rank].get());
    Semaphore semaphore = pair.end(rank);
    Deadline deadline = Deadline::after(kNs);
    for (u32 i = lane(); i < kElements; i += lanes()) own[i] = static_cast<i32>(i) * (rank + 1);
    semaphore.signal();
    expect(semaphore.wait(deadline), "no signal before");
    // each rank reduces one half for both
    SwitchChannel{window}.all_reduce<kInt32, kSum>(static_cast<u64>(rank) * kElements * 2, kElements * 2);
    semaphore.signal();
    expect(semaphore.wait(deadline), "no signal after");
    for (u32 i = lane(); i < kElements; i += lanes()) expect(own[i] == static_cast<i32>(i) * 3, "a sum is wrong");
  });
}

void deadlines() {
  Pair pair;
  u64 abort = 0;
  both(0, [&](int rank) {
    if (rank == 1) return;
    Deadline soon = Deadline::after(1'000'000);
    expect(!pair.channel(0).wait(soon), "a wait without a signal ended well");
    expect(lane() != 0 || soon.at <= clock_ns(), "a deadline passed before its time");
    if (lane() == 0) __atomic_store_n(&abort, 1, __ATOMIC_RELAXED);
    block_barrier();
    Deadline never = Deadline::after(kNs, &abort);
    expect(!pair.channel(0).wait(never), "a wait that was aborted ended well");
    pair.channel(1).signal();
    expect(pair.channel(0).wait(never), "what is there needs no waiting");
  });
}

}  // namespace

int main() {
  for (u64 seed : {0, 11, 222}) {
    memory(seed);
    packets(seed);
    port(seed);
    multicast(seed);
  }
  deadlines();
  if (wrong == 0) std::printf("right\n");
  return wrong != 0;
}
