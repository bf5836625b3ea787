// Runs jobs on threads: ranks, blocks, lanes. Reads words of 8 bytes from a file, and writes words to another
// (tests/device/machine.py makes the one and reads the other).
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>

#include "grid.h"
#include "ranks.h"

// One launch of the executor kernel of a type; made by machine.py.
void launch_kernel(int dtype, const hal::device::u64* arguments);

namespace {

using namespace hal::device;

// As hal.device.group says.
static_assert(offsetof(Local, triggers) == 24 && offsetof(Host, abort) == 0 && offsetof(Host, status) == 8);

class Input {
 public:
  explicit Input(const char* path) {
    std::ifstream file(path, std::ios::binary);
    file.seekg(0, std::ios::end);
    words_.resize(static_cast<size_t>(file.tellg()) / 8);
    file.seekg(0);
    file.read(reinterpret_cast<char*>(words_.data()), static_cast<std::streamsize>(words_.size() * 8));
  }
  u64 next() { return words_.at(at_++); }
  std::vector<u64> several(u64 count) {
    std::vector<u64> taken;
    for (u64 i = 0; i < count; i++) taken.push_back(next());
    return taken;
  }
  bool ended() const { return at_ == words_.size(); }

 private:
  std::vector<u64> words_;
  size_t at_ = 0;
};

class Output {
 public:
  explicit Output(const char* path) : file_(path, std::ios::binary) {}
  void word(u64 value) { file_.write(reinterpret_cast<const char*>(&value), 8); }
  // As words, the last one filled up with zeros.
  void bytes(const u8* data, u64 size) {
    file_.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    for (u64 i = size; i % 8 != 0; i++) file_.put(0);
  }

 private:
  std::ofstream file_;
};

// One rank's part of a job.
struct Part {
  CallKey key;
  u64 other;  // the count that it says it calls in the first launches, where ranks disagree
  u64 blocks;
  std::vector<u64> code, mapped;
  bool registered;
  u64 room, input_at, input_bytes, output_at, output_bytes;
  std::vector<u64> input;

  explicit Part(Input& in)
      : key{in.next(), in.next(), in.next()},
        other(in.next()),
        blocks(in.next()),
        code(in.several(in.next())),
        mapped(in.several(in.next())),
        registered(in.next() != 0),
        room(in.next()),
        input_at(in.next()),
        input_bytes(in.next()),
        output_at(in.next()),
        output_bytes(in.next()),
        input(in.several((input_bytes + 7) / 8)) {}
};

struct Job {
  u64 size, lanes, launches, seed, dtype, timeout_ns, first_launch, proxy, multicast, scratch_bytes;
  u64 disagree;  // launches at first in which ranks call what they do not agree on
  u64 absent;   // the rank that does not enter the last launch
  u64 aborted;  // the rank whose host aborts a moment after the last launch began; both may be no rank at all
  std::vector<Part> parts;

  explicit Job(Input& in)
      : size(in.next()), lanes(in.next()), launches(in.next()), seed(in.next()), dtype(in.next()),
        timeout_ns(in.next()), first_launch(in.next()), proxy(in.next()), multicast(in.next()),
        scratch_bytes(in.next()),
        disagree(in.next()), absent(in.next()), aborted(in.next()) {
    for (u64 r = 0; r < size; r++) parts.emplace_back(in);
  }
};

struct Left {  // by one rank
  std::vector<u64> statuses;
  std::vector<std::vector<u8>> outputs;  // after each launch
};

void run_rank(const Job& job, Ranks& ranks, u64 rank, Left& left) {
  const Part& part = job.parts[rank];
  Rank& own = *ranks.rank[rank];
  u8* memory = part.registered ? own.arena.get() : own.other.get();
  u8 *input = memory + part.input_at, *output = memory + part.output_at;
  for (u64 l = 0; l < job.launches; l++) {
    bool last = l + 1 == job.launches;
    if (last && rank == job.absent) return;
    std::memset(output, 0xA0, part.output_bytes);
    std::memcpy(input, part.input.data(), part.input_bytes);
    const u64 arguments[] = {reinterpret_cast<u64>(&own.group), reinterpret_cast<u64>(part.code.data()),
                             part.mapped.empty() ? 0 : reinterpret_cast<u64>(part.mapped.data()),
                             part.key.what, l < job.disagree ? part.other : part.key.count, part.key.plan,
                             reinterpret_cast<u64>(input), part.input_bytes,
                             reinterpret_cast<u64>(output), part.output_bytes, job.timeout_ns, part.blocks};
    std::thread aborter;
    if (last && rank == job.aborted) {
      aborter = std::thread([&] {
        timespec nap{0, 20'000'000};
        nanosleep(&nap, nullptr);
        __atomic_store_n(&own.host->abort, static_cast<u64>(Stop::kAborted) | rank << kFailureBits, __ATOMIC_RELAXED);
      });
    }
    u64 seed = job.seed == 0 ? 0 : job.seed + (rank << 40) + (l << 50) + 1;
    run_grid(static_cast<u32>(part.blocks), static_cast<u32>(job.lanes), seed,
             [&] { launch_kernel(static_cast<int>(job.dtype), arguments); });
    if (aborter.joinable()) aborter.join();
    left.statuses.push_back(own.host->status);
    left.outputs.emplace_back(output, output + part.output_bytes);
    std::memset(input, 0xEE, part.input_bytes);  // the caller may do so: nobody reads it any more
  }
}

void run(const Job& job, Output& out) {
  std::vector<u64> arenas, others;
  for (const Part& part : job.parts) {
    arenas.push_back(part.registered ? part.room : 0);
    others.push_back(part.registered ? 0 : part.room);
  }
  Ranks ranks(arenas, others, job.scratch_bytes, job.first_launch, job.proxy != 0, job.multicast != 0);
  u64 before = cpu_multicast_accesses;
  std::vector<Left> left(job.size);
  std::vector<std::thread> threads;
  for (u64 r = 0; r < job.size; r++) threads.emplace_back([&, r] { run_rank(job, ranks, r, left[r]); });
  for (auto& thread : threads) thread.join();
  ranks.stop();
  for (u64 r = 0; r < job.size; r++) {
    out.word(left[r].statuses.size());
    for (u64 status : left[r].statuses) out.word(status);
    for (auto& output : left[r].outputs) out.bytes(output.data(), output.size());
    out.word(control_bytes(static_cast<u32>(job.size)));
    out.bytes(ranks.rank[r]->control.get(), control_bytes(static_cast<u32>(job.size)));
    out.word(ranks.carried_out());
    out.word(cpu_multicast_accesses - before);
    out.bytes(reinterpret_cast<const u8*>(&ranks.rank[r]->group), sizeof(Group));
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  Input in(arguments[1]);
  Output out(arguments[2]);
  out.word(sizeof(Group));
  out.word(sizeof(Local));
  out.word(sizeof(Host));
  while (!in.ended()) run(Job(in), out);
  return 0;
}
