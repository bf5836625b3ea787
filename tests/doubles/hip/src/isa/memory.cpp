// Memory of the device, which is the host's; the block's own and a lane's own by their apertures; private memory.
// Accesses of 1, 2, 4 and 8 bytes that are aligned are atomic, wider ones are several of 8 bytes.
#include <algorithm>

#include "access.h"
#include "lanes.h"

namespace standin::isa {

using u32 = uint32_t;
using u64 = uint64_t;

char* within(std::vector<char>& memory, u64 at, size_t bytes, const char* what) {
  if (at > memory.size() || bytes > memory.size() - at) {
    std::string size = std::to_string(memory.size());
    throw Stop("address " + std::to_string(at) + " is beyond the " + size + " bytes of " + what);
  }
  return memory.data() + at;
}

static char* own(Wave& wave, int lane, u64 at, size_t bytes) {
  if (at > wave.scratch_of_lane || bytes > wave.scratch_of_lane - at) {
    throw Stop("private address " + std::to_string(at) + " is beyond the " + std::to_string(wave.scratch_of_lane) +
               " bytes of a lane");
  }
  return wave.scratch.data() + static_cast<size_t>(lane) * wave.scratch_of_lane + at;
}

static char* generic(Wave& wave, int lane, u64 at, size_t bytes) {
  if (at >> 32 == kSharedAperture) return within(wave.group.memory, at & 0xffffffff, bytes, "the block");
  if (at >> 32 == kPrivateAperture) return own(wave, lane, at & 0xffffffff, bytes);
  if (at < 4096 || at >> 47) throw Stop("address " + std::to_string(at) + " is none of the device");
  return reinterpret_cast<char*>(at);
}

// Where a lane's access goes. `address` is the operand that holds the address, or its part that differs by lane.
enum class Space { kFlat, kGlobal, kScratch, kBuffer };

template <Space kSpace>
static char* place(Wave& wave, const Instruction& instruction, size_t address, size_t base, int lane, size_t bytes) {
  auto& operands = instruction.operands;
  const Operand& vector = operands.at(address);
  u64 at = vector.kind == Operand::kVector ? wave.v[vector.index][lane] : 0;
  if (vector.registers == 2) at |= static_cast<u64>(wave.v[vector.index + 1][lane]) << 32;
  auto offset = static_cast<u64>(instruction.offset);
  if constexpr (kSpace == Space::kFlat) {
    return generic(wave, lane, at + offset, bytes);
  } else if constexpr (kSpace == Space::kGlobal) {
    const Operand& scalar = operands.at(base);
    if (scalar.kind == Operand::kScalar) at += wave.pair(scalar.index);
    return generic(wave, lane, at + offset, bytes);
  } else if constexpr (kSpace == Space::kScratch) {
    const Operand& scalar = operands.at(base);
    if (scalar.kind == Operand::kScalar) at += wave.s[scalar.index];
    return own(wave, lane, static_cast<u32>(at + offset), bytes);
  } else {
    // Of buffers the only one is the private memory of the wavefront, in which lanes lie interleaved: what is common
    // to all lanes counts the bytes of all of them (LLVM, "User Guide for AMDGPU Backend", Private Segment Buffer).
    if (wave.pair(operands.at(base).index) != kPrivateBuffer) throw Stop("a buffer other than private memory");
    u64 common = uniform<u32>(wave, operands.at(base + 1));
    return own(wave, lane, static_cast<u32>(at + common / kLanes + offset), bytes);
  }
}

template <class T>
static u32 read_part(const char* at) {
  if (reinterpret_cast<u64>(at) % sizeof(T) == 0) {
    return static_cast<u32>(__atomic_load_n(reinterpret_cast<const T*>(at), __ATOMIC_RELAXED));
  }
  T value;
  std::memcpy(&value, at, sizeof value);
  return static_cast<u32>(value);
}
template <class T>
static void write_part(char* at, u32 value) {
  auto part = static_cast<T>(value);
  if (reinterpret_cast<u64>(at) % sizeof(T) == 0) __atomic_store_n(reinterpret_cast<T*>(at), part, __ATOMIC_RELAXED);
  else std::memcpy(at, &part, sizeof part);
}

void read_words(const char* at, u32* words, int count) {
  int i = 0;
  for (; i + 2 <= count && reinterpret_cast<u64>(at) % 8 == 0; i += 2, at += 8) {
    u64 both = __atomic_load_n(reinterpret_cast<const u64*>(at), __ATOMIC_RELAXED);
    std::memcpy(words + i, &both, 8);
  }
  for (; i < count; i++, at += 4) words[i] = read_part<u32>(at);
}
void write_words(char* at, const u32* words, int count) {
  int i = 0;
  for (; i + 2 <= count && reinterpret_cast<u64>(at) % 8 == 0; i += 2, at += 8) {
    u64 both;
    std::memcpy(&both, words + i, 8);
    __atomic_store_n(reinterpret_cast<u64*>(at), both, __ATOMIC_RELAXED);
  }
  for (; i < count; i++, at += 4) write_part<u32>(at, words[i]);
}

// Which operands of a store: flat and global have the address first, buffers the data.
template <Space kSpace>
constexpr size_t kData = kSpace == Space::kBuffer ? 0 : 1;

template <Space kSpace, int kWords>
static void load(Wave& wave, const Instruction& instruction) {
  u64 exec = wave.exec();
  size_t to = instruction.operands.at(0).index;
  u32 words[kLanes][kWords];  // the destination may be the address
  for (int i = 0; i < kLanes; i++) {
    if (exec >> i & 1) read_words(place<kSpace>(wave, instruction, 1, 2, i, 4 * kWords), words[i], kWords);
  }
  for (int i = 0; i < kLanes; i++) {
    for (size_t k = 0; k < kWords && (exec >> i & 1); k++) wave.v[to + k][i] = words[i][k];
  }
}
template <Space kSpace, int kWords>
static void save(Wave& wave, const Instruction& instruction) {
  u64 exec = wave.exec();
  size_t from = instruction.operands.at(kData<kSpace>).index;
  for (int i = 0; i < kLanes; i++) {
    if (!(exec >> i & 1)) continue;
    u32 words[kWords];
    for (size_t k = 0; k < kWords; k++) words[k] = wave.v[from + k][i];
    write_words(place<kSpace>(wave, instruction, 1 - kData<kSpace>, 2, i, 4 * kWords), words, kWords);
  }
}
// Parts of a register: what is loaded fills it, or one half of it.
enum class Half16 { kNone, kLow, kHigh };
template <Space kSpace, class T, Half16 kHalf>
static void load_part(Wave& wave, const Instruction& instruction) {
  u64 exec = wave.exec();
  u32* to = wave.v[instruction.operands.at(0).index];
  u32 loaded[kLanes];
  for (int i = 0; i < kLanes; i++) {
    if (exec >> i & 1) loaded[i] = read_part<T>(place<kSpace>(wave, instruction, 1, 2, i, sizeof(T)));
  }
  for (int i = 0; i < kLanes; i++) {
    if (!(exec >> i & 1)) continue;
    if (kHalf == Half16::kNone) to[i] = loaded[i];
    else if (kHalf == Half16::kLow) to[i] = (to[i] & 0xffff0000) | (loaded[i] & 0xffff);
    else to[i] = (to[i] & 0xffff) | loaded[i] << 16;
  }
}
template <Space kSpace, class T, int kShift>
static void save_part(Wave& wave, const Instruction& instruction) {
  u64 exec = wave.exec();
  const u32* from = wave.v[instruction.operands.at(kData<kSpace>).index];
  for (int i = 0; i < kLanes; i++) {
    if (!(exec >> i & 1)) continue;
    write_part<T>(place<kSpace>(wave, instruction, 1 - kData<kSpace>, 2, i, sizeof(T)), from[i] >> kShift);
  }
}

template <Space kSpace>
static void add_accesses(Opcodes& all, const std::string& space, unsigned honours) {
  honours |= kOffset | kReturns | kCachePolicy;
  auto put = [&](const char* name, auto handler) { all[space + name] = {handler, honours}; };
  put("_load_dword", load<kSpace, 1>);
  put("_load_dwordx2", load<kSpace, 2>);
  put("_load_dwordx3", load<kSpace, 3>);
  put("_load_dwordx4", load<kSpace, 4>);
  put("_store_dword", save<kSpace, 1>);
  put("_store_dwordx2", save<kSpace, 2>);
  put("_store_dwordx3", save<kSpace, 3>);
  put("_store_dwordx4", save<kSpace, 4>);
  put("_load_ubyte", load_part<kSpace, uint8_t, Half16::kNone>);
  put("_load_sbyte", load_part<kSpace, int8_t, Half16::kNone>);
  put("_load_ushort", load_part<kSpace, uint16_t, Half16::kNone>);
  put("_load_sshort", load_part<kSpace, int16_t, Half16::kNone>);
  put("_load_ubyte_d16", load_part<kSpace, uint8_t, Half16::kLow>);
  put("_load_ubyte_d16_hi", load_part<kSpace, uint8_t, Half16::kHigh>);
  put("_load_sbyte_d16", load_part<kSpace, int8_t, Half16::kLow>);
  put("_load_sbyte_d16_hi", load_part<kSpace, int8_t, Half16::kHigh>);
  put("_load_short_d16", load_part<kSpace, uint16_t, Half16::kLow>);
  put("_load_short_d16_hi", load_part<kSpace, uint16_t, Half16::kHigh>);
  put("_store_byte", save_part<kSpace, uint8_t, 0>);
  put("_store_byte_d16_hi", save_part<kSpace, uint8_t, 16>);
  put("_store_short", save_part<kSpace, uint16_t, 0>);
  put("_store_short_d16_hi", save_part<kSpace, uint16_t, 16>);
}

// An atomic operation: the value before goes to the first operand where the instruction says that it returns.
template <Space kSpace, class T, size_t kWords, class F>
static Handler atomic(F function) {
  return [function](Wave& wave, const Instruction& instruction) {
    auto& operands = instruction.operands;
    bool returns = instruction.modifiers & kReturns;
    size_t address = returns ? 1 : 0, to = operands.at(0).index, from = operands.at(address + 1).index;
    u64 exec = wave.exec();
    for (int i = 0; i < kLanes; i++) {
      if (!(exec >> i & 1)) continue;
      T values[kWords];
      for (size_t k = 0; k < kWords; k++) {
        u64 bits = wave.v[from + k * sizeof(T) / 4][i];
        if (sizeof(T) == 8) bits |= static_cast<u64>(wave.v[from + k * 2 + 1][i]) << 32;
        values[k] = static_cast<T>(bits);
      }
      auto* at = reinterpret_cast<T*>(place<kSpace>(wave, instruction, address, address + 2, i, sizeof(T)));
      if (reinterpret_cast<u64>(at) % sizeof(T)) throw Stop("an atomic access that is not aligned");
      T old = __atomic_load_n(at, __ATOMIC_SEQ_CST);
      while (!__atomic_compare_exchange_n(at, &old, function(old, values), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
      }
      if (!returns) continue;
      wave.v[to][i] = static_cast<u32>(old);
      if (sizeof(T) == 8) wave.v[to + 1][i] = static_cast<u32>(static_cast<u64>(old) >> 32);
    }
  };
}

template <Space kSpace, class T>
static void add_atomics(Opcodes& all, const std::string& space, const std::string& width) {
  using Signed = std::make_signed_t<T>;
  auto put = [&](const char* name, auto function) {
    all[space + "_atomic_" + name + width] = {atomic<kSpace, T, 1>(function), kOffset | kReturns | kCachePolicy};
  };
  put("swap", [](T, T* v) { return v[0]; });
  put("add", [](T old, T* v) { return static_cast<T>(old + v[0]); });
  put("sub", [](T old, T* v) { return static_cast<T>(old - v[0]); });
  put("and", [](T old, T* v) { return old & v[0]; });
  put("or", [](T old, T* v) { return old | v[0]; });
  put("xor", [](T old, T* v) { return old ^ v[0]; });
  put("umin", [](T old, T* v) { return std::min(old, v[0]); });
  put("umax", [](T old, T* v) { return std::max(old, v[0]); });
  put("smin", [](T old, T* v) { return static_cast<Signed>(old) < static_cast<Signed>(v[0]) ? old : v[0]; });
  put("smax", [](T old, T* v) { return static_cast<Signed>(old) > static_cast<Signed>(v[0]) ? old : v[0]; });
  // the new value, then the one to compare with
  all[space + "_atomic_cmpswap" + width] = {
      atomic<kSpace, T, 2>([](T old, T* v) { return old == v[1] ? v[0] : old; }), kOffset | kReturns | kCachePolicy};
}

void add_memory(Opcodes& all) {
  add_accesses<Space::kFlat>(all, "flat", 0);
  add_accesses<Space::kGlobal>(all, "global", 0);
  add_accesses<Space::kScratch>(all, "scratch", 0);
  add_accesses<Space::kBuffer>(all, "buffer", kOffen);
  add_atomics<Space::kFlat, u32>(all, "flat", "");
  add_atomics<Space::kFlat, u64>(all, "flat", "_x2");
  add_atomics<Space::kGlobal, u32>(all, "global", "");
  add_atomics<Space::kGlobal, u64>(all, "global", "_x2");
}

}  // namespace standin::isa
