// LL packets: 4 bytes of data beside 4 bytes of flag, so that whoever sees the flag has the data. One packet is read
// and written by an 8-byte access; two neighbours, where they lie at a multiple of 16, by a 16-byte one. The form in
// memory is the same, so that one side may use either.
#pragma once
#include <intrinsics.h>

#include <hal/device/types.h>

namespace hal::device {

// The flag of a launch. Fresh memory holds no flag, so that 0 is none.
constexpr u64 kPacketFlags = 0xffffffff;
HAL_DEVICE u32 packet_flag(u64 launch) { return static_cast<u32>(launch % kPacketFlags + 1); }

HAL_DEVICE u64 packets_for(u64 bytes) { return (bytes + 3) / 4; }

// Read the packet at `at`; whether its flag was there.
HAL_DEVICE bool read_packet(const void* at, u32 flag, u32& data) {
  u64 packet = load_relaxed_8(static_cast<const u64*>(at));
  data = static_cast<u32>(packet);
  return static_cast<u32>(packet >> 32) == flag;
}

HAL_DEVICE void write_packet(void* at, u32 flag, u32 data) {
  store_relaxed_8(static_cast<u64*>(at), static_cast<u64>(flag) << 32 | data);
}

// Two packets at a multiple of 16.
HAL_DEVICE bool read_packets(const void* at, u32 flag, Pack<2>& data) {
  Pack<4> both = load_packets_16(at);
  data.word[0] = both.word[0];
  data.word[1] = both.word[2];
  return both.word[1] == flag && both.word[3] == flag;
}

HAL_DEVICE void write_packets(void* at, u32 flag, Pack<2> data) {
  Pack<4> both;
  both.word[0] = data.word[0];
  both.word[1] = flag;
  both.word[2] = data.word[1];
  both.word[3] = flag;
  store_packets_16(at, both);
}

}  // namespace hal::device
