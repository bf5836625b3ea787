// Moves that use multicast memory, by which the scratch of all members has one address: what of a move is aligned to 16
// bytes is loaded from all members, or stored to them, at once; the rest member by member, as other moves are.
#pragma once
#include <hal/device/moving.h>

#ifdef HAL_HAS_MULTICAST

namespace hal::device {

// Words: whether the sources are the same scratch of all members, the first of targets that are (or -1), then the move.
struct SwitchedMove {
  const i64* words;
  u8* multicast;  // the scratch of this launch
  int members;

  HAL_DEVICE bool loads() const { return words[0] != 0; }
  HAL_DEVICE int first() const { return static_cast<int>(words[1]); }
  HAL_DEVICE MoveWords move() const { return {words + 2}; }
  HAL_DEVICE u8* address(Operand operand, const Window& window) const {
    return multicast + static_cast<u64>(operand.words[2]) + window.slot;
  }

  HAL_DEVICE void store(const BlockMemory& memory, const Window& window, u64 at, Pack<4> value) const {
    for (int t = 0; t < move().targets(); t++) {
      if (t == first()) {
        multicast_store(address(move().target(t), window) + at, value);
        t += members - 1;
      } else {
        *reinterpret_cast<Pack<4>*>(address_of(memory, move().target(t), window) + at) = value;
      }
    }
  }
};

// A range of a window, of whole packs. `load` gives the pack at a place in the window; several are under way together.
template <class Load>
HAL_DEVICE void switched_packs(const SwitchedMove& move, const BlockMemory& memory, const Window& window, u64 begin,
                               u64 end, const Load& load) {
  constexpr u64 kInFlight = 4;
  u64 between = u64{lanes()} * 16;
  for (u64 at = begin + u64{lane()} * 16; at < end; at += between * kInFlight) {
    Pack<4> held[kInFlight];
    HAL_UNROLL
    for (u64 k = 0; k < kInFlight; k++) {
      if (at + k * between < end) held[k] = load(at + k * between);
    }
    HAL_UNROLL
    for (u64 k = 0; k < kInFlight; k++) {
      if (at + k * between < end) move.store(memory, window, at + k * between, held[k]);
    }
  }
}

// One source, unchanged.
HAL_DEVICE_CALL bool switched_copy(const SwitchedMove& move, const BlockMemory& memory, const Window& window, u64 begin,
                                   u64 end) {
  const u8* source = address_of(memory, move.move().source(0), window);
  switched_packs(move, memory, window, begin, end,
                 [&](u64 at) { return *reinterpret_cast<const Pack<4>*>(source + at); });
  return true;
}

// False, and nothing is done, where multicast memory is of no use.
template <int dtype, int op>
HAL_DEVICE_CALL bool switched_reduction(const SwitchedMove& switched, const BlockMemory& memory, const Window& window,
                                        u64 begin, u64 end) {
  MoveWords move = switched.move();
  if constexpr (op != kAvg && kMulticastReduces<dtype, op>) {
    if (switched.loads()) {
      const u8* source = switched.address(move.source(0), window);
      switched_packs(switched, memory, window, begin, end,
                     [&](u64 at) { return multicast_load<dtype, op>(source + at); });
      return true;
    }
  }
  if (switched.first() < 0) return false;
  switched_packs(switched, memory, window, begin, end, [&](u64 at) {
    Accumulator<dtype, op, 4> sum;
    sum.begin(*reinterpret_cast<const Pack<4>*>(address_of(memory, move.source(0), window) + at));
    for (int s = 1; s < move.sources(); s++) {
      sum.add(*reinterpret_cast<const Pack<4>*>(address_of(memory, move.source(s), window) + at));
    }
    return sum.result(move.divisor());
  });
  return true;
}

template <int dtype, u32 ops, int op = 0>
HAL_DEVICE bool switched_by(const SwitchedMove& switched, const BlockMemory& memory, const Window& window, u64 begin,
                            u64 end) {
  if constexpr ((ops >> op & 1) != 0 && is_defined<dtype, op>()) {
    if (switched.move().op() == op) return switched_reduction<dtype, op>(switched, memory, window, begin, end);
  }
  if constexpr (ops >> op > 1) return switched_by<dtype, ops, op + 1>(switched, memory, window, begin, end);
  return false;
}

template <int dtype, u32 ops>
HAL_DEVICE void run_switched(const SwitchedMove& switched, const BlockMemory& memory, const Window& window, u32 flag,
                             Watch& watch, Stand& stand) {
  constexpr u64 kSize = sizeof(typename Element<dtype>::Stored);
  MoveWords move = switched.move();
  u64 begin = common_head(memory, move, window), end = begin;
  if (begin < 16 && begin < window.bytes && begin % kSize == 0) end += (window.bytes - begin) / 16 * 16;
  bool done = begin < end;
  if (done) {
    bool computes = move.sources() > 1 || move.divisor() != 1;
    multicast_fence();  // what was written at members' own addresses is used at that of all; below the other way round
    done = computes ? switched_by<dtype, ops>(switched, memory, window, begin, end)
                    : switched_copy(switched, memory, window, begin, end);
    multicast_fence();
  }
  if (!done) return run_move<dtype, ops>(move, memory, window, flag, watch, stand);
  Window head{window.begin, begin, window.slot};
  Window tail{window.begin + end, window.bytes - end, window.slot + end};
  if (head.bytes > 0) run_move<dtype, ops>(move, memory, head, flag, watch, stand);
  if (tail.bytes > 0) run_move<dtype, ops>(move, memory, tail, flag, watch, stand);
}

}  // namespace hal::device

#endif
