// Runs an all_reduce of int32 on threads, for a sanitizer to watch: the native core without Python.
//
// Standard input: members, hosts over which they are dealt out (1: all memory is mapped; else sockets connect them), bytes
// of scratch, elements, launches, records kept (0: nothing is recorded); for each member:
// slots, reach in scratch, whether launches go round, whether members go on, blocks, and for each block the number of its words and the words (hal.plan.lower).
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "lane.h"
#include "tcp.h"

// Plain kernels in place of those for each instruction set, whose object files a sanitizer does not see into.
namespace hal::kernels {

void copy(void* dst, const void* src, size_t nbytes, bool) { std::memcpy(dst, src, nbytes); }
void claim(const void* src, size_t nbytes) {
  auto* at = static_cast<volatile uint8_t*>(const_cast<void*>(src));
  for (size_t i = 0; i < nbytes; i += 64) at[i] = at[i];
}

ReduceFn lookup(DType, Op) {
  return [](uint64_t, const void* const* src, int nsrc, void* const* dst, int ndst, size_t count, bool) {
    for (size_t i = 0; i < count; i++) {
      int32_t sum = 0;
      for (int s = 0; s < nsrc; s++) sum += static_cast<const int32_t*>(src[s])[i];
      for (int d = 0; d < ndst; d++) static_cast<int32_t*>(dst[d])[i] = sum;
    }
  };
}

}  // namespace hal::kernels

namespace {

constexpr int kInt32 = static_cast<int>(hal::kernels::DType::kInt32);

// Zeros, aligned as shared memory is.
uint8_t* zeros(size_t bytes) {
  void* memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  std::fill_n(static_cast<uint8_t*>(memory), (bytes + 4095) / 4096 * 4096, 0);
  return static_cast<uint8_t*>(memory);
}

// A member's memory, in one piece as links need it.
struct Blocks {
  int size;
  uint64_t scratch;
  uint64_t counters() const { return (sizeof(hal::Control) + 127) / 128 * 128; }
  uint64_t departed() const { return counters() + sizeof(hal::Counter) * size * hal::kChannelSlots; }
  uint64_t data() const { return (departed() + sizeof(hal::Departed) * size + 4095) / 4096 * 4096; }
  uint64_t bytes() const { return data() + 4 * scratch; }
  hal::Member member(uint8_t* at) const {
    return {reinterpret_cast<hal::Control*>(at), reinterpret_cast<hal::Counter*>(at + counters()),
            reinterpret_cast<hal::Departed*>(at + departed()), at + data(), nullptr, getpid()};
  }
};

template <typename T>
T read() {
  T value;
  if (!(std::cin >> value)) std::abort();
  return value;
}

}  // namespace

int main() {
  auto size = read<int>(), hosts = read<int>();
  auto scratch = read<uint64_t>(), count = read<uint64_t>();
  auto launches = read<int>();
  auto records = read<uint64_t>();
  auto recorder = records > 0 ? std::make_shared<hal::Recorder>(records) : nullptr;  // one of all members

  Blocks blocks_of{size, scratch};
  std::vector<uint8_t*> own(size);
  for (auto& block : own) block = zeros(blocks_of.bytes());
  // what each member sees: views[m][k] is that of member m on member k
  std::vector<std::vector<hal::Member>> views(size);
  std::vector<std::unique_ptr<hal::TcpConnection>> connections;
  for (int m = 0; m < size; m++) {
    for (int k = 0; k < size; k++) views[m].push_back(blocks_of.member(own[k]));
  }
  auto regions = std::make_shared<hal::Regions>();
  for (int m = 0; m < size; m++) {
    for (int k = m + 1; k < size; k++) {
      if (m % hosts == k % hosts) continue;
      int fds[2];
      if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) std::abort();
      uint8_t* mirrors[2] = {zeros(blocks_of.bytes()), zeros(blocks_of.bytes())};
      uint64_t blocks[2], copies[2];
      int ends[2] = {m, k};
      for (int e = 0; e < 2; e++) {
        blocks[e] = regions->add(reinterpret_cast<uint64_t>(own[ends[e]]), blocks_of.bytes());
        copies[e] = regions->add(reinterpret_cast<uint64_t>(mirrors[e]), blocks_of.bytes());
      }
      for (int e = 0; e < 2; e++) {
        connections.push_back(std::make_unique<hal::TcpConnection>(regions, fds[e]));
        hal::Member& other = views[ends[e]][ends[1 - e]];
        other = blocks_of.member(mirrors[e]);
        other.link = std::make_shared<hal::Link>(
            connections.back().get(),
            hal::LinkEnds{reinterpret_cast<uint64_t>(own[ends[e]]), blocks[e], reinterpret_cast<uint64_t>(mirrors[e]),
                          copies[e], blocks[1 - e], copies[1 - e]});
      }
    }
  }
  std::vector<std::unique_ptr<hal::Lane>> lanes;
  std::vector<std::unique_ptr<hal::Executable>> executables;
  for (int m = 0; m < size; m++) {
    auto slots = read<int>();
    auto reach = read<uint64_t>();
    auto roams = read<int>() != 0, goes_on = read<int>() != 0;
    std::vector<std::vector<int64_t>> blocks(read<size_t>());
    std::vector<std::vector<int32_t>> claims;
    for (auto& block : blocks) {
      block.resize(read<size_t>());
      for (auto& word : block) word = read<int64_t>();
      claims.emplace_back(read<size_t>());
      for (auto& position : claims.back()) position = read<int32_t>();
    }
    lanes.push_back(std::make_unique<hal::Lane>(m, views[m], 0, scratch, 0xffffffff - 20, hal::LaneOptions{20, 5, hosts == 1}));
    lanes[m]->recorder = recorder;
    std::vector<hal::Program> program;
    program.emplace_back(blocks, std::vector<int32_t>{}, kInt32, slots, false, false, true, hosts > 1 ? scratch : reach, m, size,
                         scratch, roams, claims, goes_on);
    hal::CallKey key{0, kInt32, 0, 0, -1, count, 1};
    executables.push_back(std::make_unique<hal::Executable>(*lanes[m], key, program, std::vector<hal::Program>{}));
  }

  std::vector<int> wrong(size, 0);
  std::vector<std::thread> threads;
  for (int m = 0; m < size; m++) {
    threads.emplace_back([&, m] {
      std::vector<int32_t> x(count), y(count);
      for (int i = 0; i < launches; i++) {
        for (uint64_t j = 0; j < count; j++) x[j] = (m + 1) * (i + 1) + static_cast<int32_t>(j);
        auto status = executables[m]->run(x.data(), count * 4, y.data(), count * 4, 60'000'000'000, {});
        if (status != hal::Status::kOk) wrong[m]++;
        int32_t sum = size * (size + 1) / 2 * (i + 1);
        for (uint64_t j = 0; j < count; j++) wrong[m] += y[j] != sum + size * static_cast<int32_t>(j);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (auto& view : views) {
    for (auto& member : view) {
      if (member.link != nullptr) member.link->detach();
    }
  }
  for (auto& connection : connections) connection->close();
  for (int m = 0; m < size; m++) {
    if (wrong[m] != 0) {
      std::printf("rank %d: %d wrong\n", m, wrong[m]);
      return 1;
    }
  }
  std::printf("right\n");
  return 0;
}
