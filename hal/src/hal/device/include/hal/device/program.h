// A lowered program (hal.plan.lower) as hal.device.pack lays it out for the executor: a head, then the words of each
// block as they were lowered. The host has checked every index and range in it.
#pragma once
#include <hal/device/group.h>

namespace hal::device {

enum class Opcode : i32 {
  kMove = 1, kSignal, kWait, kBarrier, kAcquire, kRelease, kSync, kLoop,
  kPost, kFlush,  // where a proxy serves port channels
  kSwitched,      // a move that uses multicast memory
};

struct Code {
  static constexpr int kHead = 8;
  static constexpr i64 kMapsInput = 1, kMapsOutput = 2;
  // every channel end signals from one block and waits in one block, and the block's counts fit in its memory
  static constexpr i64 kCountsInBlocks = 4;

  const i64* words;

  HAL_DEVICE u32 blocks() const { return static_cast<u32>(words[1]); }
  HAL_DEVICE u32 slots() const { return static_cast<u32>(words[2]); }  // counters in use for each pair of ranks
  HAL_DEVICE u32 barriers() const { return static_cast<u32>(words[3]); }
  HAL_DEVICE u32 semaphores() const { return static_cast<u32>(words[4]); }
  HAL_DEVICE bool has(i64 flag) const { return (words[5] & flag) != 0; }
  HAL_DEVICE i64 initial(u32 semaphore) const { return words[kHead + semaphore]; }
  // The words of a block: [begin(b), begin(b + 1)).
  HAL_DEVICE const i64* begin(u32 block) const { return words + words[kHead + semaphores() + block]; }
};

// What the lanes of a block share.
struct BlockMemory {
  static constexpr u32 kWords = 1024, kCounts = 512;
  i64 word[kWords];             // the block's program, where it fits; after a failure where each lane stood
  u64 base[3 * kMaxMembers];    // the addresses of each member's input, output and scratch
  u32 sent[kCounts], waited[kCounts];
  u32 reporter;
};
static_assert(sizeof(BlockMemory) <= HAL_BLOCK_MEMORY);

// The operand of a move: four words.
struct Operand {
  const i64* words;

  HAL_DEVICE u64 member() const { return static_cast<u64>(words[0]); }
  HAL_DEVICE bool scratch() const { return words[1] == 2; }
  HAL_DEVICE bool packet() const { return words[3] != 0; }
};

// The piece of a loop that a move works on: a range of its bytes, and where a ring of pieces in scratch has it.
struct Window {
  u64 begin, bytes, slot;
};

// A move as its words say it.
struct MoveWords {
  const i64* words;

  HAL_DEVICE int op() const { return static_cast<int>(words[0]); }
  HAL_DEVICE i64 divisor() const { return words[1]; }
  HAL_DEVICE u64 bytes() const { return static_cast<u64>(words[2]); }
  HAL_DEVICE int sources() const { return static_cast<int>(words[3]); }
  HAL_DEVICE int targets() const { return static_cast<int>(words[4]); }
  HAL_DEVICE Operand source(int i) const { return {words + 5 + 4 * i}; }
  HAL_DEVICE Operand target(int i) const { return source(sources() + i); }
};

HAL_DEVICE u8* address_of(const BlockMemory& memory, Operand operand, const Window& window) {
  u64 inside = !operand.scratch() ? window.begin : operand.packet() ? window.slot * 2 : window.slot;
  u64 base = memory.base[operand.member() * 3 + static_cast<u64>(operand.words[1])];
  return reinterpret_cast<u8*>(base + static_cast<u64>(operand.words[2]) + inside);
}

}  // namespace hal::device
