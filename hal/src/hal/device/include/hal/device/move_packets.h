// Moves of which some operand is in packet form. A lane takes 8 bytes of data at a time: two packets, or as much of
// plain memory. It waits for the packets of its own bytes alone, so that data goes on as it comes.
#pragma once
#include <hal/device/move.h>
#include <hal/device/watch.h>

namespace hal::device {

// Up to 8 bytes of plain memory at any address.
HAL_DEVICE Pack<2> load_plain(const u8* at, u32 bytes) {
  if (bytes == 8 && (reinterpret_cast<u64>(at) & 7) == 0) return *reinterpret_cast<const Pack<2>*>(at);
  Pack<2> data = {{0, 0}};
  for (u32 i = 0; i < bytes; i++) data.word[i / 4] |= static_cast<u32>(at[i]) << (i % 4 * 8);
  return data;
}

HAL_DEVICE void store_plain(u8* at, Pack<2> data, u32 bytes) {
  if (bytes == 8 && (reinterpret_cast<u64>(at) & 7) == 0) {
    *reinterpret_cast<Pack<2>*>(at) = data;
    return;
  }
  for (u32 i = 0; i < bytes; i++) at[i] = static_cast<u8>(data.word[i / 4] >> (i % 4 * 8));
}

// The packets that hold `bytes` of data; how many of them are there without a gap: all of them is 2, or 1 where `bytes`
// is 4 or less.
HAL_DEVICE u32 load_two(const u8* at, u32 flag, u32 bytes, Pack<2>& data) {
  if (bytes > 4 && (reinterpret_cast<u64>(at) & 15) == 0 && read_packets(at, flag, data)) return 2;
  data.word[1] = 0;
  if (!read_packet(at, flag, data.word[0])) return 0;
  return bytes > 4 && read_packet(at + 8, flag, data.word[1]) ? 2 : 1;
}

HAL_DEVICE void store_two(u8* at, u32 flag, u32 bytes, Pack<2> data) {
  if (bytes > 4 && (reinterpret_cast<u64>(at) & 15) == 0) return write_packets(at, flag, data);
  write_packet(at, flag, data.word[0]);
  if (bytes > 4) write_packet(at + 8, flag, data.word[1]);
}

struct PacketMove {
  const BlockMemory& memory;
  MoveWords move;
  const Window& window;
  u32 flag;
  Watch& watch;
  Stand& stand;

  // One look at a source: whether all its data is there. Plain memory always is.
  HAL_DEVICE bool load(Operand source, const u8* address, u64 at, u32 bytes, Pack<2>& data) const {
    if (source.packet()) return load_two(address + at * 2, flag, bytes, data) == (bytes + 3) / 4;
    data = load_plain(address + at, bytes);
    return true;
  }

  // Wait for the packets of a source; whether they came. What is missing is remembered.
  HAL_DEVICE_CALL bool await(Operand source, const u8* address, u64 at, u32 bytes, Pack<2>& data) const {
    if (spin(watch, [&] { return load(source, address, at, bytes, data); })) return true;
    stand = {Waiting::kPacket, -1, static_cast<i32>(source.member()), packets_for(window.bytes),
             at / 4 + load_two(address + at * 2, flag, bytes, data)};
    return false;
  }

  HAL_DEVICE bool take(Operand source, const u8* address, u64 at, u32 bytes, Pack<2>& data) const {
    return load(source, address, at, bytes, data) || await(source, address, at, bytes, data);
  }

  HAL_DEVICE_CALL void store(u64 at, u32 bytes, Pack<2> data) const {
    for (int t = 0; t < move.targets(); t++) {
      Operand target = move.target(t);
      u8* address = address_of(memory, target, window);
      if (target.packet()) {
        store_two(address + at * 2, flag, bytes, data);
      } else {
        store_plain(address + at, data, bytes);
      }
    }
  }

  template <int dtype, int op, int kCount>
  HAL_DEVICE_CALL bool reduce_counted() const {
    Sources<kCount> from(memory, move, window);
    for (u64 at = u64{lane()} * 8; at < window.bytes; at += u64{lanes()} * 8) {
      u32 bytes = window.bytes - at < 8 ? static_cast<u32>(window.bytes - at) : 8;
      Accumulator<dtype, op, 2> sum;
      if constexpr (kCount != 0) {
        // look at all sources before waiting for any
        Pack<2> data[kCount];
        bool there[kCount];
        HAL_UNROLL
        for (int s = 0; s < kCount; s++) there[s] = load(move.source(s), from.at(s), at, bytes, data[s]);
        HAL_UNROLL
        for (int s = 0; s < kCount; s++) {
          if (!there[s] && !await(move.source(s), from.at(s), at, bytes, data[s])) return false;
        }
        sum.begin(data[0]);
        HAL_UNROLL
        for (int s = 1; s < kCount; s++) sum.add(data[s]);
      } else {
        Pack<2> data;
        if (!take(move.source(0), from.at(0), at, bytes, data)) return false;
        sum.begin(data);
        for (int s = 1; s < from.count(); s++) {
          if (!take(move.source(s), from.at(s), at, bytes, data)) return false;
          sum.add(data);
        }
      }
      store(at, bytes, sum.result(move.divisor()));
    }
    return true;
  }

  template <int dtype, int op>
  HAL_DEVICE bool reduce() const {
    switch (move.sources()) {
      case 2: return reduce_counted<dtype, op, 2>();
      case 4: return reduce_counted<dtype, op, 4>();
      case 8: return reduce_counted<dtype, op, 8>();
      default: return reduce_counted<dtype, op, 0>();
    }
  }

  // One source, unchanged.
  HAL_DEVICE_CALL bool copy() const {
    Operand source = move.source(0);
    const u8* address = address_of(memory, source, window);
    for (u64 at = u64{lane()} * 8; at < window.bytes; at += u64{lanes()} * 8) {
      u32 bytes = window.bytes - at < 8 ? static_cast<u32>(window.bytes - at) : 8;
      Pack<2> data;
      if (!take(source, address, at, bytes, data)) return false;
      store(at, bytes, data);
    }
    return true;
  }
};

}  // namespace hal::device
