#include "trace.h"

#include <algorithm>
#include <stdexcept>

#include "clock.h"
#include "launch.h"

namespace hal {

Recorder::Recorder(uint64_t capacity) : capacity_(capacity) {
  if (capacity == 0 || capacity > (uint64_t{1} << 32)) throw std::invalid_argument("a recorder of no size");
  records_ = std::make_unique_for_overwrite<Record[]>(capacity);
}

void Recorder::add(const Record& record) {
  std::lock_guard lock(mutex_);
  records_[added_++ % capacity_] = record;
}

std::vector<Record> Recorder::take(uint64_t& dropped) {
  std::lock_guard lock(mutex_);
  uint64_t kept = std::min(added_, capacity_);
  dropped = added_ - kept;
  std::vector<Record> result;
  result.reserve(kept);
  for (uint64_t i = added_ - kept; i < added_; i++) result.push_back(records_[i % capacity_]);
  added_ = 0;
  return result;
}

void Launch::trace_begin(const Block& block) {
  Track& track = work_.tracks[&block - work_.blocks.data()];
  if (track.instruction == 0) track.instruction = now();
}

// After an instruction, or when it was given up.
void Launch::trace_end(const Block& block, const Instruction& instruction, bool unfinished) {
  auto number = static_cast<int32_t>(&block - work_.blocks.data());
  Track& track = work_.tracks[number];
  int64_t start = track.instruction;
  track.instruction = 0;
  if (instruction.opcode == Opcode::kLoopEnd) return;
  if (instruction.opcode == Opcode::kLoop && !unfinished) {
    track.loop[block.depth - 1] = track.piece[block.depth - 1] = start;
    return;
  }
  uint64_t bytes = instruction.bytes;
  int32_t piece = -1;
  if (block.depth > 0) {
    const Loop& loop = block.loops[block.depth - 1];
    piece = loop.piece;
    bytes -= std::min(bytes, static_cast<uint64_t>(piece) * loop.at->unit);
    bytes = std::min(bytes, loop.at->unit);
  }
  lane_.recorder->add({start, now(), number_, bytes, source_, number, instruction.position, piece, Event::kInstruction,
                       unfinished, {}});
}

// At the end of a piece of the innermost loop.
void Launch::trace_piece(const Block& block, bool unfinished) {
  auto number = static_cast<int32_t>(&block - work_.blocks.data());
  Track& track = work_.tracks[number];
  const Loop& loop = block.loops[block.depth - 1];
  int32_t outer = block.depth > 1 ? block.loops[block.depth - 2].piece : -1;
  int64_t end = now();
  auto add = [&](Event event, int64_t start, int32_t piece) {
    lane_.recorder->add({start, end, number_, 0, source_, number, loop.at->position, piece, event, unfinished, {}});
  };
  add(Event::kPiece, track.piece[block.depth - 1], loop.piece);
  track.piece[block.depth - 1] = end;
  if (unfinished || loop.piece + 1 == loop.at->b) add(Event::kLoop, track.loop[block.depth - 1], outer);
}

// Where the blocks stood when the launch failed.
void Launch::trace_failure() {
  for (Block& block : work_.blocks) {
    if (block.done()) continue;
    if (work_.tracks[&block - work_.blocks.data()].instruction != 0) trace_end(block, (*block.code)[block.at], true);
    for (; block.depth > 0; block.depth--) trace_piece(block, true);
  }
}

}  // namespace hal
