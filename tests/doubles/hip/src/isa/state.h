// What an instruction works on: a wavefront's registers, its block's memory, and the instruction's own words.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace standin::isa {

constexpr int kLanes = 64;
// Numbers of scalar registers as instructions encode them (AMD, "CDNA3 ISA Reference Guide", scalar operands).
constexpr int kFlatScratch = 102, kVcc = 106, kM0 = 124, kExec = 126;
constexpr int kAccumulators = 256;  // a0 is vector register 256
// The high words of generic addresses that lie in the block's memory and in a lane's own: no host address has them.
constexpr uint32_t kSharedAperture = 0x10000, kPrivateAperture = 0x20000;

// The kernel cannot go on: an instruction that is not known, an address that is none.
struct Stop : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// SDWA's choice of a part of a register.
enum class Select : uint8_t { kDword, kByte0, kByte1, kByte2, kByte3, kWord0, kWord1 };

struct Operand {
  enum Kind : uint8_t { kOff, kScalar, kVector, kInteger, kLiteral, kFloat, kAperture } kind = kOff;
  bool negate = false, absolute = false, extend = false;
  Select select = Select::kDword;
  uint16_t index = 0;  // of the first register
  uint8_t registers = 1;
  int64_t value = 0;  // of integers; the literal's 32 bits
  double real = 0;
};

// What an instruction's text says behind its operands. Who executes the instruction says which of these it honours.
enum Modifier : unsigned {
  kSdwa = 1, kSigns = 2, kClamp = 4, kOpSel = 8, kNegPacked = 16, kOffset = 32, kTwoOffsets = 64, kReturns = 128,
  kOffen = 256, kCachePolicy = 512,
};

struct Instruction;
struct Wave;
using Handler = std::function<void(Wave&, const Instruction&)>;
struct Opcode {
  Handler run;
  unsigned honours;     // Modifiers
  bool opaque = false;  // its operands are not read: a wait, a hint
};
using Opcodes = std::unordered_map<std::string, Opcode>;

struct Instruction {
  const Opcode* opcode = nullptr;  // null: not known
  uint64_t bytes = 0;
  std::vector<Operand> operands;
  unsigned modifiers = 0;
  int64_t offset = 0;
  uint32_t offsets[2] = {0, 0};
  unsigned op_sel = 0, op_sel_hi = ~0u, neg_lo = 0, neg_hi = 0;  // a bit for each source
  bool preserves = false;                                         // SDWA: the rest of the destination
  Select select = Select::kDword;                                 // SDWA: of the destination
  std::string text;                                               // as the disassembler has it, and where it is
};

struct Group {
  std::vector<char> memory;
  uint32_t index[3];
};

struct Wave {
  explicit Wave(Group& group) : group(group) {}
  Group& group;
  alignas(64) uint32_t v[2 * kAccumulators][kLanes] = {};
  uint32_t s[128] = {};
  bool scc = false;
  uint64_t pc = 0;  // of the next instruction: an address of the host
  enum { kRunning, kAtBarrier, kDone } state = kRunning;
  bool yields = false;  // others shall run
  std::vector<char> scratch;
  size_t scratch_of_lane = 0;

  uint64_t pair(int index) const {
    uint64_t value;
    std::memcpy(&value, &s[index], 8);
    return value;
  }
  void set_pair(int index, uint64_t value) { std::memcpy(&s[index], &value, 8); }
  uint64_t exec() const { return pair(kExec); }
};

void add_scalar(Opcodes&);
void add_flow(Opcodes&);
void add_integer(Opcodes&);
void add_float(Opcodes&);
void add_convert(Opcodes&);
void add_packed(Opcodes&);
void add_memory(Opcodes&);
void add_shared(Opcodes&);

// All that are known, by name without the suffix of the encoding.
const Opcodes& opcodes();

}  // namespace standin::isa
