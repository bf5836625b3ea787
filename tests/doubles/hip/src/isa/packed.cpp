// Two values in one operation: halves of registers, or registers of a pair (VOP3P). OP_SEL and OP_SEL_HI choose the
// part of each source for the lower and for the upper result.
#include <algorithm>

#include "float.h"

namespace standin::isa {

using u16 = uint16_t;
using i16 = int16_t;
using u32 = uint32_t;

// The 16 bits that are chosen of a source, with its sign.
template <class T>
static T half_of(u32 bits, bool upper, bool negate) {
  auto part = static_cast<u16>(upper ? bits >> 16 : bits);
  if (negate) part ^= 0x8000;
  return cast<T>(part);
}

template <class F, class R, class... A, size_t... I>
static Handler halves(F function, R (F::*)(A...) const, std::index_sequence<I...>) {
  return [function](Wave& wave, const Instruction& instruction) {
    u32 sources[sizeof...(A)][kLanes], results[kLanes];
    (fetch(wave, instruction, I + 1, sources[I]), ...);
    auto& it = instruction;
    for (int i = 0; i < kLanes; i++) {
      R low = function(half_of<A>(sources[I][i], it.op_sel >> I & 1, it.neg_lo >> I & 1)...);
      R high = function(half_of<A>(sources[I][i], it.op_sel_hi >> I & 1, it.neg_hi >> I & 1)...);
      results[i] = cast<u16>(low) | static_cast<u32>(cast<u16>(high)) << 16;
    }
    Instruction whole;
    whole.operands.push_back(instruction.operands[0]);
    store(wave, whole, results);
  };
}
template <class... A, class F, class R>
static Handler halves(F function, R (F::*type)(A...) const) {
  return halves(function, type, std::index_sequence_for<A...>{});
}

// The register that is chosen of a source which is a pair of them.
static void part_of(const Wave& wave, const Instruction& instruction, size_t source, bool upper,
                    u32 (&values)[kLanes]) {
  const Operand& operand = instruction.operands.at(source + 1);
  if (operand.kind == Operand::kVector) {
    std::memcpy(values, wave.v[operand.index + upper], sizeof values);
  } else if (operand.kind == Operand::kScalar) {
    std::fill_n(values, kLanes, wave.s[operand.index + upper]);
  } else {
    auto bits = static_cast<u32>(uniform<float>(wave, operand));
    if (upper && bits != 0) throw Stop("the upper half of a constant");
    std::fill_n(values, kLanes, bits);
  }
}
static void put_part(Wave& wave, const Instruction& instruction, bool upper, const u32 (&values)[kLanes]) {
  for (int i = 0; i < kLanes; i++) {
    if (wave.exec() >> i & 1) wave.v[instruction.operands[0].index + upper][i] = values[i];
  }
}

template <size_t kSources, class F>
static Handler pairs(F function) {
  return [function](Wave& wave, const Instruction& instruction) {
    u32 results[2][kLanes];
    for (int upper = 0; upper < 2; upper++) {
      u32 sources[kSources][kLanes];
      unsigned parts = upper ? instruction.op_sel_hi : instruction.op_sel;
      unsigned signs = upper ? instruction.neg_hi : instruction.neg_lo;
      for (size_t k = 0; k < kSources; k++) {
        part_of(wave, instruction, k, parts >> k & 1, sources[k]);
        for (u32& each : sources[k]) each ^= signs >> k << 31;
      }
      for (int i = 0; i < kLanes; i++) {
        float values[kSources];
        for (size_t k = 0; k < kSources; k++) values[k] = cast<float>(sources[k][i]);
        results[upper][i] = cast<u32>(function(values));
      }
    }
    put_part(wave, instruction, false, results[0]);
    put_part(wave, instruction, true, results[1]);
  };
}

// A source of the mixed operations: a half where OP_SEL_HI says so, else a float.
static float mixed(const Wave& wave, const Instruction& instruction, size_t source, int lane) {
  Operand operand = instruction.operands.at(source + 1);
  bool is_half = instruction.op_sel_hi >> source & 1, upper = instruction.op_sel >> source & 1;
  u32 bits = operand.kind == Operand::kVector ? wave.v[operand.index][lane]
             : is_half                        ? static_cast<u32>(uniform<Half>(wave, operand))
                                              : static_cast<u32>(uniform<float>(wave, operand));
  float value = is_half ? to_float({static_cast<u16>(upper ? bits >> 16 : bits)}) : cast<float>(bits);
  return signed_as(value, operand);
}
template <class Put>
static Handler mix(Put put) {
  return [put](Wave& wave, const Instruction& instruction) {
    uint64_t exec = wave.exec();
    u32* to = wave.v[instruction.operands[0].index];
    for (int i = 0; i < kLanes; i++) {
      float a = mixed(wave, instruction, 0, i), b = mixed(wave, instruction, 1, i), c = mixed(wave, instruction, 2, i);
      float made = arithmetic(std::fma(a, b, c), a, b, c);
      if (instruction.modifiers & kClamp) made = clamped(made);
      if (exec >> i & 1) to[i] = put(to[i], made);
    }
  };
}

void add_packed(Opcodes& all) {
  auto put = [&](const char* name, auto function) {
    all[name] = {halves(function, &decltype(function)::operator()), kOpSel | kNegPacked};
  };
  put("v_pk_add_u16", [](u16 a, u16 b) { return static_cast<u16>(a + b); });
  put("v_pk_sub_u16", [](u16 a, u16 b) { return static_cast<u16>(a - b); });
  put("v_pk_sub_i16", [](u16 a, u16 b) { return static_cast<u16>(a - b); });
  put("v_pk_add_i16", [](u16 a, u16 b) { return static_cast<u16>(a + b); });
  put("v_pk_mul_lo_u16", [](u16 a, u16 b) { return static_cast<u16>(u32{a} * b); });
  put("v_pk_mad_u16", [](u16 a, u16 b, u16 c) { return static_cast<u16>(u32{a} * b + c); });
  put("v_pk_min_u16", [](u16 a, u16 b) { return std::min(a, b); });
  put("v_pk_max_u16", [](u16 a, u16 b) { return std::max(a, b); });
  put("v_pk_min_i16", [](i16 a, i16 b) { return std::min(a, b); });
  put("v_pk_max_i16", [](i16 a, i16 b) { return std::max(a, b); });
  put("v_pk_lshlrev_b16", [](u16 a, u16 b) { return static_cast<u16>(b << (a & 15)); });
  put("v_pk_lshrrev_b16", [](u16 a, u16 b) { return static_cast<u16>(b >> (a & 15)); });
  put("v_pk_ashrrev_i16", [](u16 a, i16 b) { return static_cast<i16>(b >> (a & 15)); });
  auto half = [](float result, float a, float b) { return to_half(arithmetic(result, a, b)); };
  put("v_pk_add_f16", [half](Half a, Half b) {
    return half(to_float(a) + to_float(b), to_float(a), to_float(b));
  });
  put("v_pk_mul_f16", [half](Half a, Half b) {
    return half(to_float(a) * to_float(b), to_float(a), to_float(b));
  });
  unsigned honours = kOpSel | kNegPacked;
  all["v_pk_add_f32"] = {pairs<2>([](float* v) { return arithmetic(v[0] + v[1], v[0], v[1]); }), honours};
  all["v_pk_mul_f32"] = {pairs<2>([](float* v) { return arithmetic(v[0] * v[1], v[0], v[1]); }), honours};
  all["v_pk_fma_f32"] = {
      pairs<3>([](float* v) { return arithmetic(std::fma(v[0], v[1], v[2]), v[0], v[1], v[2]); }), honours};
  all["v_pk_mov_b32"] = {[](Wave& wave, const Instruction& instruction) {
                           u32 low[kLanes], high[kLanes];
                           part_of(wave, instruction, 0, instruction.op_sel & 1, low);
                           part_of(wave, instruction, 1, instruction.op_sel >> 1 & 1, high);
                           put_part(wave, instruction, false, low);
                           put_part(wave, instruction, true, high);
                         },
                         kOpSel};
  honours = kOpSel | kSigns | kClamp;
  all["v_fma_mix_f32"] = {mix([](u32, float made) { return cast<u32>(made); }), honours};
  all["v_fma_mixlo_f16"] = {mix([](u32 old, float made) { return (old & 0xffff0000) | to_half(made).bits; }), honours};
  all["v_fma_mixhi_f16"] = {
      mix([](u32 old, float made) { return (old & 0xffff) | u32{to_half(made).bits} << 16; }), honours};
}

}  // namespace standin::isa
