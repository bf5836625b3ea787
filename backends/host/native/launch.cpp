#include "launch.h"

#include <algorithm>

#include "fence.h"
#include "packets.h"

namespace hal {
Launch::Workspace& Launch::workspace() {
  thread_local Workspace work;
  return work;
}

Launch::Launch(Lane& lane, const CallKey& key, int64_t timeout_ns, Hooks hooks)
    : lane_(lane),
      key_(key),
      timeout_ns_(timeout_ns),
      hooks_(hooks),
      number_(++lane.launch),
      parity_(static_cast<int>(number_ & 1)),
      slot_(static_cast<int>(number_ % kHeaders)),
      header_(lane.own().header[slot_]),
      flag_(packet_flag(number_)),
      work_(workspace()) {}

void Launch::enter(void* input, uint64_t input_bytes, void* output, uint64_t output_bytes, bool apart, bool plain) {
  const Member& me = lane_.members[lane_.rank];
  auto offset = [&](void* pointer, uint64_t bytes) -> uint64_t {
    if (bytes == 0) return 0;
    uint64_t at = static_cast<uint64_t>(static_cast<uint8_t*>(pointer) - me.arena);
    bool inside = at < lane_.arena_bytes && bytes <= lane_.arena_bytes - at;
    return inside ? at : plain ? reinterpret_cast<uint64_t>(pointer) | kPlain : kUnmapped;
  };
  auto *x = static_cast<uint8_t*>(input), *y = static_cast<uint8_t*>(output);
  bool reachable = !apart || !(x < y + output_bytes && y < x + input_bytes);
  input_ = reachable ? offset(input, input_bytes) : kUnmapped;
  output_ = reachable ? offset(output, output_bytes) : kUnmapped;
  for (auto* all : {&lane_.bases[parity_], &lane_.in_headers[slot_]}) {
    (*all)[lane_.rank * 3] = x;
    (*all)[lane_.rank * 3 + 1] = y;
  }
}

void Launch::announce() {
  if (announced_) return;
  store_phase();
}

// Writes the header as late as can be: until the others' copies of its line are gone, no later store is complete.
void Launch::store_phase() {
  if (!announced_) {
    announced_ = true;
    header_.key = key_;
    header_.input = input_;
    header_.output = output_;
  }
  header_.phase.store(phase(signals_), std::memory_order_release);
  bell_others();
  if (!lane_.links.empty()) publish_header();
}

// Whether a member has entered a launch, this one or an earlier one; what it called in all until then is compared.
bool Launch::arrived(int member, uint64_t launch) {
  uint64_t& compared = lane_.compared[member];
  while (compared < launch) {
    uint64_t next = compared + 1;
    const Header& other = lane_.members[member].control->header[next % kHeaders];
    if (other.phase.load(std::memory_order_acquire) >> kPhaseBits != next) return false;
    compared = next;
    if (!(other.key == (next == number_ ? key_ : lane_.own().header[next % kHeaders].key)) && !mismatch_) {
      mismatch_ = true;
      mismatched_ = next;
    }
    if (next == number_) locate(member, other);
  }
  return true;
}

// Where the buffers of a member lie that has entered this launch.
void Launch::locate(int member, const Header& other) {
  if (lane_.members[member].link != nullptr) return;
  auto* bases = lane_.bases[parity_].data() + member * 3;
  auto place = [&](uint64_t at) {
    return at < kPlain ? lane_.members[member].arena + at : reinterpret_cast<uint8_t*>(at & ~kPlain);
  };
  bases[0] = place(other.input);
  bases[1] = place(other.output);
}

namespace {

// Whether what a program reaches of a member's buffers lies at places below a limit.
bool below(uint64_t limit, const Program& program, uint64_t input, uint64_t output) {
  return !(program.maps_input && input >= limit) && !(program.maps_output && output >= limit);
}

}  // namespace

bool Launch::may_map(const Program& program, bool plain, bool in_place) const {
  if (!below(plain ? kUnmapped : kPlain, program, input_, output_)) return false;
  return plain || !in_place || input_ == output_;
}

bool Launch::all_below(uint64_t limit, const Program& program) const {
  if (!lane_.links.empty()) return false;
  return std::all_of(lane_.members.begin(), lane_.members.end(), [&](const Member& member) {
    const Header& header = member.control->header[slot_];
    return below(limit, program, header.input, header.output);
  });
}

Status Launch::meet() {
  if (Status status = await_all(number_ - std::min<uint64_t>(number_, kAhead)); status != Status::kOk) return status;
  announce();
  return await_all(number_);
}

Status Launch::run(const Program& program, int32_t source, bool go_on) {
  if (Status status = await_all(lane_.room_after(program)); status != Status::kOk) return status;
  program_ = &program;
  source_ = source;
  go_on_ = go_on && lane_.links.empty();
  std::vector<uint8_t*>& bases = program.in_header ? lane_.in_headers[slot_] : lane_.bases[parity_];
  if (!program.in_header) {
    // one launch and the next are in different halves, whatever the ranks make of a launch
    uint64_t turn = number_ / 2 & (program.places - 1);
    uint64_t place = static_cast<uint64_t>(parity_) * lane_.scratch_bytes + turn * program.place_bytes;
    for (int m = 0; m < lane_.size; m++) bases[3 * m + 2] = lane_.members[m].scratch + place;
  }
  bases_ = bases.data();
  size_t counters = static_cast<size_t>(lane_.size) * static_cast<size_t>(std::max(program.slots, 1));
  work_.signalled.assign(counters, 0);
  work_.waited.assign(counters, 0);
  if (!lane_.links.empty()) work_.pulls.assign(static_cast<size_t>(lane_.size), 0);
  work_.meetings.assign(static_cast<size_t>(program.barriers), {});
  work_.semaphores.assign(program.semaphores.begin(), program.semaphores.end());
  work_.blocks.resize(program.blocks.size());
  for (size_t i = 0; i < program.blocks.size(); i++) {
    work_.blocks[i].begin(program.blocks[i]);
  }
  if (lane_.recorder == nullptr) return run_blocks<false>();
  work_.tracks.assign(program.blocks.size(), {});
  Status status = run_blocks<true>();
  if (status != Status::kOk) trace_failure();
  return status;
}

// What records is compiled apart, so that it costs nothing where nothing is recorded.
template <bool kTraced>
Status Launch::run_blocks() {
  for (;;) {
    bool progress = false, done = true;
    for (Block& block : work_.blocks) {
      if (block.done()) continue;
      progress |= step<kTraced>(block);
      done &= block.done();
      if (mismatch_) return disagree();
    }
    if (done) break;
    if (progress) {
      idle_ = 0;
      awake();
    } else if (Status status = idle(); status != Status::kOk) {
      return status;
    }
  }
  announce();
  if (!program_->goes_on || !goes_on()) {
    if (Status status = await_all(number_); status != Status::kOk) return status;
  }
  if (unsent_) return failed();
  finish();
  return Status::kOk;
}

// Run a block until it must wait or has ended; whether it got anywhere.
template <bool kTraced>
bool Launch::step(Block& block) {
  bool progress = false;
  while (!block.done()) {
    const Instruction& instruction = (*block.code)[block.at];
    if constexpr (kTraced) trace_begin(block);
    bool next = true;
    switch (instruction.opcode) {
      case Opcode::kMove: next = move(block, instruction); break;
      case Opcode::kSignal: signal(instruction); break;
      case Opcode::kWait: next = wait(block, instruction); break;
      case Opcode::kBarrier: next = barrier(block, instruction); break;
      case Opcode::kAcquire:
        if (work_.semaphores[instruction.a] == 0) {
          next = stand(block, Waiting::kSemaphore, instruction.a, -1, 1, 0);
        } else {
          work_.semaphores[instruction.a]--;
        }
        break;
      case Opcode::kRelease: work_.semaphores[instruction.a]++; break;
      case Opcode::kSync: break;
      case Opcode::kLoop:
        if (instruction.b == 0) {
          block.at = static_cast<uint32_t>(instruction.a);
          progress = true;
          continue;
        }
        block.loops[block.depth++] = {&instruction, 0};
        break;
      case Opcode::kLoopEnd: {
        if constexpr (kTraced) trace_piece(block, false);
        Loop& loop = block.loops[block.depth - 1];
        if (++loop.piece < loop.at->b) {
          block.at = static_cast<uint32_t>(instruction.a);
        } else {
          block.depth--;
        }
        break;
      }
    }
    if (!next) return progress || mismatch_;
    if constexpr (kTraced) trace_end(block, instruction, false);
    block.waiting = Waiting::kRunning;
    block.at++;
    progress = true;
  }
  return progress;
}

// Whether to go on where the plan allows that. Two ranks that give to each other in turn are better off if they meet in
// each call than if each call waits for the one before: who gives goes on from the second time in a row.
bool Launch::goes_on() {
  bool gave = lane_.gave;
  lane_.gave = lane_.compared[lane_.size - 1 - lane_.rank] < number_;
  return go_on_ && (lane_.size > 2 || gave);
}

bool Launch::stand(Block& block, Waiting waiting, int channel, int peer, uint64_t expected, uint64_t seen) {
  block.waiting = waiting;
  block.channel = channel;
  block.peer = peer;
  block.expected = expected;
  block.seen = seen;
  announce();
  return false;
}

void Launch::signal(const Instruction& instruction) {
  if (instruction.common) {
    // the header itself is the counter: one store tells all others, and announces the call if nothing has yet
    signals_++;
    store_phase();
    return;
  }
  announce();
  Counter* counters = lane_.members[lane_.rank].counters;
  for (uint32_t i = 0; i < instruction.count; i++) {
    const ChannelEnd& end = program_->ends[instruction.first + i];
    uint64_t count = ++work_.signalled[static_cast<size_t>(end.peer * program_->slots + end.slot)];
    Counter& counter = counters[end.peer * kChannelSlots + end.slot];
    counter.store(phase(count), std::memory_order_release);
    if (!lane_.links.empty()) publish_value(end.peer, &counter, phase(count));
  }
  light_fence();
  if (lane_.common().sleepers.load(std::memory_order_relaxed) == 0) return;
  for (uint32_t i = 0; i < instruction.count; i++) bell(program_->ends[instruction.first + i].peer);
}

bool Launch::wait(Block& block, const Instruction& instruction) {
  for (; block.part < instruction.count; block.part++) {
    const ChannelEnd& end = program_->ends[instruction.first + block.part];
    const Member& peer = lane_.members[end.peer];
    uint64_t& waited = work_.waited[static_cast<size_t>(end.peer * program_->slots + end.slot)];
    const Counter& counter = instruction.common ? peer.control->header[slot_].phase
                                                : peer.counters[lane_.rank * kChannelSlots + end.slot];
    uint64_t value = counter.load(std::memory_order_acquire);
    if (value < phase(waited + 1)) {
      // a counter that an earlier launch left counts nothing in this one
      uint64_t seen = value >> kPhaseBits == number_ ? value & ((1 << kPhaseBits) - 1) : 0;
      return stand(block, Waiting::kSignal, end.channel, end.peer, waited + 1, seen);
    }
    waited++;
    if (instruction.common) {
      arrived(end.peer, number_);  // the call it makes lies in the line just read
      if (mismatch_) return false;
    }
  }
  block.part = 0;
  return true;
}

bool Launch::barrier(Block& block, const Instruction& instruction) {
  Meeting& meeting = work_.meetings[instruction.a];
  if (!block.arrived) {
    block.generation = meeting.generation;
    if (++meeting.arrived == instruction.b) {
      meeting.arrived = 0;
      meeting.generation++;
      return true;
    }
    block.arrived = true;
  }
  if (meeting.generation == block.generation) {
    return stand(block, Waiting::kBarrier, instruction.a, -1, static_cast<uint64_t>(instruction.b),
                 static_cast<uint64_t>(meeting.arrived));
  }
  block.arrived = false;
  return true;
}

}  // namespace hal
