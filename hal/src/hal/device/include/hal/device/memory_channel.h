// A channel to a rank whose memory is mapped: the lanes of a block load from it and store to it.
#pragma once
#include <hal/device/copy.h>
#include <hal/device/packets.h>
#include <hal/device/semaphore.h>

namespace hal::device {

// Made by the host (hal.device.MemoryChannel) and read by kernels. Offsets and lengths are bytes; all lanes of a block
// make every call.
struct MemoryChannel {
  Semaphore semaphore;
  u8* local;    // this rank's memory
  u8* remote;   // the peer's, as mapped here
  u8* inbox;    // where the peer's packets arrive: this rank's memory
  u8* outbox;   // the peer's inbox

  // Store to the peer's memory. Visible there after a signal.
  HAL_DEVICE void put(u64 dst, u64 src, u64 bytes) const { copy_bytes(remote + dst, local + src, bytes); }
  // Load from the peer's memory, what it wrote before a signal that this block has waited for.
  HAL_DEVICE void get(u64 dst, u64 src, u64 bytes) const { copy_bytes(local + dst, remote + src, bytes); }
  HAL_DEVICE void signal() const { semaphore.signal(); }
  template <class Watch>
  HAL_DEVICE bool wait(Watch& watch) const {
    return semaphore.wait(watch);
  }

  // Single packets, numbered from the beginning of the box; each lane for itself, with no signal. A packet's place may
  // be written again, with another flag, once the sender knows that it was read.
  HAL_DEVICE void send(u64 packet, u32 flag, u32 data) const { write_packet(outbox + packet * 8, flag, data); }
  template <class Watch>
  HAL_DEVICE bool receive(u64 packet, u32 flag, u32& data, Watch& watch) const {
    return spin(watch, [&] { return read_packet(inbox + packet * 8, flag, data); });
  }
};
static_assert(sizeof(MemoryChannel) == 64);

}  // namespace hal::device
