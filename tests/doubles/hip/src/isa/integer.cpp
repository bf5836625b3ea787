// Integers and bits in each lane (AMD, "CDNA3 ISA Reference Guide", VOP1, VOP2, VOP3, VOPC).
#include <algorithm>

#include "lanes.h"

namespace standin::isa {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using i16 = int16_t;
using i32 = int32_t;
using i64 = int64_t;

// Compare two integers of a type, in each way.
template <class T>
static void add_compare(Opcodes& all, const std::string& type) {
  auto put = [&](const char* name, auto function) {
    all["v_cmp_" + std::string(name) + type] = {lanes([function](T a, T b) { return Bit{function(a, b)}; }), kSdwa};
  };
  put("eq", [](T a, T b) { return a == b; });
  put("ne", [](T a, T b) { return a != b; });
  put("gt", [](T a, T b) { return a > b; });
  put("ge", [](T a, T b) { return a >= b; });
  put("lt", [](T a, T b) { return a < b; });
  put("le", [](T a, T b) { return a <= b; });
}

// The least, the greatest, the middle.
template <class T>
static void add_order(Opcodes& all, const std::string& type) {
  unsigned honours = sizeof(T) == 2 ? kSdwa | kOpSel : static_cast<unsigned>(kSdwa);
  all["v_min" + type] = {lanes([](T a, T b) { return std::min(a, b); }), honours};
  all["v_max" + type] = {lanes([](T a, T b) { return std::max(a, b); }), honours};
  all["v_min3" + type] = {lanes([](T a, T b, T c) { return std::min({a, b, c}); }), 0};
  all["v_max3" + type] = {lanes([](T a, T b, T c) { return std::max({a, b, c}); }), 0};
  all["v_med3" + type] = {
      lanes([](T a, T b, T c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); }), 0};
}

static Carried<u32> sum(u32 a, u32 b, bool carry) {
  u64 all = u64{a} + b + carry;
  return {static_cast<u32>(all), all >> 32 != 0};
}
static Carried<u32> difference(u32 a, u32 b, bool borrow) {
  return {a - b - borrow, u64{b} + borrow > a};
}

static void add_sums(Opcodes& all) {
  all["v_add_u32"] = {lanes([](u32 a, u32 b) { return a + b; }), kSdwa};
  all["v_sub_u32"] = {lanes([](u32 a, u32 b) { return a - b; }), kSdwa};
  all["v_subrev_u32"] = {lanes([](u32 a, u32 b) { return b - a; }), kSdwa};
  all["v_add_co_u32"] = {lanes([](u32 a, u32 b) { return sum(a, b, false); }), kSdwa};
  all["v_sub_co_u32"] = {lanes([](u32 a, u32 b) { return difference(a, b, false); }), kSdwa};
  all["v_subrev_co_u32"] = {lanes([](u32 a, u32 b) { return difference(b, a, false); }), kSdwa};
  all["v_addc_co_u32"] = {lanes([](u32 a, u32 b, Bit c) { return sum(a, b, c.on); }), kSdwa};
  all["v_subb_co_u32"] = {lanes([](u32 a, u32 b, Bit c) { return difference(a, b, c.on); }), kSdwa};
  all["v_subbrev_co_u32"] = {lanes([](u32 a, u32 b, Bit c) { return difference(b, a, c.on); }), kSdwa};
  all["v_add3_u32"] = {lanes([](u32 a, u32 b, u32 c) { return a + b + c; }), 0};
  all["v_add_lshl_u32"] = {lanes([](u32 a, u32 b, u32 c) { return (a + b) << (c & 31); }), 0};
  all["v_lshl_add_u32"] = {lanes([](u32 a, u32 b, u32 c) { return (a << (b & 31)) + c; }), 0};
  all["v_lshl_add_u64"] = {lanes([](u64 a, u32 b, u64 c) { return (a << (b & 7)) + c; }), 0};
  all["v_xad_u32"] = {lanes([](u32 a, u32 b, u32 c) { return (a ^ b) + c; }), 0};
  all["v_add_u16"] = {lanes([](u16 a, u16 b) { return static_cast<u16>(a + b); }), kSdwa};
  all["v_sub_u16"] = {lanes([](u16 a, u16 b) { return static_cast<u16>(a - b); }), kSdwa};
  all["v_subrev_u16"] = {lanes([](u16 a, u16 b) { return static_cast<u16>(b - a); }), kSdwa};
}

static void add_products(Opcodes& all) {
  all["v_mul_lo_u32"] = {lanes([](u32 a, u32 b) { return a * b; }), 0};
  all["v_mul_hi_u32"] = {lanes([](u32 a, u32 b) { return static_cast<u32>(u64{a} * b >> 32); }), 0};
  all["v_mul_hi_i32"] = {lanes([](i32 a, i32 b) { return static_cast<i32>(i64{a} * b >> 32); }), 0};
  all["v_mul_lo_u16"] = {lanes([](u16 a, u16 b) { return static_cast<u16>(u32{a} * b); }), kSdwa};
  all["v_mad_legacy_u16"] = {lanes([](u16 a, u16 b, u16 c) { return static_cast<u16>(u32{a} * b + c); }), 0};
  auto low = [](u32 a) { return a & 0xffffff; };
  auto low_signed = [](i32 a) { return static_cast<i32>(static_cast<u32>(a) << 8) >> 8; };
  all["v_mul_u32_u24"] = {lanes([low](u32 a, u32 b) { return low(a) * low(b); }), kSdwa};
  all["v_mul_hi_u32_u24"] = {
      lanes([low](u32 a, u32 b) { return static_cast<u32>(u64{low(a)} * low(b) >> 32); }), kSdwa};
  all["v_mad_u32_u24"] = {lanes([low](u32 a, u32 b, u32 c) { return low(a) * low(b) + c; }), 0};
  all["v_mul_i32_i24"] = {
      lanes([low_signed](i32 a, i32 b) { return static_cast<u32>(low_signed(a)) * static_cast<u32>(low_signed(b)); }),
      kSdwa};
  all["v_mad_i32_i24"] = {lanes([low_signed](i32 a, i32 b, u32 c) {
                            return static_cast<u32>(low_signed(a)) * static_cast<u32>(low_signed(b)) + c;
                          }),
                          0};
  all["v_mad_u64_u32"] = {lanes([](u32 a, u32 b, u64 c) {
                            u64 product = u64{a} * b;
                            return Carried<u64>{product + c, product + c < product};
                          }),
                          0};
  all["v_mad_i64_i32"] = {lanes([](i32 a, i32 b, i64 c) {
                            i64 made;
                            bool over = __builtin_add_overflow(i64{a} * b, c, &made);
                            return Carried<i64>{made, over};
                          }),
                          0};
}

static void add_bits(Opcodes& all) {
  all["v_mov_b32"] = {lanes([](u32 a) { return a; }), kSdwa};
  all["v_mov_b64"] = {lanes([](u64 a) { return a; }), 0};
  for (const char* name : {"v_accvgpr_read_b32", "v_accvgpr_write_b32", "v_accvgpr_mov_b32"}) {
    all[name] = {lanes([](u32 a) { return a; }), 0};
  }
  all["v_not_b32"] = {lanes([](u32 a) { return ~a; }), kSdwa};
  all["v_and_b32"] = {lanes([](u32 a, u32 b) { return a & b; }), kSdwa};
  all["v_or_b32"] = {lanes([](u32 a, u32 b) { return a | b; }), kSdwa};
  all["v_xor_b32"] = {lanes([](u32 a, u32 b) { return a ^ b; }), kSdwa};
  all["v_xnor_b32"] = {lanes([](u32 a, u32 b) { return ~(a ^ b); }), kSdwa};
  all["v_and_or_b32"] = {lanes([](u32 a, u32 b, u32 c) { return (a & b) | c; }), 0};
  all["v_or3_b32"] = {lanes([](u32 a, u32 b, u32 c) { return a | b | c; }), 0};
  all["v_lshl_or_b32"] = {lanes([](u32 a, u32 b, u32 c) { return a << (b & 31) | c; }), 0};
  all["v_bfi_b32"] = {lanes([](u32 a, u32 b, u32 c) { return (a & b) | (~a & c); }), 0};
  all["v_lshlrev_b32"] = {lanes([](u32 a, u32 b) { return b << (a & 31); }), kSdwa};
  all["v_lshrrev_b32"] = {lanes([](u32 a, u32 b) { return b >> (a & 31); }), kSdwa};
  all["v_ashrrev_i32"] = {lanes([](u32 a, i32 b) { return b >> (a & 31); }), kSdwa};
  all["v_lshlrev_b16"] = {lanes([](u16 a, u16 b) { return static_cast<u16>(b << (a & 15)); }), kSdwa};
  all["v_lshrrev_b16"] = {lanes([](u16 a, u16 b) { return static_cast<u16>(b >> (a & 15)); }), kSdwa};
  all["v_ashrrev_i16"] = {lanes([](u16 a, i16 b) { return static_cast<i16>(b >> (a & 15)); }), kSdwa};
  all["v_lshlrev_b64"] = {lanes([](u32 a, u64 b) { return b << (a & 63); }), 0};
  all["v_lshrrev_b64"] = {lanes([](u32 a, u64 b) { return b >> (a & 63); }), 0};
  all["v_ashrrev_i64"] = {lanes([](u32 a, i64 b) { return b >> (a & 63); }), 0};
  all["v_alignbit_b32"] = {
      lanes([](u32 a, u32 b, u32 c) { return static_cast<u32>((u64{a} << 32 | b) >> (c & 31)); }), 0};
  all["v_alignbyte_b32"] = {
      lanes([](u32 a, u32 b, u32 c) { return static_cast<u32>((u64{a} << 32 | b) >> (8 * (c & 3))); }), 0};
  all["v_bfe_u32"] = {lanes([](u32 a, u32 b, u32 c) { return (a >> (b & 31)) & ((1u << (c & 31)) - 1); }), 0};
  all["v_bfe_i32"] = {lanes([](i32 a, u32 b, u32 c) {
                        u32 from = b & 31, length = std::min(c & 31, 32 - from);
                        if (length == 0) return 0;
                        return static_cast<i32>(static_cast<u32>(a) << (32 - from - length)) >> (32 - length);
                      }),
                      0};
  all["v_bfm_b32"] = {lanes([](u32 a, u32 b) { return ((1u << (a & 31)) - 1) << (b & 31); }), 0};
  all["v_bfrev_b32"] = {lanes([](u32 a) {
                          u32 made = 0;
                          for (int i = 0; i < 32; i++) made |= (a >> i & 1) << (31 - i);
                          return made;
                        }),
                        0};
  all["v_bcnt_u32_b32"] = {lanes([](u32 a, u32 b) { return static_cast<u32>(__builtin_popcount(a)) + b; }), 0};
  all["v_ffbh_u32"] = {lanes([](u32 a) { return a == 0 ? ~0u : static_cast<u32>(__builtin_clz(a)); }), 0};
  all["v_ffbl_b32"] = {lanes([](u32 a) { return a == 0 ? ~0u : static_cast<u32>(__builtin_ctz(a)); }), 0};
  all["v_ffbh_i32"] = {
      lanes([](i32 a) { return a == 0 || a == -1 ? ~0u : static_cast<u32>(__builtin_clrsb(a)) + 1; }), 0};
  // Bytes of two registers by number: 0 to 3 of the second, 4 to 7 of the first; then copies of signs, 0, 255.
  all["v_perm_b32"] = {lanes([](u32 a, u32 b, u32 c) {
                         u64 both = u64{a} << 32 | b;
                         u32 made = 0;
                         for (int i = 0; i < 4; i++) {
                           u32 which = c >> (8 * i) & 0xff, byte = 0;
                           if (which < 8) byte = both >> (8 * which) & 0xff;
                           else if (which < 12) byte = both >> (16 * (which - 8) + 15) & 1 ? 0xff : 0;
                           else if (which > 12) byte = 0xff;
                           made |= byte << (8 * i);
                         }
                         return made;
                       }),
                       0};
  all["v_cndmask_b32"] = {lanes([](u32 a, u32 b, Bit c) { return c.on ? b : a; }), kSdwa};
}

// What reaches across lanes.
static void add_across(Opcodes& all) {
  all["v_readlane_b32"] = {[](Wave& wave, const Instruction& instruction) {
                             auto& operands = instruction.operands;
                             u64 lane = uniform<u32>(wave, operands.at(2)) & 63;
                             wave.s[operands[0].index] = wave.v[operands[1].index][lane];
                           },
                           0};
  all["v_writelane_b32"] = {[](Wave& wave, const Instruction& instruction) {
                              auto& operands = instruction.operands;
                              u64 lane = uniform<u32>(wave, operands.at(2)) & 63;
                              wave.v[operands[0].index][lane] = static_cast<u32>(uniform<u32>(wave, operands[1]));
                            },
                            0};
  all["v_readfirstlane_b32"] = {[](Wave& wave, const Instruction& instruction) {
                                  auto& operands = instruction.operands;
                                  int lane = wave.exec() == 0 ? 0 : __builtin_ctzll(wave.exec());
                                  wave.s[operands.at(0).index] = wave.v[operands.at(1).index][lane];
                                },
                                0};
  auto below = [](bool high) -> Handler {
    return [high](Wave& wave, const Instruction& instruction) {
      u32 masks[kLanes], more[kLanes];
      fetch(wave, instruction, 1, masks);
      fetch(wave, instruction, 2, more);
      for (int i = 0; i < kLanes; i++) {
        int bits = high ? std::max(i - 32, 0) : std::min(i, 32);
        more[i] += static_cast<u32>(__builtin_popcountll(masks[i] & ((u64{1} << bits) - 1)));
      }
      store(wave, instruction, more);
    };
  };
  all["v_mbcnt_lo_u32_b32"] = {below(false), 0};
  all["v_mbcnt_hi_u32_b32"] = {below(true), 0};
  all["v_swap_b32"] = {[](Wave& wave, const Instruction& instruction) {
                         auto& operands = instruction.operands;
                         u32 *a = wave.v[operands.at(0).index], *b = wave.v[operands.at(1).index];
                         for (int i = 0; i < kLanes; i++) {
                           if (wave.exec() >> i & 1) std::swap(a[i], b[i]);
                         }
                       },
                       0};
}

void add_integer(Opcodes& all) {
  add_compare<u16>(all, "_u16");
  add_compare<i16>(all, "_i16");
  add_compare<u32>(all, "_u32");
  add_compare<i32>(all, "_i32");
  add_compare<u64>(all, "_u64");
  add_compare<i64>(all, "_i64");
  add_order<u16>(all, "_u16");
  add_order<i16>(all, "_i16");
  add_order<u32>(all, "_u32");
  add_order<i32>(all, "_i32");
  add_sums(all);
  add_products(all);
  add_bits(all);
  add_across(all);
}

}  // namespace standin::isa
