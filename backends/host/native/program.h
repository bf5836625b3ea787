// A lowered plan of one rank, decoded from its words (hal.plan.lower) into what the executor steps through.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace hal {

enum class Opcode : uint8_t { kMove = 1, kSignal, kWait, kBarrier, kAcquire, kRelease, kSync, kLoop, kLoopEnd };

struct Operand {
  uint32_t base;  // member * 3 + buffer
  bool packet;
  uint64_t offset;  // of packets from the beginning of scratch as well
};

struct ChannelEnd {
  int32_t peer, slot, channel;
};

struct Instruction {
  Opcode opcode;
  bool common = false;         // signal, wait: the counter that all others watch
  bool packet_source = false;  // move: some source is in packet form
  bool packet_target = false;
  bool scratch = false;        // move: whether a scratch operand needs a loop's slot
  bool reads_others = false;   // move: some source is another member's
  bool writes_others = false;  // move: some destination is
  bool claims = false;         // move: nobody else reads what it reads of other members' memory
  int32_t position = 0;        // number of the plan's instruction in its block
  int32_t a = 0, b = 0;        // barrier: id, blocks; acquire, release: semaphore; loop: index past its end, pieces
  uint32_t first = 0, count = 0;     // channels, or sources, in the program's tables
  uint32_t targets = 0;              // move: destinations, which follow the sources
  uint64_t bytes = 0;                // move
  uint64_t divisor = 1;
  uint64_t unit = 0, slots = 1;      // loop
  kernels::ReduceFn reduce = nullptr;  // move with several sources or a division; else a plain copy
};

struct Program {
  std::vector<std::vector<Instruction>> blocks;
  std::vector<Operand> operands;
  std::vector<ChannelEnd> ends;
  std::vector<int32_t> semaphores;
  int itemsize = 1;
  int slots = 0;      // channel slots in use
  int barriers = 0;   // barrier ids in use
  bool maps_input = false, maps_output = false;  // some rank reaches another's input, output
  bool in_place = true;  // output and input may share memory
  bool in_header = false;  // scratch lies in the headers
  bool goes_on = false;    // some member does not wait for some other: it may be done before that has begun
  uint64_t places = 1, place_bytes = 0;  // the places in a half of scratch, a power of two, which launches take in turn
  uint64_t ahead;  // by how many launches a member may be ahead of another and write over nothing that that one reads
  uint64_t moved = 0;  // bytes of all moves together
  int rank, members;   // the lane that it is decoded for
  uint64_t scratch_bytes;
  uint64_t input_bytes = 0, output_bytes = 0;  // how far it reaches into this rank's own buffers

  // Decode; throws std::invalid_argument where the words are not a program for this member of `members`.
  Program(const std::vector<std::vector<int64_t>>& blocks, const std::vector<int32_t>& semaphores, int dtype,
          int slots, bool maps_input, bool maps_output, bool in_place, uint64_t scratch_reach, int rank, int members,
          uint64_t scratch_bytes, bool roams, const std::vector<std::vector<int32_t>>& claims, bool goes_on);
};

}  // namespace hal
