// Scalar arithmetic: one value of a wavefront, and the bit SCC (AMD, "CDNA3 ISA Reference Guide", SOP1, SOP2, SOPC,
// SOPK).
#include "lanes.h"

namespace standin::isa {

using u32 = uint32_t;
using u64 = uint64_t;
using i32 = int32_t;
using i64 = int64_t;

template <class T>
static T read(const Wave& wave, const Operand& operand) {
  return static_cast<T>(uniform<T>(wave, operand));
}
template <class T>
static void write(Wave& wave, const Operand& operand, T value) {
  if (operand.kind != Operand::kScalar) throw Stop("a destination is no scalar register");
  std::memcpy(&wave.s[operand.index], &value, sizeof value);
}

// From a function of SCC and the sources; what returns nothing has no destination.
template <class F, class R, class... A, size_t... I>
static Handler made(F function, R (F::*)(bool&, A...) const, std::index_sequence<I...>) {
  return [function](Wave& wave, const Instruction& instruction) {
    auto& operands = instruction.operands;
    if constexpr (std::is_void_v<R>) {
      function(wave.scc, read<A>(wave, operands.at(I))...);
    } else {
      write(wave, operands.at(0), function(wave.scc, read<A>(wave, operands.at(I + 1))...));
    }
  };
}
template <class F, class R, class... A>
static Handler made(F function, R (F::*type)(bool&, A...) const) {
  return made(function, type, std::index_sequence_for<A...>{});
}
template <class F>
static Handler scalar(F function) {
  return made(function, &F::operator());
}

// A function of bits, whose result says whether it is not zero.
template <class T, class F>
static Handler logic(F function) {
  return scalar([function](bool& scc, T a, T b) {
    T result = function(a, b);
    scc = result != 0;
    return result;
  });
}
template <class T, class F>
static Handler compare(F function) {
  return scalar([function](bool& scc, T a, T b) { scc = function(a, b); });
}
template <class T, class F>
static Handler compare_short(F function) {  // the second is a word of 16 bits in the instruction
  using Short = std::conditional_t<std::is_signed_v<T>, int16_t, uint16_t>;
  return scalar([function](bool& scc, T a, i32 b) { scc = function(a, static_cast<T>(static_cast<Short>(b))); });
}

template <class T>
static void add_logic(Opcodes& all, const std::string& type) {
  auto put = [&](const char* name, auto function) {
    all["s_" + std::string(name) + type] = {logic<T>(function), 0};
    all["s_" + std::string(name) + "_saveexec" + type] = {
        [function](Wave& wave, const Instruction& instruction) {
          u64 old = wave.exec(), made = function(read<u64>(wave, instruction.operands.at(1)), old);
          write(wave, instruction.operands[0], old);
          wave.set_pair(kExec, made);
          wave.scc = made != 0;
        },
        0};
  };
  put("and", [](auto a, auto b) { return a & b; });
  put("or", [](auto a, auto b) { return a | b; });
  put("xor", [](auto a, auto b) { return a ^ b; });
  put("andn2", [](auto a, auto b) { return a & ~b; });
  put("orn2", [](auto a, auto b) { return a | ~b; });
  put("nand", [](auto a, auto b) { return ~(a & b); });
  put("nor", [](auto a, auto b) { return ~(a | b); });
  put("xnor", [](auto a, auto b) { return ~(a ^ b); });
  constexpr u32 kBits = sizeof(T) * 8 - 1;
  using Signed = std::make_signed_t<T>;
  auto shift = [&](const char* name, auto function) {
    all["s_" + std::string(name) + type] = {scalar([function](bool& scc, T a, u32 b) {
                                              T result = function(a, b & kBits);
                                              scc = result != 0;
                                              return result;
                                            }),
                                            0};
  };
  shift("lshl", [](T a, u32 by) { return static_cast<T>(a << by); });
  shift("lshr", [](T a, u32 by) { return static_cast<T>(a >> by); });
  std::string sign = sizeof(T) == 8 ? "ashr_i64" : "ashr_i32";
  all["s_" + sign] = {scalar([](bool& scc, T a, u32 b) {
                        T result = static_cast<T>(static_cast<Signed>(a) >> (b & kBits));
                        scc = result != 0;
                        return result;
                      }),
                      0};
  all["s_mov" + type] = {scalar([](bool&, T a) { return a; }), 0};
  all["s_cmov" + type] = {[](Wave& wave, const Instruction& instruction) {
                            auto& operands = instruction.operands;
                            if (wave.scc) write(wave, operands.at(0), read<T>(wave, operands.at(1)));
                          },
                          0};
  all["s_not" + type] = {scalar([](bool& scc, T a) {
                           scc = static_cast<T>(~a) != 0;
                           return static_cast<T>(~a);
                         }),
                         0};
  all["s_cselect" + type] = {scalar([](bool& scc, T a, T b) { return scc ? a : b; }), 0};
  all["s_brev" + type] = {scalar([](bool&, T a) {
                            T result = 0;
                            for (u32 i = 0; i <= kBits; i++) result |= (a >> i & 1) << (kBits - i);
                            return result;
                          }),
                          0};
  all["s_bcnt1_i32" + type] = {scalar([](bool& scc, T a) {
                                 u32 count = static_cast<u32>(__builtin_popcountll(a));
                                 scc = count != 0;
                                 return count;
                               }),
                               0};
  all["s_ff1_i32" + type] = {
      scalar([](bool&, T a) { return a == 0 ? ~0u : static_cast<u32>(__builtin_ctzll(a)); }), 0};
}

template <class T>
static void add_compare(Opcodes& all, const std::string& type) {
  auto put = [&](const char* name, auto function) {
    all["s_cmp_" + std::string(name) + type] = {compare<T>(function), 0};
    if (sizeof(T) == 4) all["s_cmpk_" + std::string(name) + type] = {compare_short<T>(function), 0};
  };
  put("eq", [](T a, T b) { return a == b; });
  put("lg", [](T a, T b) { return a != b; });
  put("gt", [](T a, T b) { return a > b; });
  put("ge", [](T a, T b) { return a >= b; });
  put("lt", [](T a, T b) { return a < b; });
  put("le", [](T a, T b) { return a <= b; });
}

template <class T>
static void add_order(Opcodes& all, const std::string& type) {
  all["s_min" + type] = {scalar([](bool& scc, T a, T b) { return scc = a < b, scc ? a : b; }), 0};
  all["s_max" + type] = {scalar([](bool& scc, T a, T b) { return scc = a > b, scc ? a : b; }), 0};
}

void add_scalar(Opcodes& all) {
  add_logic<u32>(all, "_b32");
  add_logic<u64>(all, "_b64");
  add_compare<u32>(all, "_u32");
  add_compare<i32>(all, "_i32");
  add_compare<u64>(all, "_u64");
  add_order<u32>(all, "_u32");
  add_order<i32>(all, "_i32");
  auto put = [&](const char* name, auto function) { all[name] = {scalar(function), 0}; };
  put("s_add_u32", [](bool& scc, u32 a, u32 b) {
    scc = a + b < a;
    return a + b;
  });
  put("s_addc_u32", [](bool& scc, u32 a, u32 b) {
    u64 sum = u64{a} + b + scc;
    scc = sum >> 32;
    return static_cast<u32>(sum);
  });
  put("s_sub_u32", [](bool& scc, u32 a, u32 b) {
    scc = b > a;
    return a - b;
  });
  put("s_subb_u32", [](bool& scc, u32 a, u32 b) {
    u64 less = u64{b} + scc;
    scc = less > a;
    return static_cast<u32>(a - less);
  });
  put("s_add_i32", [](bool& scc, i32 a, i32 b) {
    i32 sum;
    scc = __builtin_add_overflow(a, b, &sum);
    return sum;
  });
  put("s_sub_i32", [](bool& scc, i32 a, i32 b) {
    i32 left;
    scc = __builtin_sub_overflow(a, b, &left);
    return left;
  });
  put("s_mul_i32", [](bool&, u32 a, u32 b) { return a * b; });
  put("s_mul_hi_u32", [](bool&, u32 a, u32 b) { return static_cast<u32>(u64{a} * b >> 32); });
  put("s_mul_hi_i32", [](bool&, i32 a, i32 b) { return static_cast<i32>(i64{a} * b >> 32); });
  put("s_movk_i32", [](bool&, i32 a) { return static_cast<i32>(static_cast<int16_t>(a)); });
  all["s_addk_i32"] = {[](Wave& wave, const Instruction& instruction) {
                         auto& operands = instruction.operands;
                         i32 sum, more = static_cast<int16_t>(read<i32>(wave, operands.at(1)));
                         wave.scc = __builtin_add_overflow(read<i32>(wave, operands[0]), more, &sum);
                         write(wave, operands[0], sum);
                       },
                       0};
  all["s_mulk_i32"] = {[](Wave& wave, const Instruction& instruction) {
                         auto& operands = instruction.operands;
                         u32 by = static_cast<u32>(static_cast<int16_t>(read<i32>(wave, operands.at(1))));
                         write(wave, operands[0], read<u32>(wave, operands[0]) * by);
                       },
                       0};
  auto shifted = [&](const char* name, u32 by) {
    all[name] = {scalar([by](bool& scc, u32 a, u32 b) {
                   u64 sum = (u64{a} << by) + b;
                   scc = sum >> 32 != 0;
                   return static_cast<u32>(sum);
                 }),
                 0};
  };
  shifted("s_lshl1_add_u32", 1);
  shifted("s_lshl2_add_u32", 2);
  shifted("s_lshl3_add_u32", 3);
  shifted("s_lshl4_add_u32", 4);
  put("s_abs_i32", [](bool& scc, u32 a) {
    u32 result = static_cast<i32>(a) < 0 ? 0 - a : a;
    scc = result != 0;
    return result;
  });
  put("s_sext_i32_i8", [](bool&, i32 a) { return static_cast<i32>(static_cast<int8_t>(a)); });
  put("s_sext_i32_i16", [](bool&, i32 a) { return static_cast<i32>(static_cast<int16_t>(a)); });
  put("s_pack_ll_b32_b16", [](bool&, u32 a, u32 b) { return (a & 0xffff) | b << 16; });
  put("s_pack_lh_b32_b16", [](bool&, u32 a, u32 b) { return (a & 0xffff) | (b & 0xffff0000); });
  put("s_pack_hh_b32_b16", [](bool&, u32 a, u32 b) { return a >> 16 | (b & 0xffff0000); });
  // The second source of a field: where it begins in bits 0 to 4 (of 64: 0 to 5), its length in bits 16 to 22.
  put("s_bfe_u32", [](bool& scc, u32 a, u32 b) {
    u32 length = b >> 16 & 0x7f, part = a >> (b & 31);
    u32 result = length >= 32 ? part : part & ((1u << length) - 1);
    scc = result != 0;
    return result;
  });
  put("s_bfe_i32", [](bool& scc, i32 a, u32 b) {
    u32 from = b & 31, length = std::min(b >> 16 & 0x7f, 32 - from);
    i32 result = length == 0 ? 0 : static_cast<i32>(static_cast<u32>(a) << (32 - from - length)) >> (32 - length);
    scc = result != 0;
    return result;
  });
  put("s_bfm_b32", [](bool&, u32 a, u32 b) { return ((1u << (a & 31)) - 1) << (b & 31); });
  put("s_flbit_i32_b32", [](bool&, u32 a) { return a == 0 ? ~0u : static_cast<u32>(__builtin_clz(a)); });
  put("s_flbit_i32_b64", [](bool&, u64 a) { return a == 0 ? ~0u : static_cast<u32>(__builtin_clzll(a)); });
  put("s_flbit_i32", [](bool&, i32 a) {
    return a == 0 || a == -1 ? ~0u : static_cast<u32>(__builtin_clrsb(a)) + 1;
  });
  put("s_flbit_i32_i64", [](bool&, i64 a) {
    return a == 0 || a == -1 ? ~0u : static_cast<u32>(__builtin_clrsbll(a)) + 1;
  });
  auto test = [&](const char* name, auto function) { all[name] = {scalar(function), 0}; };
  test("s_bitcmp0_b32", [](bool& scc, u32 a, u32 b) { scc = !(a >> (b & 31) & 1); });
  test("s_bitcmp1_b32", [](bool& scc, u32 a, u32 b) { scc = a >> (b & 31) & 1; });
  auto bit = [&](const char* name, bool on) {
    all[name] = {[on](Wave& wave, const Instruction& instruction) {
                   auto& operands = instruction.operands;
                   u32 mask = 1u << (read<u32>(wave, operands.at(1)) & 31), old = read<u32>(wave, operands[0]);
                   write(wave, operands[0], on ? old | mask : old & ~mask);
                 },
                 0};
  };
  bit("s_bitset0_b32", false);
  bit("s_bitset1_b32", true);
}

}  // namespace standin::isa
