// LL packets: 4 bytes of data and the 4-byte flag of the launch in one 8-byte word, so that whoever sees the flag has
// the data. Loads and stores are single 8-byte accesses.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>

namespace hal {

using Packet = std::atomic<uint64_t>;

// Fresh memory holds no flag, so that 0 is none.
constexpr uint64_t kPacketFlags = 0xffffffff;
inline uint32_t packet_flag(uint64_t launch) { return static_cast<uint32_t>(launch % kPacketFlags + 1); }

inline uint64_t packets_for(uint64_t bytes) { return (bytes + 3) / 4; }

// How many of the packets from `from` on, up to `count`, carry the flag without a gap.
inline uint64_t packets_seen(const uint8_t* memory, uint64_t from, uint64_t count, uint32_t flag) {
  auto* packet = reinterpret_cast<const Packet*>(memory);
  while (from < count && static_cast<uint32_t>(packet[from].load(std::memory_order_acquire) >> 32) == flag) from++;
  return from;
}

inline void unpack(uint8_t* data, const uint8_t* memory, uint64_t bytes) {
  auto* packet = reinterpret_cast<const Packet*>(memory);
  uint64_t whole = bytes / 4;
  for (uint64_t i = 0; i < whole; i++) {
    auto word = static_cast<uint32_t>(packet[i].load(std::memory_order_relaxed));
    std::memcpy(data + i * 4, &word, 4);
  }
  if (bytes % 4) {
    auto word = static_cast<uint32_t>(packet[whole].load(std::memory_order_relaxed));
    std::memcpy(data + whole * 4, &word, bytes % 4);
  }
}

inline void pack(uint8_t* memory, const uint8_t* data, uint64_t bytes, uint32_t flag) {
  auto* packet = reinterpret_cast<Packet*>(memory);
  uint64_t high = static_cast<uint64_t>(flag) << 32, whole = bytes / 4;
  for (uint64_t i = 0; i < whole; i++) {
    uint32_t word;
    std::memcpy(&word, data + i * 4, 4);
    packet[i].store(high | word, std::memory_order_release);
  }
  if (bytes % 4) {
    uint32_t word = 0;
    std::memcpy(&word, data + whole * 4, bytes % 4);
    packet[whole].store(high | word, std::memory_order_release);
  }
}

}  // namespace hal
