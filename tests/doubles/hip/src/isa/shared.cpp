// The memory of a block (LDS): its wavefronts take turns, so that no access is split.
#include <algorithm>

#include "access.h"
#include "lanes.h"

namespace standin::isa {

using u32 = uint32_t;
using u64 = uint64_t;

static char* place(Wave& wave, const Instruction& instruction, size_t address, int lane, u64 offset, size_t bytes) {
  u64 at = wave.v[instruction.operands.at(address).index][lane] + offset;
  return within(wave.group.memory, at, bytes, "the block");
}

template <class F>
static void each_lane(Wave& wave, F function) {
  for (int i = 0; i < kLanes; i++) {
    if (wave.exec() >> i & 1) function(i);
  }
}

template <int kWords>
static void load(Wave& wave, const Instruction& instruction) {
  size_t to = instruction.operands.at(0).index;
  each_lane(wave, [&](int i) {
    u32 words[kWords];
    read_words(place(wave, instruction, 1, i, static_cast<u64>(instruction.offset), 4 * kWords), words, kWords);
    for (size_t k = 0; k < kWords; k++) wave.v[to + k][i] = words[k];
  });
}
template <int kWords>
static void save(Wave& wave, const Instruction& instruction) {
  size_t from = instruction.operands.at(1).index;
  each_lane(wave, [&](int i) {
    u32 words[kWords];
    for (size_t k = 0; k < kWords; k++) words[k] = wave.v[from + k][i];
    write_words(place(wave, instruction, 0, i, static_cast<u64>(instruction.offset), 4 * kWords), words, kWords);
  });
}
template <class T>
static void load_part(Wave& wave, const Instruction& instruction) {
  each_lane(wave, [&](int i) {
    T value;
    std::memcpy(&value, place(wave, instruction, 1, i, static_cast<u64>(instruction.offset), sizeof(T)), sizeof value);
    wave.v[instruction.operands[0].index][i] = static_cast<u32>(value);
  });
}
template <class T>
static void save_part(Wave& wave, const Instruction& instruction) {
  each_lane(wave, [&](int i) {
    auto value = static_cast<T>(wave.v[instruction.operands.at(1).index][i]);
    std::memcpy(place(wave, instruction, 0, i, static_cast<u64>(instruction.offset), sizeof(T)), &value, sizeof value);
  });
}
// Two places, whose offsets count elements (or 64 of them).
template <int kWords, int kStride>
static void load_two(Wave& wave, const Instruction& instruction) {
  size_t to = instruction.operands.at(0).index;
  each_lane(wave, [&](int i) {
    u32 words[2 * kWords];
    for (size_t n = 0; n < 2; n++) {
      u64 offset = u64{instruction.offsets[n]} * kStride * 4 * kWords;
      read_words(place(wave, instruction, 1, i, offset, 4 * kWords), words + n * kWords, kWords);
    }
    for (size_t k = 0; k < 2 * kWords; k++) wave.v[to + k][i] = words[k];
  });
}
template <int kWords, int kStride>
static void save_two(Wave& wave, const Instruction& instruction) {
  each_lane(wave, [&](int i) {
    for (size_t n = 0; n < 2; n++) {
      u32 words[kWords];
      for (size_t k = 0; k < kWords; k++) words[k] = wave.v[instruction.operands.at(1 + n).index + k][i];
      u64 offset = u64{instruction.offsets[n]} * kStride * 4 * kWords;
      write_words(place(wave, instruction, 0, i, offset, 4 * kWords), words, kWords);
    }
  });
}

// An operation on a word; the form with "_rtn" gives the value before.
template <class F>
static Handler atomic(F function, bool returns) {
  return [function, returns](Wave& wave, const Instruction& instruction) {
    size_t address = returns ? 1 : 0;
    each_lane(wave, [&](int i) {
      u32 old, by = wave.v[instruction.operands.at(address + 1).index][i];
      char* at = place(wave, instruction, address, i, static_cast<u64>(instruction.offset), 4);
      std::memcpy(&old, at, 4);
      u32 made = function(old, by);
      std::memcpy(at, &made, 4);
      if (returns) wave.v[instruction.operands[0].index][i] = old;
    });
  };
}

void add_shared(Opcodes& all) {
  auto put = [&](const char* name, auto handler, unsigned honours) { all[name] = {handler, honours}; };
  put("ds_read_b32", load<1>, kOffset);
  put("ds_read_b64", load<2>, kOffset);
  put("ds_read_b96", load<3>, kOffset);
  put("ds_read_b128", load<4>, kOffset);
  put("ds_write_b32", save<1>, kOffset);
  put("ds_write_b64", save<2>, kOffset);
  put("ds_write_b96", save<3>, kOffset);
  put("ds_write_b128", save<4>, kOffset);
  put("ds_read_u8", load_part<uint8_t>, kOffset);
  put("ds_read_i8", load_part<int8_t>, kOffset);
  put("ds_read_u16", load_part<uint16_t>, kOffset);
  put("ds_read_i16", load_part<int16_t>, kOffset);
  put("ds_write_b8", save_part<uint8_t>, kOffset);
  put("ds_write_b16", save_part<uint16_t>, kOffset);
  put("ds_read2_b32", load_two<1, 1>, kTwoOffsets);
  put("ds_read2_b64", load_two<2, 1>, kTwoOffsets);
  put("ds_read2st64_b32", load_two<1, 64>, kTwoOffsets);
  put("ds_read2st64_b64", load_two<2, 64>, kTwoOffsets);
  put("ds_write2_b32", save_two<1, 1>, kTwoOffsets);
  put("ds_write2_b64", save_two<2, 1>, kTwoOffsets);
  put("ds_write2st64_b32", save_two<1, 64>, kTwoOffsets);
  put("ds_write2st64_b64", save_two<2, 64>, kTwoOffsets);
  auto put_atomic = [&](const std::string& name, const std::string& type, auto function) {
    all["ds_" + name + type] = {atomic(function, false), kOffset};
    all["ds_" + name + "_rtn" + type] = {atomic(function, true), kOffset};
  };
  put_atomic("add", "_u32", [](u32 old, u32 by) { return old + by; });
  put_atomic("sub", "_u32", [](u32 old, u32 by) { return old - by; });
  put_atomic("min", "_u32", [](u32 old, u32 by) { return std::min(old, by); });
  put_atomic("max", "_u32", [](u32 old, u32 by) { return std::max(old, by); });
  put_atomic("and", "_b32", [](u32 old, u32 by) { return old & by; });
  put_atomic("or", "_b32", [](u32 old, u32 by) { return old | by; });
  put_atomic("xor", "_b32", [](u32 old, u32 by) { return old ^ by; });
  put_atomic("wrxchg", "_b32", [](u32, u32 by) { return by; });
  // A lane reads the register of the lane whose number times 4 it names; of those that do not execute it gets 0.
  put("ds_bpermute_b32",
      [](Wave& wave, const Instruction& instruction) {
        u32 sources[kLanes], results[kLanes];
        auto& operands = instruction.operands;
        std::memcpy(sources, wave.v[operands.at(2).index], sizeof sources);
        for (int i = 0; i < kLanes; i++) {
          u32 from = (wave.v[operands.at(1).index][i] + static_cast<u32>(instruction.offset)) / 4 % kLanes;
          results[i] = wave.exec() >> from & 1 ? sources[from] : 0;
        }
        store(wave, instruction, results);
      },
      kOffset);
}

}  // namespace standin::isa
