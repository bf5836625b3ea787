#include "lane.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <stdexcept>

#include "launch.h"
#include "packets.h"

namespace hal {

Lane::Lane(int rank, std::vector<Member> members_, uint64_t arena_bytes, uint64_t scratch_bytes,
           uint64_t first_launch, LaneOptions options)
    : rank(rank),
      size(static_cast<int>(members_.size())),
      members(std::move(members_)),
      arena_bytes(arena_bytes),
      scratch_bytes(scratch_bytes),
      launch(first_launch),
      options(options) {
  if (rank < 0 || rank >= size) throw std::invalid_argument("rank outside its lane");
  for (int parity = 0; parity < 2; parity++) {
    bases[parity].assign(static_cast<size_t>(size) * 3, nullptr);
    for (int m = 0; m < size; m++) bases[parity][m * 3 + 2] = members[m].scratch + parity * scratch_bytes;
  }
  for (const Member& member : members) {
    // a descriptor of the process itself: it becomes readable when the process ends, and cannot mean another one later
    pidfds_.push_back(member.pid == getpid() ? -1 : static_cast<int>(syscall(SYS_pidfd_open, member.pid, 0)));
  }
}

Lane::~Lane() {
  for (int fd : pidfds_) {
    if (fd >= 0) close(fd);
  }
}

bool Lane::died(int member) const {
  pollfd p{pidfds_[member], POLLIN, 0};
  return p.fd >= 0 && poll(&p, 1, 0) == 1;
}

void Lane::fail(Failure failure, int member) {
  uint64_t none = 0;
  uint64_t what = static_cast<uint64_t>(failure) | static_cast<uint64_t>(member) << 8 | launch << 24;
  common().failure.compare_exchange_strong(none, what);
}

void Lane::wake_all() {
  for (const Member& member : members) {
    member.control->doorbell.bell.fetch_add(1);
    syscall(SYS_futex, &member.control->doorbell.bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
}

Executable::Executable(Lane& lane, CallKey key, std::vector<Program> any, std::vector<Program> mapped)
    : lane(lane), key(key), any_(std::move(any)), mapped_(std::move(mapped)) {
  if (any_.size() != 1 || mapped_.size() > 1) throw std::invalid_argument("one program for any buffers is needed");
  if (any_[0].maps_input || any_[0].maps_output) {
    throw std::invalid_argument("the program for any buffers reaches peers' buffers");
  }
}

namespace {

constexpr CallKey kRecycle{255, 0, 0, 0, -1, 0, 0};

// Flags of packets repeat after this many launches. Before they do, all members meet, and each clears its scratch, so
// that no packet of the last round can pass for one of the next.
Status recycle(Lane& lane, int64_t timeout_ns, Hooks hooks) {
  for (int round = 0; round < 2; round++) {
    Launch launch(lane, kRecycle, timeout_ns, hooks);
    launch.enter(nullptr, 0, nullptr, 0);
    if (Status status = launch.meet(); status != Status::kOk) return status;
    lane.own().finished.store(lane.launch, std::memory_order_release);
    if (round == 0) std::memset(lane.members[lane.rank].scratch, 0, 2 * lane.scratch_bytes);
  }
  return Status::kOk;
}

}  // namespace

Status Executable::run(void* input, uint64_t input_bytes, void* output, uint64_t output_bytes, int64_t timeout_ns,
                       Hooks hooks) {
  if (lane.common().failure.load(std::memory_order_acquire) != 0) return Status::kFailed;
  if ((lane.launch + 1) % kPacketFlags == 0) {
    if (Status status = recycle(lane, timeout_ns, hooks); status != Status::kOk) return status;
  }
  Launch launch(lane, key, timeout_ns, hooks);
  launch.enter(input, input_bytes, output, output_bytes);
  if (mapped_.empty()) return launch.run(any_[0]);
  if (Status status = launch.meet(); status != Status::kOk) return status;
  ran_mapped = launch.all_mapped(mapped_[0]);
  return launch.run(ran_mapped ? mapped_[0] : any_[0]);
}

}  // namespace hal
