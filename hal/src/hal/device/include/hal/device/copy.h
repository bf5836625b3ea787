// Copies by all lanes of a block: 16 bytes a lane where source and destination are aligned alike, else less.
#pragma once
#include <intrinsics.h>

#include <hal/device/types.h>

namespace hal::device {

// `kInFlight` loads are under way before the first store.
template <class Unit, int kInFlight>
HAL_DEVICE void copy_units(u8* dst, const u8* src, u64 units, u32 lane, u32 lanes) {
  auto* to = reinterpret_cast<Unit*>(dst);
  const auto* from = reinterpret_cast<const Unit*>(src);
  u64 i = lane, step = lanes;
  for (; i + (kInFlight - 1) * step < units; i += kInFlight * step) {
    Unit held[kInFlight];
    HAL_UNROLL
    for (int k = 0; k < kInFlight; k++) held[k] = from[i + k * step];
    HAL_UNROLL
    for (int k = 0; k < kInFlight; k++) to[i + k * step] = held[k];
  }
  for (; i < units; i += step) to[i] = from[i];
}

// Copy `bytes`; the ranges do not overlap. Every lane of the block calls it. Orders nothing.
HAL_DEVICE_CALL void copy_bytes(void* dst, const void* src, u64 bytes) {
  auto* to = static_cast<u8*>(dst);
  const auto* from = static_cast<const u8*>(src);
  u32 self = lane(), all = lanes();
  u64 apart = (reinterpret_cast<u64>(to) ^ reinterpret_cast<u64>(from)) & 15;
  if (apart & 3) {
    copy_units<Alias<u8>::type, 4>(to, from, bytes, self, all);
    return;
  }
  u64 whole = apart == 0 ? 16 : apart & 7 ? 4 : 8;
  u64 head = (0 - reinterpret_cast<u64>(to)) & (whole - 1);
  if (head > bytes) head = bytes;
  u64 units = (bytes - head) / whole, body = units * whole, tail = bytes - head - body;
  copy_units<Alias<u8>::type, 1>(to, from, head, self, all);
  if (whole == 16) {
    copy_units<Pack<4>, 4>(to + head, from + head, units, self, all);
  } else if (whole == 8) {
    copy_units<Pack<2>, 4>(to + head, from + head, units, self, all);
  } else {
    copy_units<Pack<1>, 4>(to + head, from + head, units, self, all);
  }
  copy_units<Alias<u8>::type, 1>(to + head + body, from + head + body, tail, self, all);
}

}  // namespace hal::device
