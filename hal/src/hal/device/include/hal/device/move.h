// Moves of plain memory: `dst[] <- reduce(op, src[])`, by the lanes of a block, orders nothing.
#pragma once
#include <hal/device/arithmetic.h>
#include <hal/device/copy.h>
#include <hal/device/program.h>

namespace hal::device {

// The addresses of the sources of a move: in registers where their number is known (`kCount`), else looked up.
template <int kCount>
struct Sources {
  static constexpr bool kKnown = true;
  u8* address[kCount];

  HAL_DEVICE Sources(const BlockMemory& memory, MoveWords move, const Window& window) {
    HAL_UNROLL
    for (int i = 0; i < kCount; i++) address[i] = address_of(memory, move.source(i), window);
  }
  HAL_DEVICE int count() const { return kCount; }
  HAL_DEVICE const u8* at(int i) const { return address[i]; }
};

template <>
struct Sources<0> {
  static constexpr bool kKnown = false;
  const BlockMemory& memory;
  MoveWords move;
  const Window& window;

  HAL_DEVICE Sources(const BlockMemory& memory, MoveWords move, const Window& window)
      : memory(memory), move(move), window(window) {}
  HAL_DEVICE int count() const { return move.sources(); }
  HAL_DEVICE const u8* at(int i) const { return address_of(memory, move.source(i), window); }
};

// The bytes of all operands before the first multiple of 16, where that is the same for all; else 16.
HAL_DEVICE_CALL u64 common_head(const BlockMemory& memory, MoveWords move, const Window& window) {
  u64 first = reinterpret_cast<u64>(address_of(memory, move.source(0), window)) & 15;
  for (int i = 1; i < move.sources() + move.targets(); i++) {
    if ((reinterpret_cast<u64>(address_of(memory, move.source(i), window)) & 15) != first) return 16;
  }
  return (0 - first) & 15;
}

// Elements [first, end), one at a time.
template <int dtype, int op, class From>
HAL_DEVICE void reduce_elements(const BlockMemory& memory, MoveWords move, const Window& window, const From& from,
                                u64 first, u64 end) {
  using Stored = typename Element<dtype>::Stored;
  using Memory = typename Alias<Stored>::type;
  for (u64 i = first + lane(); i < end; i += lanes()) {
    ElementAccumulator<dtype, op> sum;
    sum.begin(reinterpret_cast<const Memory*>(from.at(0))[i]);
    for (int s = 1; s < from.count(); s++) sum.add(reinterpret_cast<const Memory*>(from.at(s))[i]);
    Stored result = sum.result(move.divisor());
    for (int t = 0; t < move.targets(); t++) {
      reinterpret_cast<Memory*>(address_of(memory, move.target(t), window))[i] = result;
    }
  }
}

// `kAtOnce` packs of 16 bytes, `step` apart: all loads of a source are under way together.
template <int dtype, int op, int kAtOnce, class From>
HAL_DEVICE void reduce_packs(const BlockMemory& memory, MoveWords move, const Window& window, const From& from, u64 at,
                             u64 step) {
  Accumulator<dtype, op, 4> sum[kAtOnce];
  HAL_UNROLL
  for (int k = 0; k < kAtOnce; k++) sum[k].begin(*reinterpret_cast<const Pack<4>*>(from.at(0) + at + k * step));
  auto add = [&](int s) {
    HAL_UNROLL
    for (int k = 0; k < kAtOnce; k++) sum[k].add(*reinterpret_cast<const Pack<4>*>(from.at(s) + at + k * step));
  };
  if constexpr (From::kKnown) {
    HAL_UNROLL
    for (int s = 1; s < from.count(); s++) add(s);
  } else {
    for (int s = 1; s < from.count(); s++) add(s);
  }
  HAL_UNROLL
  for (int k = 0; k < kAtOnce; k++) {
    Pack<4> result = sum[k].result(move.divisor());
    for (int t = 0; t < move.targets(); t++) {
      *reinterpret_cast<Pack<4>*>(address_of(memory, move.target(t), window) + at + k * step) = result;
    }
  }
}

template <int dtype, int op, int kCount>
HAL_DEVICE_CALL void reduce_counted(const BlockMemory& memory, MoveWords move, const Window& window) {
  constexpr u64 kSize = sizeof(typename Element<dtype>::Stored);
  Sources<kCount> from(memory, move, window);
  u64 head = common_head(memory, move, window), elements = window.bytes / kSize;
  if (head == 16 || head % kSize != 0 || head > window.bytes) {
    reduce_elements<dtype, op>(memory, move, window, from, 0, elements);
    return;
  }
  u64 body = (window.bytes - head) / 16 * 16, step = u64{lanes()} * 16, at = head + u64{lane()} * 16;
  reduce_elements<dtype, op>(memory, move, window, from, 0, head / kSize);
  if constexpr (kCount != 0 && kCount <= 4) {
    for (; at + step < head + body; at += 2 * step) {
      reduce_packs<dtype, op, 2>(memory, move, window, from, at, step);
    }
  }
  for (; at < head + body; at += step) reduce_packs<dtype, op, 1>(memory, move, window, from, at, step);
  reduce_elements<dtype, op>(memory, move, window, from, (head + body) / kSize, elements);
}

template <int dtype, int op>
HAL_DEVICE void reduce_plain(const BlockMemory& memory, MoveWords move, const Window& window) {
  switch (move.sources()) {
    case 2: return reduce_counted<dtype, op, 2>(memory, move, window);
    case 4: return reduce_counted<dtype, op, 4>(memory, move, window);
    case 8: return reduce_counted<dtype, op, 8>(memory, move, window);
    default: return reduce_counted<dtype, op, 0>(memory, move, window);
  }
}

// One source, unchanged. It is read once for all targets where all are aligned alike.
HAL_DEVICE_CALL void copy_plain(const BlockMemory& memory, MoveWords move, const Window& window) {
  const u8* source = address_of(memory, move.source(0), window);
  u64 head = move.targets() == 1 ? 16 : common_head(memory, move, window), body = 0;
  if (head < 16 && head < window.bytes) {
    constexpr int kInFlight = 4;
    body = (window.bytes - head) / (16 * kInFlight) * (16 * kInFlight);
    u64 step = u64{lanes()} * 16 * kInFlight;
    for (u64 at = head + u64{lane()} * 16; at < head + body; at += step) {
      u64 between = u64{lanes()} * 16, left = (head + body - at + between - 1) / between;
      Pack<4> held[kInFlight];
      HAL_UNROLL
      for (u64 k = 0; k < kInFlight; k++) {
        if (k < left) held[k] = *reinterpret_cast<const Pack<4>*>(source + at + k * between);
      }
      for (int t = 0; t < move.targets(); t++) {
        u8* target = address_of(memory, move.target(t), window);
        if (target == source) continue;
        HAL_UNROLL
        for (u64 k = 0; k < kInFlight; k++) {
          if (k < left) *reinterpret_cast<Pack<4>*>(target + at + k * between) = held[k];
        }
      }
    }
  } else {
    head = 0;
  }
  for (int t = 0; t < move.targets(); t++) {
    u8* target = address_of(memory, move.target(t), window);
    if (target == source) continue;
    copy_bytes(target, source, head);
    copy_bytes(target + head + body, source + head + body, window.bytes - head - body);
  }
}

}  // namespace hal::device
