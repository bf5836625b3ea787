// The memory of all ranks of a group in one process, and the proxy that serves their posts.
#pragma once
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <hal/device/group.h>

namespace hal::device {

struct Free {
  void operator()(u8* memory) const { ::operator delete[](memory, std::align_val_t{256}); }
};
using Memory = std::unique_ptr<u8[], Free>;

// Zeros, aligned as device memory is; exactly as long as said, so that a sanitizer finds what goes past the end.
inline Memory zeros(u64 bytes) {
  Memory memory(new (std::align_val_t{256}) u8[bytes == 0 ? 1 : bytes]);
  std::memset(memory.get(), 0, bytes);
  return memory;
}

inline u64 control_bytes(u32 members) {
  Control control{nullptr, members};
  return reinterpret_cast<u64>(control.report() + kReportEntries);
}

struct Rank {
  Memory control, scratch, arena, other;
  std::unique_ptr<Local> local = std::make_unique<Local>();
  std::unique_ptr<Host> host = std::make_unique<Host>();
  Group group{};
  std::vector<Trigger> ring;
  u64 head = 0, done = 0;
  Queue queue{};
  std::thread proxy;
};

class Ranks {
 public:
  static constexpr u64 kRing = 3;  // few, so that it is full at times

  Ranks(const std::vector<u64>& arenas, const std::vector<u64>& others, u64 scratch_bytes, u64 first_launch, bool proxy,
        bool multicast = false) {
    u32 size = static_cast<u32>(arenas.size());
    for (u32 r = 0; r < size; r++) {
      rank.push_back(std::make_unique<Rank>());
      Rank& own = *rank.back();
      own.control = zeros(control_bytes(size));
      own.scratch = zeros(4 * scratch_bytes);
      own.arena = zeros(arenas[r]);
      own.other = zeros(others[r]);
      own.local->launch = first_launch;
      own.ring.resize(kRing);
      own.queue = {own.ring.data(), kRing, &own.head, &own.done};
    }
    if (multicast) {
      // an address range alone: whoever touches it has taken it for memory
      window_bytes_ = 4 * scratch_bytes;
      window_ = mmap(nullptr, window_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      cpu_multicast = {static_cast<u8*>(window_), {}};
      for (auto& each : rank) cpu_multicast.members.push_back(each->scratch.get());
    }
    for (u32 r = 0; r < size; r++) {
      Group& group = rank[r]->group;
      group = {r, size, scratch_bytes, arenas[r], rank[r]->host.get(), rank[r]->local.get(), nullptr, nullptr, {}};
      if (proxy) group.queue = &rank[r]->queue;
      group.multicast = static_cast<u8*>(window_);
      for (u32 m = 0; m < size; m++) {
        group.member[m] = {rank[m]->control.get(), rank[m]->scratch.get(), rank[m]->arena.get()};
      }
      if (proxy) rank[r]->proxy = std::thread([this, r] { serve(*rank[r]); });
    }
  }

  void stop() {
    stopping_.store(true);
    for (auto& each : rank) {
      if (each->proxy.joinable()) each->proxy.join();
    }
    if (window_ != nullptr) munmap(window_, window_bytes_);
  }
  u64 carried_out() const { return carried_out_.load(); }

  std::vector<std::unique_ptr<Rank>> rank;

 private:
  void serve(Rank& own) {
    u64 next = 1;
    while (!stopping_.load(std::memory_order_relaxed)) {
      Trigger& trigger = own.ring[(next - 1) % kRing];
      if (__atomic_load_n(&trigger.ticket, __ATOMIC_ACQUIRE) != next) {
        sched_yield();
        continue;
      }
      timespec nap{0, 20'000};  // slower than kernels post
      nanosleep(&nap, nullptr);
      auto read = [](const u64& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); };
      if (read(trigger.kind) & kTriggerPut) {
        std::memcpy(reinterpret_cast<void*>(read(trigger.dst)), reinterpret_cast<void*>(read(trigger.src)),
                    read(trigger.bytes));
      }
      if (read(trigger.kind) & kTriggerSignal) {
        __atomic_store_n(reinterpret_cast<u64*>(read(trigger.counter)), read(trigger.value), __ATOMIC_RELEASE);
      }
      carried_out_++;
      __atomic_store_n(&own.done, next++, __ATOMIC_RELEASE);
    }
  }

  std::atomic<bool> stopping_{false};
  std::atomic<u64> carried_out_{0};
  void* window_ = nullptr;
  u64 window_bytes_ = 0;
};

}  // namespace hal::device
