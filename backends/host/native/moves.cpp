// What a launch moves in memory that is mapped here: plain, reduced, in packets, and claimed.
#include <algorithm>

#include "launch.h"
#include "packets.h"

namespace hal {
namespace {

constexpr uint64_t kStreamingBytes = 4 << 20;  // from here on, destinations that nobody reads soon bypass the caches
constexpr uint64_t kClaimBytes = 2048;         // claimed at a time, before it has left the first-level cache
constexpr uint64_t kTileBytes = 4096;          // data unpacked from packets at a time

}  // namespace

uint8_t* Launch::address(const Operand& operand, const Window& window) const {
  bool scratch = operand.base % 3 == 2;
  uint64_t inside = scratch ? window.slot * (operand.packet ? 2 : 1) : window.begin;
  return bases_[operand.base] + operand.offset + inside;
}

bool Launch::move(Block& block, const Instruction& instruction) {
  Window window{0, instruction.bytes, 0};
  if (block.depth > 0) {
    const Loop& loop = block.loops[block.depth - 1];
    window.begin = static_cast<uint64_t>(loop.piece) * loop.at->unit;
    if (window.begin >= instruction.bytes) return true;
    window.bytes = std::min(loop.at->unit, instruction.bytes - window.begin);
    window.slot = static_cast<uint64_t>(loop.piece) % loop.at->slots * loop.at->unit;
  }
  if (window.bytes == 0) return true;
  bool remote = !lane_.links.empty();
  if (instruction.packet_source && !packets_ready(block, instruction, window)) return false;
  if (remote && instruction.reads_others && !pulled(block, instruction, window)) return false;
  if (single_copy_ && (instruction.reads_others || instruction.writes_others)) {
    const Operand* first = program_->operands.data() + instruction.first;
    const Operand* last = first + instruction.count + instruction.targets;
    const auto* found = std::find_if(first, last, [&](const Operand& operand) { return is_foreign(operand); });
    if (found != last) {
      auto member = static_cast<int>(found->base / 3);
      return copy_foreign(instruction, window) || stand(block, Waiting::kPort, -1, member, 1, 0);
    }
  }
  if (instruction.packet_source || instruction.packet_target) {
    move_packets(instruction, window);
  } else {
    move_plain(instruction, window);
  }
  if (remote && instruction.writes_others) push(instruction, window);
  return true;
}

bool Launch::is_others_scratch(const Operand& operand) const {
  return operand.base % 3 == 2 && static_cast<int>(operand.base / 3) != lane_.rank;
}

void Launch::add_claimed(const Instruction& instruction, const Operand* operands) {
  for (uint32_t i = 0; i < instruction.count; i++) {
    if (!is_others_scratch(operands[i])) continue;
    auto* at = const_cast<void*>(work_.sources[i]);
    if (std::find(work_.targets.begin(), work_.targets.end(), at) == work_.targets.end()) work_.targets.push_back(at);
  }
}

void Launch::move_plain(const Instruction& instruction, const Window& window) {
  const Operand* operands = program_->operands.data() + instruction.first;
  const auto large = [&] { return instruction.bytes >= kStreamingBytes; };
  if (instruction.reduce == nullptr) {
    const uint8_t* source = address(operands[0], window);
    uint64_t step = instruction.claims && !large() ? kClaimBytes : window.bytes;
    for (uint64_t at = 0; at < window.bytes; at += step) {
      uint64_t bytes = std::min(step, window.bytes - at);
      for (uint32_t i = 0; i < instruction.targets; i++) {
        const Operand& target = operands[1 + i];
        uint8_t* to = address(target, window);
        if (to != source) kernels::copy(to + at, source + at, bytes, large() && target.base % 3 != 2);
      }
      if (instruction.claims) kernels::claim(source + at, bytes);
    }
    return;
  }
  work_.sources.resize(instruction.count);
  work_.targets.resize(instruction.targets);
  for (uint32_t i = 0; i < instruction.count; i++) work_.sources[i] = address(operands[i], window);
  bool streaming = large();
  for (uint32_t i = 0; i < instruction.targets; i++) {
    const Operand& target = operands[instruction.count + i];
    work_.targets[i] = address(target, window);
    // a line that was just read, or that a peer reads next, is better kept in the caches
    streaming = streaming && target.base % 3 != 2 &&
                std::find(work_.sources.begin(), work_.sources.end(), work_.targets[i]) == work_.sources.end();
  }
  // nobody reads again what is claimed: a result that is to stay in the caches may as well go there
  if (instruction.claims && !streaming) add_claimed(instruction, operands);
  instruction.reduce(instruction.divisor, work_.sources.data(), static_cast<int>(instruction.count),
                     work_.targets.data(), static_cast<int>(work_.targets.size()),
                     window.bytes / static_cast<uint64_t>(program_->itemsize), streaming);
  if (!instruction.claims || !streaming) return;
  for (uint32_t i = 0; i < instruction.count; i++) {
    if (is_others_scratch(operands[i])) kernels::claim(work_.sources[i], window.bytes);
  }
}

// Whether all packets of the sources are there. What was seen is remembered in `part` and `ready`.
bool Launch::packets_ready(Block& block, const Instruction& instruction, const Window& window) {
  uint64_t count = packets_for(window.bytes);
  for (; block.part < instruction.count; block.part++, block.ready = 0) {
    const Operand& source = program_->operands[instruction.first + block.part];
    if (!source.packet) continue;
    block.ready = packets_seen(address(source, window), block.ready, count, flag_);
    if (block.ready < count) {
      return stand(block, Waiting::kPacket, -1, static_cast<int>(source.base / 3), count, block.ready);
    }
  }
  block.part = 0;
  return true;
}

// A tile at a time: unpack the sources in packet form, reduce, and pack for the destinations in packet form.
void Launch::move_packets(const Instruction& instruction, const Window& window) {
  const Operand* operands = program_->operands.data() + instruction.first;
  uint32_t sources = instruction.count, targets = instruction.targets;
  work_.tiles.resize(kTileBytes * (sources + 1));
  work_.sources.resize(sources);
  work_.targets.clear();
  uint8_t* result = work_.tiles.data() + kTileBytes * sources;
  for (uint64_t at = 0; at < window.bytes; at += kTileBytes) {
    uint64_t bytes = std::min(kTileBytes, window.bytes - at);
    for (uint32_t i = 0; i < sources; i++) {
      uint8_t* memory = address(operands[i], window);
      uint8_t* tile = work_.tiles.data() + kTileBytes * i;
      if (operands[i].packet) unpack(tile, memory + at * 2, bytes);
      work_.sources[i] = operands[i].packet ? tile : memory + at;
    }
    const void* data = work_.sources[0];
    if (instruction.reduce != nullptr) {
      void* destination = result;
      instruction.reduce(instruction.divisor, work_.sources.data(), static_cast<int>(sources), &destination, 1,
                         bytes / static_cast<uint64_t>(program_->itemsize), false);
      data = result;
    }
    for (uint32_t i = 0; i < targets; i++) {
      const Operand& target = operands[sources + i];
      uint8_t* memory = address(target, window);
      if (target.packet) {
        pack(memory + at * 2, static_cast<const uint8_t*>(data), bytes, flag_);
      } else if (memory + at != data) {
        kernels::copy(memory + at, data, bytes, false);
      }
    }
  }
  announce();
}

}  // namespace hal
