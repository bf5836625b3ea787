// The way through a program: branches, calls, barriers, waits; scalar loads and the clock.
#include <time.h>

#include "lanes.h"

namespace standin::isa {

static void jump(Wave& wave, const Instruction& instruction) {
  wave.pc += static_cast<uint64_t>(int64_t{static_cast<int16_t>(instruction.operands.at(0).value)} * 4);
}

template <class F>
static Handler branch(F taken) {
  return [taken](Wave& wave, const Instruction& instruction) {
    if (taken(wave)) jump(wave, instruction);
  };
}

template <int kDwords>
static void load(Wave& wave, const Instruction& instruction) {
  auto& operands = instruction.operands;
  uint64_t at = wave.pair(operands.at(1).index);
  at += operands.at(2).kind == Operand::kScalar ? wave.s[operands[2].index] : static_cast<uint64_t>(operands[2].value);
  at = (at + static_cast<uint64_t>(instruction.offset)) & ~uint64_t{3};
  if (at < 4096 || at >> 47) throw Stop("an address that is none");
  for (int i = 0; i < kDwords; i++) {
    wave.s[operands[0].index + i] = __atomic_load_n(reinterpret_cast<uint32_t*>(at) + i, __ATOMIC_RELAXED);
  }
}

static uint64_t clock_100mhz() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 100000000 + static_cast<uint64_t>(now.tv_nsec) / 10;
}

void add_flow(Opcodes& all) {
  all["s_branch"] = {branch([](Wave&) { return true; }), 0};
  all["s_cbranch_scc0"] = {branch([](Wave& wave) { return !wave.scc; }), 0};
  all["s_cbranch_scc1"] = {branch([](Wave& wave) { return wave.scc; }), 0};
  all["s_cbranch_vccz"] = {branch([](Wave& wave) { return wave.pair(kVcc) == 0; }), 0};
  all["s_cbranch_vccnz"] = {branch([](Wave& wave) { return wave.pair(kVcc) != 0; }), 0};
  all["s_cbranch_execz"] = {branch([](Wave& wave) { return wave.exec() == 0; }), 0};
  all["s_cbranch_execnz"] = {branch([](Wave& wave) { return wave.exec() != 0; }), 0};
  all["s_getpc_b64"] = {[](Wave& wave, const Instruction& i) { wave.set_pair(i.operands.at(0).index, wave.pc); }, 0};
  all["s_setpc_b64"] = {[](Wave& wave, const Instruction& i) { wave.pc = wave.pair(i.operands.at(0).index); }, 0};
  all["s_swappc_b64"] = {[](Wave& wave, const Instruction& i) {
                           uint64_t to = wave.pair(i.operands.at(1).index);
                           wave.set_pair(i.operands[0].index, wave.pc);
                           wave.pc = to;
                         },
                         0};
  all["s_barrier"] = {[](Wave& wave, const Instruction&) { wave.state = Wave::kAtBarrier; }, 0, true};
  all["s_endpgm"] = {[](Wave& wave, const Instruction&) { wave.state = Wave::kDone; }, 0, true};
  all["s_sleep"] = {[](Wave& wave, const Instruction&) { wave.yields = true; }, 0, true};
  // Accesses are done one after the other, so that waits and cache controls only order them for other processors.
  Handler fence = [](Wave&, const Instruction&) { std::atomic_thread_fence(std::memory_order_seq_cst); };
  for (const char* name : {"s_waitcnt", "buffer_wbl2", "buffer_inv", "buffer_invl2", "buffer_wbinvl1_vol",
                           "buffer_wbinvl1", "s_dcache_inv", "s_dcache_wb"}) {
    all[name] = {fence, 0, true};
  }
  for (const char* name : {"s_nop", "s_setprio", "s_icache_inv", "s_inst_prefetch"}) {
    all[name] = {[](Wave&, const Instruction&) {}, 0, true};
  }
  for (const char* name : {"s_memrealtime", "s_memtime"}) {
    all[name] = {[](Wave& wave, const Instruction& i) { wave.set_pair(i.operands.at(0).index, clock_100mhz()); }, 0};
  }
  unsigned honours = kOffset | kReturns;  // scalar loads may be said to be coherent
  all["s_load_dword"] = {load<1>, honours};
  all["s_load_dwordx2"] = {load<2>, honours};
  all["s_load_dwordx4"] = {load<4>, honours};
  all["s_load_dwordx8"] = {load<8>, honours};
  all["s_load_dwordx16"] = {load<16>, honours};
}

}  // namespace standin::isa
