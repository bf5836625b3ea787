#include "program.h"

#include <algorithm>
#include <stdexcept>

#include "packets.h"
#include "shared.h"

namespace hal {
namespace {

constexpr uint64_t kShort = 4 << 10, kCacheLines = 128;
constexpr uint64_t kAheadPlaces = kAhead / 2;  // in each half, for members that go on
constexpr uint64_t kRoom = 1 << 20;  // in both halves together more than a second-level cache holds

constexpr int kMaxLoopDepth = 8;
constexpr uint64_t kMostSignals = (uint64_t{1} << kPhaseBits) - 1;  // on a channel in one launch

// Reads the words of one block, checking that each index and count is in range: words come from outside.
class Decoder {
 public:
  Decoder(Program& program, const std::vector<int64_t>& words, int dtype)
      : program_(program), words_(words), dtype_(dtype) {}

  // `signals`, for each member and slot, counts what the program signals and waits for.
  std::vector<Instruction> block(std::vector<uint64_t>& signals) {
    signals_ = &signals;
    sequence(words_.size(), 0, nullptr, 1);
    return std::move(result_);
  }

 private:
  int64_t take(int64_t low, int64_t high) {
    if (at_ >= words_.size()) throw std::invalid_argument("program ends inside an instruction");
    int64_t word = words_[at_++];
    if (word < low || word > high) {
      throw std::invalid_argument("word " + std::to_string(at_ - 1) + " of a block is " + std::to_string(word) +
                                  ", allowed are " + std::to_string(low) + " to " + std::to_string(high));
    }
    return word;
  }

  // `times` is how often the surrounding loops run the sequence, at most kMostSignals + 1.
  void sequence(size_t end, int depth, const Instruction* loop, uint64_t times) {
    if (depth > kMaxLoopDepth) throw std::invalid_argument("loops are nested too deeply");
    while (at_ < end) {
      auto opcode = static_cast<Opcode>(take(1, 8));
      size_t words = static_cast<size_t>(take(1, static_cast<int64_t>(words_.size())));
      size_t stop = at_ + words;
      Instruction instruction{opcode};
      instruction.position = static_cast<int32_t>(take(0, INT32_MAX));
      switch (opcode) {
        case Opcode::kMove: move(instruction, loop); break;
        case Opcode::kSignal:
        case Opcode::kWait: channels(instruction, times); break;
        case Opcode::kBarrier:
          instruction.a = static_cast<int32_t>(take(0, 1023));
          instruction.b = static_cast<int32_t>(take(1, INT32_MAX));
          program_.barriers = std::max(program_.barriers, instruction.a + 1);
          break;
        case Opcode::kAcquire:
        case Opcode::kRelease:
          instruction.a = static_cast<int32_t>(take(0, static_cast<int64_t>(program_.semaphores.size()) - 1));
          break;
        case Opcode::kLoop: loop_body(instruction, depth, times); continue;
        default: break;
      }
      if (at_ != stop) throw std::invalid_argument("an instruction has the wrong number of words");
      result_.push_back(instruction);
    }
    if (at_ != end) throw std::invalid_argument("an instruction exceeds its loop");
  }

  void move(Instruction& instruction, const Instruction* loop) {
    auto op = static_cast<kernels::Op>(take(0, 7));
    instruction.divisor = static_cast<uint64_t>(take(1, INT32_MAX));
    instruction.bytes = static_cast<uint64_t>(take(0, INT64_MAX));
    instruction.count = static_cast<uint32_t>(take(1, 1 << 16));
    instruction.targets = static_cast<uint32_t>(take(1, 1 << 16));
    instruction.first = static_cast<uint32_t>(program_.operands.size());
    // in a loop a scratch operand covers its slots, else its whole length
    uint64_t reach = instruction.bytes, unit = reach;
    if (loop != nullptr) {
      unit = std::min(unit, loop->unit);
      if (unit != 0 && loop->slots <= (reach - 1) / unit) reach = unit * loop->slots;
    }
    for (uint32_t i = 0; i < instruction.count + instruction.targets; i++) {
      int64_t member = take(0, program_.members - 1), buffer = take(0, 2);
      auto offset = static_cast<uint64_t>(take(0, INT64_MAX));
      bool packet = take(0, 1) != 0;
      // the last piece alone may end inside a packet
      if (packet && (buffer != 2 || offset % sizeof(Packet) != 0 || (unit < reach && unit % 4 != 0))) {
        throw std::invalid_argument("packets lie in scratch alone, at multiples of their size");
      }
      if (buffer == 2) {
        check_scratch(offset, reach, packet);
      } else if (member == program_.rank) {
        uint64_t& own = buffer == 0 ? program_.input_bytes : program_.output_bytes;
        if (instruction.bytes > 0) own = std::max(own, offset + instruction.bytes);
      }
      // What lies in the other half of what others write could pass for a flag: packets have memory of their own.
      uint64_t place = packet ? 2 * program_.scratch_bytes + offset : offset;
      program_.operands.push_back({static_cast<uint32_t>(member * 3 + buffer), packet, place});
      (i < instruction.count ? instruction.packet_source : instruction.packet_target) |= packet;
      instruction.scratch |= buffer == 2;
      (i < instruction.count ? instruction.reads_others : instruction.writes_others) |= member != program_.rank;
    }
    if (instruction.count > 1 || instruction.divisor > 1) {
      instruction.reduce = kernels::lookup(static_cast<kernels::DType>(dtype_), op);
      if (instruction.reduce == nullptr) throw std::invalid_argument("no kernel for the operation and this dtype");
      auto itemsize = static_cast<uint64_t>(program_.itemsize);
      if (instruction.bytes % itemsize != 0 || (unit < instruction.bytes && unit % itemsize != 0)) {
        throw std::invalid_argument("a reduction of a part of an element");
      }
    }
    program_.moved += instruction.bytes;
  }

  void check_scratch(uint64_t offset, uint64_t bytes, bool packet) {
    uint64_t room = packet ? program_.scratch_bytes : program_.place_bytes;
    if (program_.in_header) room = packet ? 0 : sizeof(Header::scratch);
    bool fits = offset <= room && bytes <= room - offset;  // both first: what follows cannot overflow then
    if (fits && packet) fits = packets_for(bytes) * sizeof(Packet) <= room - offset;
    if (fits) return;
    throw std::invalid_argument("a scratch operand of " + std::to_string(bytes) + (packet ? " bytes in packets" : " bytes") +
                                " at " + std::to_string(offset) + " ends outside the " + std::to_string(room) +
                                " bytes of a launch");
  }

  void channels(Instruction& instruction, uint64_t times) {
    instruction.common = take(0, 1) != 0;
    instruction.count = static_cast<uint32_t>(take(1, 1 << 16));
    instruction.first = static_cast<uint32_t>(program_.ends.size());
    for (uint32_t i = 0; i < instruction.count; i++) {
      auto peer = static_cast<int32_t>(take(0, program_.members - 1));
      auto slot = static_cast<int32_t>(take(0, program_.slots - 1));
      program_.ends.push_back({peer, slot, static_cast<int32_t>(take(0, INT32_MAX))});
      // signals and waits of a channel are counted together for each opcode: both must fit in a counter
      size_t kind = instruction.opcode == Opcode::kSignal ? 0 : 1;
      size_t at = (static_cast<size_t>(peer) * kChannelSlots + static_cast<size_t>(slot)) * 2 + kind;
      uint64_t& count = (*signals_)[instruction.common && kind == 0 ? signals_->size() - 1 : at];
      count += instruction.common && kind == 0 && i > 0 ? 0 : times;
      if (count > kMostSignals) {
        throw std::invalid_argument("more than " + std::to_string(kMostSignals) +
                                    " signals on one channel: the call has too many pieces");
      }
    }
  }

  void loop_body(Instruction& instruction, int depth, uint64_t times) {
    instruction.unit = static_cast<uint64_t>(take(1, INT64_MAX));
    instruction.slots = static_cast<uint64_t>(take(1, 1 << 16));
    instruction.b = static_cast<int32_t>(take(0, INT32_MAX));
    uint64_t covered;
    if (__builtin_mul_overflow(instruction.unit, static_cast<uint64_t>(instruction.b), &covered)) {
      throw std::invalid_argument("a loop over more bytes than there are addresses");
    }
    times = std::min(times * static_cast<uint64_t>(instruction.b), kMostSignals + 1);
    auto words = static_cast<size_t>(take(0, static_cast<int64_t>(words_.size())));
    if (words > words_.size() - at_) throw std::invalid_argument("a loop exceeds its block");
    size_t start = result_.size();
    result_.push_back(instruction);
    sequence(at_ + words, depth + 1, &instruction, times);
    Instruction end{Opcode::kLoopEnd};
    end.a = static_cast<int32_t>(start);
    result_.push_back(end);
    result_[start].a = static_cast<int32_t>(result_.size());
  }

  Program& program_;
  const std::vector<int64_t>& words_;
  int dtype_;
  std::vector<uint64_t>* signals_ = nullptr;
  size_t at_ = 0;
  std::vector<Instruction> result_;
};

// The part of a half of scratch in which launches that take `reach` bytes of it go round. What others read a while ago has
// left their caches, and costs less to write than lines that have to be taken from there; what was written long ago has
// to come from memory again.
uint64_t room_for(uint64_t reach, uint64_t scratch_bytes) {
  return reach <= kRoom ? std::min(kRoom, scratch_bytes) : scratch_bytes;
}

// Into how many places it is cut, at most. Short messages are better off where they always were, and so are all where
// memory does not go round, but for members that go on. Two that answer each other gain nothing from that.
uint64_t places_for(uint64_t reach, uint64_t room, uint64_t most) {
  uint64_t places = 1;
  while (places < most && room / (2 * places) >= reach && room % (2 * places * kCacheLines) == 0) places *= 2;
  return places;
}

}  // namespace

Program::Program(const std::vector<std::vector<int64_t>>& words, const std::vector<int32_t>& semaphores, int dtype,
                 int slots, bool maps_input, bool maps_output, bool in_place, uint64_t scratch_reach, int rank,
                 int members, uint64_t scratch_bytes, bool roams, const std::vector<std::vector<int32_t>>& claims,
                 bool goes_on)
    : semaphores(semaphores),
      itemsize(dtype >= 0 && dtype < kernels::kDTypes ? int(kernels::size_of(kernels::DType(dtype))) : 1),
      slots(slots),
      maps_input(maps_input),
      maps_output(maps_output),
      in_place(in_place),
      in_header(scratch_reach <= sizeof(Header::scratch) && !maps_input && !maps_output),
      goes_on(goes_on),
      places(places_for(scratch_reach, room_for(scratch_reach, scratch_bytes),
                        roams && scratch_reach > kShort ? kRoom
                        : goes_on && (members > 2 || scratch_reach <= kShort) ? kAheadPlaces
                                                                              : 1)),
      place_bytes(room_for(scratch_reach, scratch_bytes) / places),
      rank(rank),
      members(members),
      scratch_bytes(scratch_bytes) {
  if (slots > kChannelSlots) {
    throw std::invalid_argument("the plan uses " + std::to_string(slots) + " channels a pair of ranks, at most " +
                                std::to_string(kChannelSlots) + " are allowed");
  }
  if (dtype < 0 || dtype >= kernels::kDTypes) throw std::invalid_argument("unknown dtype " + std::to_string(dtype));
  for (int32_t value : semaphores) {
    if (value < 0) throw std::invalid_argument("a semaphore begins at " + std::to_string(value));
  }
  std::vector<uint64_t> signals(static_cast<size_t>(members) * kChannelSlots * 2 + 1, 0);  // the last: the common counter
  for (const auto& block : words) blocks.push_back(Decoder(*this, block, dtype).block(signals));
  // packets have one place in each half, and what lies in a header has as many as there are
  bool packets = std::any_of(operands.begin(), operands.end(), [](const Operand& operand) { return operand.packet; });
  ahead = in_header ? kAhead : packets ? 1 : std::min<uint64_t>(kAhead, 2 * places - 1);
  // what lies in a header goes back and forth with the header
  for (size_t b = 0; b < std::min(in_header ? 0 : blocks.size(), claims.size()); b++) {
    for (Instruction& instruction : blocks[b]) {
      auto found = std::find(claims[b].begin(), claims[b].end(), instruction.position);
      instruction.claims = instruction.opcode == Opcode::kMove && found != claims[b].end();
    }
  }
}

}  // namespace hal
