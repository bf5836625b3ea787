// How the ranks of a launch meet: each announces what it calls to every other, and waits for all announcements before
// it ends. So no rank is two launches ahead of another, and all know whether they call the same.
#pragma once
#include <hal/device/watch.h>

namespace hal::device {

struct Offsets {
  u64 input, output;  // in this rank's registered memory, or kUnmapped
};

// By the lanes of one block; the last ones, which have less else to do.
HAL_DEVICE_CALL void announce(const Launch& launch, Offsets own) {
  const u64 words[Header::kParts] = {launch.key.what, launch.key.count, launch.key.plan, own.input, own.output};
  for (u32 m = lanes() - 1 - lane(); m < launch.size; m += lanes()) {
    Header* header = launch.control(m).header(launch.parity, launch.rank);
    // nothing of this launch is stored yet, so that the release has little to wait for
    store_release_8(&header->entered, launch.number);
    for (u32 i = 0; i < Header::kParts; i++) {
      Pack<2> data = {{static_cast<u32>(words[i]), static_cast<u32>(words[i] >> 32)}};
      write_packets(&header->part[i], launch.flag, data);
    }
  }
}

// Wait for one member's announcement. What it did in earlier launches is then done, and visible to this lane.
HAL_DEVICE_CALL bool await_member(const Launch& launch, u32 member, Watch& watch, Stand& stand) {
  Header* header = launch.control(launch.rank).header(launch.parity, member);
  u64 words[Header::kParts];
  bool came = spin(watch, [&] {
    return load_acquire_8(&header->entered) >= launch.number && read_header(launch, member, words);
  });
  if (!came) stand = {Waiting::kArrival, -1, static_cast<i32>(member), 1, 0, -1};
  return came;
}

}  // namespace hal::device
