// What a lane of the executor looks at while it waits, and what it remembers of where it stood.
#pragma once
#include <hal/device/group.h>

namespace hal::device {

// One lane's view of a launch.
struct Launch {
  const Group* group;
  u32 rank, size;
  u64 number;
  int parity;
  u32 flag;
  CallKey key;
  u64 deadline;

  HAL_DEVICE Control control(u32 of) const { return group->control(of); }
  HAL_DEVICE u64 phase(u64 signals) const { return number << kPhaseBits | signals; }
};

// Where a lane has given up.
struct Stand {
  Waiting waiting = Waiting::kRunning;
  i32 channel = -1, peer = -1;
  u64 expected = 0, seen = 0;
  i32 position = -1;  // of the instruction in its block
};

HAL_DEVICE bool read_header(const Launch& launch, u32 member, u64 (&words)[Header::kParts]) {
  const Header* header = launch.control(launch.rank).header(launch.parity, member);
  bool whole = true;
  for (u32 i = 0; i < Header::kParts; i++) {
    Pack<2> data;
    whole = read_packets(&header->part[i], launch.flag, data) && whole;
    words[i] = static_cast<u64>(data.word[1]) << 32 | data.word[0];
  }
  return whole;
}

HAL_DEVICE bool same_call(const CallKey& key, const u64 (&words)[Header::kParts]) {
  return words[0] == key.what && words[1] == key.count && words[2] == key.plan;
}

// Ends this lane's waiting: a deadline, the host, another rank's failure, or ranks that call different things.
struct Watch {
  const Launch* launch;
  Stop stop = Stop::kNone;
  u32 member = 0;              // whom the stop is about
  bool told = false;           // another rank has told everybody already
  bool ignore_mismatch = false;

  HAL_DEVICE_CALL bool look() {
    if (stop != Stop::kNone) return true;
    Control own = launch->control(launch->rank);
    for (u32 m = 0; m < launch->size; m++) {
      u64 failure = load_relaxed_8(own.failure(m));
      if (failure != 0) {
        told = true;
        return end(failure);
      }
    }
    u64 abort = load_relaxed_8(&launch->group->host->abort);
    if (abort != 0) return end(abort);
    if (clock_ns() >= launch->deadline) return end(static_cast<u64>(Stop::kStall) | launch->rank << kFailureBits);
    for (u32 m = 0; m < launch->size && !ignore_mismatch; m++) {
      u64 words[Header::kParts];
      if (read_header(*launch, m, words) && !same_call(launch->key, words)) {
        return end(static_cast<u64>(Stop::kMismatch) | m << kFailureBits);
      }
    }
    return false;
  }

 private:
  HAL_DEVICE bool end(u64 why) {
    stop = static_cast<Stop>(why & ((1 << kFailureBits) - 1));
    member = static_cast<u32>(why >> kFailureBits) & 0xffff;
    return true;
  }
};

}  // namespace hal::device
