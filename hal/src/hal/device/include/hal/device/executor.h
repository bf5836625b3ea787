// The plan executor: one launch a collective, each block of the plan a block of the grid. All lanes of a block go
// through the same instructions; every instruction but a move begins or ends with a block barrier, by which the lanes
// also tell each other that one of them has given up.
#pragma once
#include <hal/device/ending.h>
#include <hal/device/move_switched.h>

namespace hal::device {

// What the host passes.
struct Arguments {
  const Group* group;
  Code code;    // for any buffers
  Code mapped;  // null, or what runs in its place where the buffers that it reaches are mapped on every rank
  CallKey key;
  u64 input, input_bytes, output, output_bytes;
  u64 timeout_ns;
  u64 blocks;  // of the grid: those of the longer program
};

// One lane of a launch. Without `kMulticast` it runs no program that uses multicast memory.
template <int dtype, u32 ops, bool kMulticast>
class Executor {
 public:
  HAL_DEVICE explicit Executor(const Arguments& arguments)
      : arguments_(arguments),
        memory_(*static_cast<BlockMemory*>(block_memory())),
        launch_(begin(arguments)),
        code_(arguments.code),
        watch_{&launch_} {}

  HAL_DEVICE void run() {
    bool mapped = arguments_.mapped.words != nullptr;
    if (block_index() == 0) {
      announce(launch_, {offset_of(arguments_.input, arguments_.input_bytes),
                         offset_of(arguments_.output, arguments_.output_bytes)});
    }
    bool going = !mapped || meet();
    if (going && mapped && all_mapped(arguments_.mapped)) code_ = arguments_.mapped;
    if (going && block_index() < code_.blocks()) {
      const i64* end = nullptr;
      const i64* at = stage(end);
      going = sequence(at, end) && together() && finish_posts();
    }
    if (block_index() == 0) going = arrive(going);
    u32 blocks = static_cast<u32>(arguments_.blocks);
    Ending{launch_, memory_, arguments_.code, arguments_.mapped, watch_, stand_, blocks}.finish(!going);
  }

 private:
  HAL_DEVICE static Launch begin(const Arguments& a) {
    u64 number = a.group->local->launch + 1;
    return {a.group, static_cast<u32>(a.group->rank), static_cast<u32>(a.group->size), number,
            static_cast<int>(number & 1), packet_flag(number), a.key, clock_ns() + a.timeout_ns};
  }

  HAL_DEVICE u64 offset_of(u64 address, u64 bytes) const {
    if (bytes == 0) return 0;
    u64 offset = address - reinterpret_cast<u64>(launch_.group->member[launch_.rank].arena);
    u64 room = launch_.group->arena_bytes;
    return offset < room && bytes <= room - offset ? offset : kUnmapped;
  }

  // Whether no lane has given up; orders the lanes.
  HAL_DEVICE bool together() { return !block_any(watch_.stop != Stop::kNone); }

  // Wait until every member has announced what it calls.
  HAL_DEVICE_CALL bool meet() {
    bool met = true;
    for (u32 m = lane(); m < launch_.size && met; m += lanes()) met = await_member(launch_, m, watch_, stand_);
    return together();
  }

  // Before block 0 ends, all ranks have said what they call, also where they disagree, so that each can report all.
  HAL_DEVICE_CALL bool arrive(bool going) {
    bool disagree = watch_.stop == Stop::kMismatch;
    if (!going && !block_any(disagree)) return false;
    if (disagree) watch_.stop = Stop::kNone;
    watch_.ignore_mismatch = true;
    if (!meet()) return false;
    for (u32 m = lane(); m < launch_.size; m += lanes()) {
      u64 words[Header::kParts];
      if (read_header(launch_, m, words) && !same_call(launch_.key, words)) watch_.stop = Stop::kMismatch;
    }
    return together();
  }

  HAL_DEVICE bool all_mapped(Code code) const {
    for (u32 m = 0; m < launch_.size; m++) {
      u64 words[Header::kParts];
      read_header(launch_, m, words);
      if (code.has(Code::kMapsInput) && words[3] == kUnmapped) return false;
      if (code.has(Code::kMapsOutput) && words[4] == kUnmapped) return false;
    }
    return true;
  }

  // Bring what the block needs into its memory; returns its program, which ends at `end`.
  HAL_DEVICE_CALL const i64* stage(const i64*& end) {
    const Group& group = *launch_.group;
    for (u32 m = lane(); m < launch_.size; m += lanes()) {
      u64 words[Header::kParts] = {0, 0, 0, 0, 0};
      if (arguments_.mapped.words != nullptr) read_header(launch_, m, words);
      u64 arena = reinterpret_cast<u64>(group.member[m].arena);
      u64 scratch = reinterpret_cast<u64>(group.member[m].scratch);
      memory_.base[3 * m] = m == launch_.rank ? arguments_.input : arena + words[3];
      memory_.base[3 * m + 1] = m == launch_.rank ? arguments_.output : arena + words[4];
      memory_.base[3 * m + 2] = scratch + static_cast<u64>(launch_.parity) * group.scratch_bytes;
    }
    for (u32 i = lane(); i < BlockMemory::kCounts; i += lanes()) memory_.sent[i] = memory_.waited[i] = 0;
    const i64* at = code_.begin(block_index());
    end = code_.begin(block_index() + 1);
    u64 words = static_cast<u64>(end - at);
    if (words <= BlockMemory::kWords) {
      for (u64 i = lane(); i < words; i += lanes()) memory_.word[i] = at[i];
      at = memory_.word;
      end = at + words;
    }
    block_barrier();
    return at;
  }

  HAL_DEVICE bool sequence(const i64* at, const i64* end) {
    while (at < end) {
      const i64* next = at + 2 + at[1];
      if (static_cast<Opcode>(at[0]) != Opcode::kLoop) {
        if (!step(at, nullptr, 0)) return false;
        at = next;
        continue;
      }
      const i64* loop = at + 3;
      const i64* body_end = next + loop[3];
      for (i64 piece = 0; piece < loop[2]; piece++) {
        for (const i64* inner = next; inner < body_end; inner += 2 + inner[1]) {
          if (!step(inner, loop, piece)) return false;
        }
      }
      at = body_end;
    }
    return true;
  }

  // False, for all lanes alike, where one has given up. After a move that shows at the next barrier.
  HAL_DEVICE_CALL bool step(const i64* at, const i64* loop, i64 piece) {
    bool before = watch_.stop != Stop::kNone;
    bool going = instruction(static_cast<Opcode>(at[0]), at + 3, loop, piece);
    if (!before && watch_.stop != Stop::kNone) stand_.position = static_cast<i32>(at[2]);
    return going;
  }

  HAL_DEVICE bool instruction(Opcode opcode, const i64* words, const i64* loop, i64 piece) {
#ifdef HAL_HAS_MULTICAST
    if constexpr (kMulticast) {
      if (opcode == Opcode::kSwitched) {
        switched(words, loop, piece);
        return true;
      }
    }
#else
    static_assert(!kMulticast, "these intrinsics have no multicast memory");
#endif
    switch (opcode) {
      case Opcode::kMove: move(words, loop, piece); return true;
      case Opcode::kSignal: return together() && signal(words);
      case Opcode::kWait: wait(words); return together();
      case Opcode::kBarrier:
        if (!together()) return false;
        if (lane() == 0) barrier(words[0], words[1]);
        return together();
      case Opcode::kAcquire:
        if (lane() == 0 && watch_.stop == Stop::kNone) acquire(words[0]);
        return together();
      case Opcode::kRelease:
        if (!together()) return false;
        if (lane() == 0) atomic_add_4(&local().released[words[0]], 1);
        return true;
      case Opcode::kPost:
        if (!together()) return false;
        if (lane() == 0) post(words, loop, piece);
        return true;
      case Opcode::kFlush:
        if (lane() == 0 && watch_.stop == Stop::kNone) flush(words[0], words[1]);
        return together();
      default: return together();
    }
  }

  // The range of `bytes` that a piece of a loop covers; false where there is none.
  HAL_DEVICE static bool window_of(u64 bytes, const i64* loop, i64 piece, Window& window) {
    window = {0, bytes, 0};
    if (loop != nullptr) {
      u64 unit = static_cast<u64>(loop[0]);
      window.begin = static_cast<u64>(piece) * unit;
      if (window.begin >= bytes) return false;
      window.bytes = bytes - window.begin < unit ? bytes - window.begin : unit;
      window.slot = static_cast<u64>(piece % loop[1]) * unit;
    }
    return window.bytes > 0;
  }

  HAL_DEVICE_CALL void move(const i64* words, const i64* loop, i64 piece) {
    MoveWords move{words};
    Window window;
    if (watch_.stop != Stop::kNone || !window_of(move.bytes(), loop, piece, window)) return;
    run_move<dtype, ops>(move, memory_, window, launch_.flag, watch_, stand_);
  }

#ifdef HAL_HAS_MULTICAST
  HAL_DEVICE_CALL void switched(const i64* words, const i64* loop, i64 piece) {
    const Group& group = *launch_.group;
    SwitchedMove move{words, group.multicast + static_cast<u64>(launch_.parity) * group.scratch_bytes,
                      static_cast<int>(launch_.size)};
    Window window;
    if (watch_.stop != Stop::kNone || !window_of(move.move().bytes(), loop, piece, window)) return;
    run_switched<dtype, ops>(move, memory_, window, launch_.flag, watch_, stand_);
  }
#endif

  // A lane for each channel. The counter is in the receiver's memory.
  HAL_DEVICE_CALL bool signal(const i64* words) {
    for (i64 i = lane(); i < words[1]; i += lanes()) {
      u32 peer = static_cast<u32>(words[2 + 3 * i]), slot = static_cast<u32>(words[3 + 3 * i]);
      u64* counter = launch_.control(peer).counter(launch_.rank, slot);
      u32 at = peer * code_.slots() + slot;
      if (code_.has(Code::kCountsInBlocks)) {
        raise_counter(counter, launch_.phase(++memory_.sent[at]));
        continue;
      }
      // several blocks may signal this channel: in the order of their numbers, each behind what those before it wrote
      u32 before = atomic_add_4(&local().claimed[at], 1);
      bool turn = spin(watch_, [&] { return load_device_4(&local().sent[at]) == before; });
      if (!turn) continue;  // found out at the next barrier
      raise_counter(counter, launch_.phase(before + 1));
      atomic_add_4(&local().sent[at], 1);
    }
    return true;
  }

  HAL_DEVICE_CALL void wait(const i64* words) {
    for (i64 i = lane(); i < words[1] && watch_.stop == Stop::kNone; i += lanes()) {
      u32 peer = static_cast<u32>(words[2 + 3 * i]), slot = static_cast<u32>(words[3 + 3 * i]);
      u32 at = peer * code_.slots() + slot;
      u64 expected = code_.has(Code::kCountsInBlocks) ? ++memory_.waited[at] : atomic_add_4(&local().waited[at], 1) + 1;
      const u64* counter = launch_.control(launch_.rank).counter(peer, slot);
      if (await_counter(counter, launch_.phase(expected), watch_)) continue;
      u64 value = load_relaxed_8(counter);
      u64 seen = value >> kPhaseBits == launch_.number ? value & ((1 << kPhaseBits) - 1) : 0;
      stand_ = {Waiting::kSignal, static_cast<i32>(words[4 + 3 * i]), static_cast<i32>(peer), expected, seen, -1};
    }
  }

  HAL_DEVICE_CALL void barrier(i64 id, i64 blocks) {
    u32* arrived = &local().barrier[id];
    u32 size = static_cast<u32>(blocks), full = (atomic_add_4(arrived, 1) / size + 1) * size;
    if (spin(watch_, [=] { return load_device_4(arrived) >= full; })) return;
    u64 seen = load_relaxed_4(arrived) - (full - size);
    stand_ = {Waiting::kBarrier, static_cast<i32>(id), -1, size, seen, -1};
  }

  // Tickets: who comes first goes first, and one addition is enough for each.
  HAL_DEVICE_CALL void acquire(i64 semaphore) {
    i64 initial = code_.initial(static_cast<u32>(semaphore));
    u32 ticket = atomic_add_4(&local().taken[semaphore], 1);
    const u32* released = &local().released[semaphore];
    if (spin(watch_, [=] { return initial + load_device_4(released) > ticket; })) return;
    stand_ = {Waiting::kSemaphore, static_cast<i32>(semaphore), -1, 1, 0, -1};
  }

  // Words: peer, slot, channel, signal, then a move of one source (none: 0 bytes) and one target.
  HAL_DEVICE_CALL void post(const i64* words, const i64* loop, i64 piece) {
    u32 peer = static_cast<u32>(words[0]), slot = static_cast<u32>(words[1]);
    MoveWords move{words + 4};
    Trigger trigger{};
    Window window;
    trigger.peer = peer;
    if (window_of(move.bytes(), loop, piece, window)) {
      trigger.kind = kTriggerPut;
      trigger.src = reinterpret_cast<u64>(address_of(memory_, move.source(0), window));
      trigger.dst = reinterpret_cast<u64>(address_of(memory_, move.target(0), window));
      trigger.bytes = window.bytes;
    }
    if (words[3] != 0) {
      // blocks that share a port channel would have to agree on an order; the host loads no such program
      trigger.kind |= kTriggerSignal;
      trigger.counter = reinterpret_cast<u64>(launch_.control(peer).counter(launch_.rank, slot));
      trigger.value = launch_.phase(++memory_.sent[peer * code_.slots() + slot]);
    }
    if (trigger.kind == 0) return;
    posted_ = true;
    port_peer_ = words[0];
    port_channel_ = words[2];
    if (launch_.group->queue->push(trigger, watch_)) return;
    stand_ = {Waiting::kPort, static_cast<i32>(words[2]), static_cast<i32>(peer), 1, 0, -1};
  }

  HAL_DEVICE_CALL void flush(i64 peer, i64 channel) {
    const Queue& queue = *launch_.group->queue;
    if (queue.flush(watch_)) return;
    u64 done = load_relaxed_8(queue.done), pushed = load_relaxed_8(queue.head);
    stand_ = {Waiting::kPort, static_cast<i32>(channel), static_cast<i32>(peer), pushed, done, -1};
  }

  // A launch ends when all that it posted is there.
  HAL_DEVICE bool finish_posts() {
    if (posted_) flush(port_peer_, port_channel_);
    return together();
  }

  HAL_DEVICE Local& local() const { return *launch_.group->local; }

  const Arguments& arguments_;
  BlockMemory& memory_;
  const Launch launch_;
  Code code_;
  Watch watch_;
  Stand stand_;
  bool posted_ = false;  // by lane 0; and the channel of the last post
  i64 port_peer_ = 0, port_channel_ = 0;
};

// The body of an executor kernel for one type and a set of operations, a bit for each code.
template <int dtype, u32 ops, bool kMulticast = false>
HAL_DEVICE void execute(const Arguments& arguments) {
  Executor<dtype, ops, kMulticast>(arguments).run();
}

}  // namespace hal::device
