// Decoding: the words of an instruction, as llvm-objdump writes them.
#include "decode.h"

#include <cstdlib>
#include <map>

namespace standin::isa {

const Opcodes& opcodes() {
  static const Opcodes& all = *[] {
    auto* made = new Opcodes;
    for (auto* add : {add_scalar, add_flow, add_integer, add_float, add_convert, add_packed, add_memory, add_shared}) {
      add(*made);
    }
    return made;
  }();
  return all;
}

static std::vector<std::string> split(const std::string& text, const std::string& by) {
  std::vector<std::string> parts;
  size_t from = 0;
  for (size_t at; (at = text.find(by, from)) != std::string::npos; from = at + by.size()) {
    if (at > from) parts.push_back(text.substr(from, at - from));
  }
  if (from < text.size()) parts.push_back(text.substr(from));
  return parts;
}

static bool takes(std::string& text, const std::string& before, const std::string& after) {
  if (text.size() < before.size() + after.size() || text.compare(0, before.size(), before) != 0) return false;
  if (text.compare(text.size() - after.size(), after.size(), after) != 0) return false;
  text = text.substr(before.size(), text.size() - before.size() - after.size());
  return true;
}

static bool number(const std::string& text, int64_t& value) {
  char* end;
  value = static_cast<int64_t>(std::strtoll(text.c_str(), &end, 0));
  return !text.empty() && *end == 0;
}

// "v5", "s[4:7]", "a[0:1]".
static bool ranged(const std::string& text, Operand& operand) {
  if (text.size() < 2 || std::string("vsa").find(text[0]) == std::string::npos) return false;
  operand.kind = text[0] == 's' ? Operand::kScalar : Operand::kVector;
  int first, last;
  char end;
  if (std::sscanf(text.c_str() + 1, "[%d:%d%c", &first, &last, &end) == 3 && end == ']') {
    operand.registers = static_cast<uint8_t>(last - first + 1);
  } else if (std::sscanf(text.c_str() + 1, "%d%c", &first, &end) != 1) {
    return false;
  }
  operand.index = static_cast<uint16_t>(first + (text[0] == 'a' ? kAccumulators : 0));
  return true;
}

static bool operand_of(std::string text, Operand& operand) {
  static const std::map<std::string, std::pair<int, int>> named = {
      {"vcc", {kVcc, 2}},   {"vcc_lo", {kVcc, 1}},   {"vcc_hi", {kVcc + 1, 1}},   {"m0", {kM0, 1}},
      {"exec", {kExec, 2}}, {"exec_lo", {kExec, 1}}, {"exec_hi", {kExec + 1, 1}}, {"flat_scratch", {kFlatScratch, 2}},
      {"flat_scratch_lo", {kFlatScratch, 1}},        {"flat_scratch_hi", {kFlatScratch + 1, 1}}};
  if (text == "off") return true;
  if (takes(text, "sext(", ")")) operand.extend = true;
  bool constant = !text.empty() && text.find_first_not_of("-0123456789") == std::string::npos;
  if (!constant && text[0] == '-' && !std::strchr("0123456789", text[1])) {
    operand.negate = true;
    text.erase(0, 1);
  }
  if (takes(text, "neg(", ")")) operand.negate = true;
  if (takes(text, "|", "|")) operand.absolute = true;
  if (takes(text, "lit(", ")")) constant = false;
  if (ranged(text, operand)) return true;
  if (auto found = named.find(text); found != named.end()) {
    operand.kind = Operand::kScalar;
    operand.index = static_cast<uint16_t>(found->second.first);
    operand.registers = static_cast<uint8_t>(found->second.second);
    return true;
  }
  if (text == "src_shared_base" || text == "src_private_base") {
    operand.kind = Operand::kAperture;
    operand.value = text == "src_shared_base" ? kSharedAperture : kPrivateAperture;
    return true;
  }
  operand.kind = text.find("0x") == std::string::npos ? Operand::kInteger : Operand::kLiteral;
  if (number(text, operand.value)) return true;
  char* end;
  operand.kind = Operand::kFloat;
  operand.real = std::strtod(text.c_str(), &end);
  return !text.empty() && *end == 0;
}

static bool select_of(const std::string& text, Select& select) {
  static const char* const names[] = {"DWORD", "BYTE_0", "BYTE_1", "BYTE_2", "BYTE_3", "WORD_0", "WORD_1"};
  for (int i = 0; i < 7; i++) {
    if (text == names[i]) {
      select = static_cast<Select>(i);
      return true;
    }
  }
  return false;
}

// "[0,1]": a bit for each.
static bool bits_of(std::string text, unsigned& bits) {
  if (!takes(text, "[", "]")) return false;
  bits = 0;
  unsigned at = 0;
  for (auto& each : split(text, ",")) bits |= static_cast<unsigned>(each == "1") << at++;
  return true;
}

static bool modifier_of(const std::string& word, Instruction& made, Select (&sources)[2]) {
  size_t colon = word.find(':');
  std::string name = word.substr(0, colon), value = colon == std::string::npos ? "" : word.substr(colon + 1);
  int64_t parsed = 0;
  auto is = [&](const char* what, unsigned modifier, bool good) {
    if (name != what || !good) return false;
    made.modifiers |= modifier;
    return true;
  };
  bool numeric = number(value, parsed);
  if (is("offset", kOffset, numeric)) return made.offset = parsed, true;
  if (is("offset0", kTwoOffsets, numeric)) return made.offsets[0] = static_cast<uint32_t>(parsed), true;
  if (is("offset1", kTwoOffsets, numeric)) return made.offsets[1] = static_cast<uint32_t>(parsed), true;
  if (is("glc", kReturns, true) || is("sc0", kReturns, true) || is("offen", kOffen, true)) return true;
  if (is("slc", kCachePolicy, true) || is("sc1", kCachePolicy, true) || is("nt", kCachePolicy, true)) return true;
  if (is("clamp", kClamp, true)) return true;
  if (name == "op_sel") return is("op_sel", kOpSel, bits_of(value, made.op_sel));
  if (name == "op_sel_hi") return is("op_sel_hi", kOpSel, bits_of(value, made.op_sel_hi));
  if (name == "neg_lo") return is("neg_lo", kNegPacked, bits_of(value, made.neg_lo));
  if (name == "neg_hi") return is("neg_hi", kNegPacked, bits_of(value, made.neg_hi));
  if (name == "dst_sel") return is("dst_sel", kSdwa, select_of(value, made.select));
  if (name == "src0_sel") return is("src0_sel", kSdwa, select_of(value, sources[0]));
  if (name == "src1_sel") return is("src1_sel", kSdwa, select_of(value, sources[1]));
  if (is("dst_unused", kSdwa, value == "UNUSED_PAD")) return true;
  if (is("dst_unused", kSdwa, value == "UNUSED_PRESERVE")) return made.preserves = true;
  return false;
}

static std::string plain(std::string name) {
  for (const char* suffix : {"_e32", "_e64", "_sdwa"}) takes(name, "", suffix);
  return name;
}

Instruction decode(const std::string& text, uint64_t bytes) {
  Instruction made;
  made.bytes = bytes;
  made.text = text;
  size_t space = text.find(' ');
  auto found = opcodes().find(plain(text.substr(0, space)));
  if (found == opcodes().end()) return made;
  if (found->second.opaque || space == std::string::npos) {
    made.opcode = &found->second;
    return made;
  }
  if (text.find("_mix") != std::string::npos) made.op_sel_hi = 0;  // there it says which sources are halves
  Select sources[2] = {Select::kDword, Select::kDword};
  auto chunks = split(text.substr(space + 1), ", ");
  for (auto& chunk : chunks) {
    bool last = &chunk == &chunks.back(), first = true;
    for (auto& word : split(chunk, " ")) {
      Operand operand;
      if (first && operand_of(word, operand)) {
        if (operand.negate || operand.absolute) made.modifiers |= kSigns;
        if (operand.extend) made.modifiers |= kSdwa;
        made.operands.push_back(operand);
      } else if (first || !last || !modifier_of(word, made, sources)) {
        made.text += " (here " + word + " is not known)";
        return made;
      }
      first = false;
    }
  }
  if (made.modifiers & kSdwa) {
    // sources follow the destinations; what carries has two of these
    size_t source = text.find("_co_") == std::string::npos ? 1 : 2;
    for (size_t i = 0; i < 2 && source + i < made.operands.size(); i++) made.operands[source + i].select = sources[i];
  }
  if (made.modifiers & ~found->second.honours) {
    made.text += " (its modifiers are not known)";
  } else {
    made.opcode = &found->second;
  }
  return made;
}

}  // namespace standin::isa
