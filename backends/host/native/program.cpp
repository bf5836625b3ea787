#include "program.h"

#include <stdexcept>

#include "shared.h"

namespace hal {
namespace {

constexpr int kMaxLoopDepth = 8;

// Reads the words of one block, checking that each index and count is in range: words come from outside.
class Decoder {
 public:
  Decoder(Program& program, const std::vector<int64_t>& words, int dtype, int members, uint64_t scratch)
      : program_(program), words_(words), dtype_(dtype), members_(members), scratch_(scratch) {}

  std::vector<Instruction> block() {
    sequence(words_.size(), 0, nullptr);
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

  void sequence(size_t end, int depth, const Instruction* loop) {
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
        case Opcode::kWait: channels(instruction); break;
        case Opcode::kBarrier:
          instruction.a = static_cast<int32_t>(take(0, 1023));
          instruction.b = static_cast<int32_t>(take(1, INT32_MAX));
          program_.barriers = std::max(program_.barriers, instruction.a + 1);
          break;
        case Opcode::kAcquire:
        case Opcode::kRelease:
          instruction.a = static_cast<int32_t>(take(0, static_cast<int64_t>(program_.semaphores.size()) - 1));
          break;
        case Opcode::kLoop: loop_body(instruction, depth); continue;
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
    uint64_t reach = instruction.bytes;
    if (loop != nullptr) reach = std::min<uint64_t>(reach, loop->unit * loop->slots);
    for (uint32_t i = 0; i < instruction.count + instruction.targets; i++) {
      int64_t member = take(0, members_ - 1), buffer = take(0, 2), offset = take(0, INT64_MAX);
      bool packet = take(0, 1) != 0;
      if (packet && buffer != 2) throw std::invalid_argument("packets lie in scratch alone");
      if (buffer == 2 && static_cast<uint64_t>(offset) + reach * (packet ? 2 : 1) > scratch_ + (packet ? 8 : 0)) {
        throw std::invalid_argument("a scratch operand ends at byte " + std::to_string(offset + reach) + " of " +
                                    std::to_string(scratch_));
      }
      program_.operands.push_back({static_cast<uint32_t>(member * 3 + buffer), packet, static_cast<uint64_t>(offset)});
      (i < instruction.count ? instruction.packet_source : instruction.packet_target) |= packet;
      instruction.scratch |= buffer == 2;
    }
    if (instruction.count > 1 || instruction.divisor > 1) {
      instruction.reduce = kernels::lookup(static_cast<kernels::DType>(dtype_), op);
    }
    program_.moved += instruction.bytes;
  }

  void channels(Instruction& instruction) {
    instruction.common = take(0, 1) != 0;
    instruction.count = static_cast<uint32_t>(take(1, 1 << 16));
    instruction.first = static_cast<uint32_t>(program_.ends.size());
    for (uint32_t i = 0; i < instruction.count; i++) {
      auto peer = static_cast<int32_t>(take(0, members_ - 1));
      auto slot = static_cast<int32_t>(take(0, program_.slots - 1));
      program_.ends.push_back({peer, slot, static_cast<int32_t>(take(0, INT32_MAX))});
    }
  }

  void loop_body(Instruction& instruction, int depth) {
    instruction.unit = static_cast<uint64_t>(take(1, INT64_MAX));
    instruction.slots = static_cast<uint64_t>(take(1, 1 << 16));
    instruction.b = static_cast<int32_t>(take(0, INT32_MAX));
    auto words = static_cast<size_t>(take(0, static_cast<int64_t>(words_.size())));
    if (words > words_.size() - at_) throw std::invalid_argument("a loop exceeds its block");
    size_t start = result_.size();
    result_.push_back(instruction);
    sequence(at_ + words, depth + 1, &instruction);
    Instruction end{Opcode::kLoopEnd};
    end.a = static_cast<int32_t>(start);
    result_.push_back(end);
    result_[start].a = static_cast<int32_t>(result_.size());
  }

  Program& program_;
  const std::vector<int64_t>& words_;
  int dtype_, members_;
  uint64_t scratch_;
  size_t at_ = 0;
  std::vector<Instruction> result_;
};

}  // namespace

Program::Program(const std::vector<std::vector<int64_t>>& words, const std::vector<int32_t>& semaphores, int dtype,
                 int slots, bool maps_input, bool maps_output, int members, uint64_t scratch_bytes)
    : semaphores(semaphores),
      itemsize(dtype >= 0 && dtype < kernels::kDTypes ? int(kernels::size_of(kernels::DType(dtype))) : 1),
      slots(slots),
      maps_input(maps_input),
      maps_output(maps_output) {
  if (slots > kChannelSlots) {
    throw std::invalid_argument("the plan uses " + std::to_string(slots) + " channels a pair of ranks, at most " +
                                std::to_string(kChannelSlots) + " are allowed");
  }
  if (dtype < 0 || dtype >= kernels::kDTypes) throw std::invalid_argument("unknown dtype " + std::to_string(dtype));
  for (const auto& block : words) blocks.push_back(Decoder(*this, block, dtype, members, scratch_bytes).block());
}

}  // namespace hal
