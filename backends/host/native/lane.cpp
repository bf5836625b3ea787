#include "lane.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "clock.h"
#include "launch.h"
#include "packets.h"

namespace hal {
namespace {

// How often this process is a child of a fork: a lane made before that belongs to the parent.
std::atomic<unsigned> forks{0};

constexpr int kTries = 100;  // to tell a peer something, a millisecond apart

const int kForkHandler = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });

}  // namespace

Lane::Lane(int rank, std::vector<Member> members_, uint64_t arena_bytes, uint64_t scratch_bytes,
           uint64_t first_launch, LaneOptions options)
    : rank(rank),
      size(static_cast<int>(members_.size())),
      members(std::move(members_)),
      arena_bytes(arena_bytes),
      scratch_bytes(scratch_bytes),
      launch(first_launch),
      options(options),
      forks_(forks.load(std::memory_order_relaxed)) {
  (void)kForkHandler;
  prepare();
  for (const Member& member : members) {
    // a descriptor of the process itself: it becomes readable when the process ends, and cannot mean another one later
    bool other = member.link == nullptr && member.pid != getpid();
    int fd = other ? static_cast<int>(syscall(SYS_pidfd_open, member.pid, 0)) : kNone;
    if (fd == -1 && other) {
      if (errno != ESRCH) {
        int error = errno;
        close_pidfds();
        throw std::system_error(error, std::generic_category(), "watching process " + std::to_string(member.pid));
      }
      fd = kEnded;
    }
    pidfds_.push_back(fd);
  }
}

Lane::Lane(int rank, std::vector<Member> members_, uint64_t arena_bytes, uint64_t scratch_bytes, Lane& parent,
           std::vector<int> in_parent)
    : rank(rank),
      size(static_cast<int>(members_.size())),
      members(std::move(members_)),
      arena_bytes(arena_bytes),
      scratch_bytes(scratch_bytes),
      launch(0),
      options(parent.options),
      parent_(&parent),
      in_parent_(std::move(in_parent)),
      forks_(parent.forks_) {
  prepare();
  if (in_parent_.size() != members.size()) throw std::invalid_argument("each member needs its rank in the parent");
  for (int member : in_parent_) {
    if (member < 0 || member >= parent.size) throw std::invalid_argument("a member that the parent does not have");
  }
}

void Lane::prepare() {
  if (rank < 0 || rank >= size) throw std::invalid_argument("rank outside its lane");
  for (int parity = 0; parity < 2; parity++) {
    bases[parity].assign(static_cast<size_t>(size) * 3, nullptr);
    for (int m = 0; m < size; m++) bases[parity][m * 3 + 2] = members[m].scratch + parity * scratch_bytes;
  }
  for (int slot = 0; slot < kHeaders; slot++) {
    in_headers[slot].assign(static_cast<size_t>(size) * 3, nullptr);
    for (int m = 0; m < size; m++) in_headers[slot][m * 3 + 2] = members[m].control->header[slot].scratch;
  }
  compared.assign(static_cast<size_t>(size), launch);
  compared[rank] = ~uint64_t{0};
  all_compared = launch;
  while (members[first_here_].link != nullptr) {
    if (++first_here_ == size) throw std::invalid_argument("a member is linked to itself");
  }
  for (const Member& member : members) {
    if (member.link == nullptr) continue;
    links.push_back(member.link.get());
    member.link->add(&own().doorbell);
  }
}

Lane::~Lane() {
  for (Link* link : links) link->remove(&own().doorbell);
  close_pidfds();
}

void Lane::close_pidfds() {
  for (int fd : pidfds_) {
    if (fd >= 0) close(fd);
  }
  pidfds_.clear();
}

bool Lane::died(int member) const {
  if (parent_ != nullptr) return parent_->died(in_parent_[member]);
  if (members[member].link != nullptr) return members[member].link->failed();
  if (pidfds_[member] == kEnded) return true;
  pollfd p{pidfds_[member], POLLIN, 0};
  return p.fd >= 0 && poll(&p, 1, 0) == 1;
}

uint64_t Lane::room_after(const Program& program) {
  if (!program.in_header && (program.places != places_ || program.place_bytes != place_bytes_)) {
    places_ = program.places;
    place_bytes_ = program.place_bytes;
    placed_since_ = launch;
  }
  uint64_t before = launch - std::min(launch, program.ahead);
  // what launches had that were placed otherwise may be anywhere in the half; the last launch had the other half
  return program.in_header ? before : std::max(before, std::min(placed_since_, launch - 1));
}

void Lane::fail(Failure failure, int member) { fail(failure, member, launch); }

void Lane::fail(Failure failure, int member, uint64_t launch) {
  failed();  // where another has told why, that is it: who told may be gone for the same reason
  uint64_t none = 0;
  uint64_t what = static_cast<uint64_t>(failure) | static_cast<uint64_t>(member) << kFailureBits | launch << kPhaseBits;
  if (common().failure.compare_exchange_strong(none, what)) tell(&own().failure, what);
  if (parent_ != nullptr) parent_->fail(failure, in_parent_[member]);
}

// Members that do not hear of it have deadlines of their own.
void Lane::tell(const void* at, uint64_t value) {
  for (Link* link : links) {
    for (int tries = 0; link->publish_value(at, value) == HAL_TRANSPORT_AGAIN && tries < kTries; tries++) {
      link->progress();
      timespec nap{0, 1'000'000};
      nanosleep(&nap, nullptr);
    }
  }
}

bool Lane::failed() const {
  if (common().failure.load(std::memory_order_acquire) != 0) return true;
  for (int member = 0; member < size && !links.empty(); member++) {
    if (members[member].link == nullptr) continue;
    uint64_t what = members[member].control->failure.load(std::memory_order_acquire), none = 0;
    if (what == 0) continue;
    common().failure.compare_exchange_strong(none, what);
    return true;
  }
  return parent_ != nullptr && parent_->failed();
}

bool Lane::fails(uint64_t number) const {
  if (!failed()) return false;
  uint64_t what = common().failure.load(std::memory_order_acquire);
  if (links.empty() || what == 0) return true;
  // Who fails in a later launch has completed this one. What others sent for it may arrive after word of the failure,
  // since connections are not ordered among each other, and is worth the wait.
  bool aborted = static_cast<Failure>(what & ((1 << kFailureBits) - 1)) == Failure::kAborted;
  return aborted || what >> kPhaseBits <= number;
}

bool Lane::fail_with_parent() {
  if (parent_ == nullptr) return false;
  for (int member = 0; member < parent_->size; member++) {
    // in this order: what a member did before it ended is visible once the end is
    if (!parent_->died(member) || parent_->members[member].control->closed.load() != 0) continue;
    parent_->fail(Failure::kPeerDied, member);
    return true;
  }
  return false;
}

void Lane::wake_all() {
  for (const Member& member : members) {
    member.control->doorbell.bell.fetch_add(1);
    syscall(SYS_futex, &member.control->doorbell.bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
}

bool Lane::gone(int member) const {
  if (members[member].control->closed.load(std::memory_order_acquire) != 0) return true;
  return parent_ != nullptr ? parent_->gone(in_parent_[member]) : died(member);
}

void Lane::leave() {
  if (unusable() != nullptr) return;
  left_ = true;
  own().closed.store(1);
  tell(&own().closed, 1);
  for (Link* link : links) link->remove(&own().doorbell);
  wake_all();
  for (const Member& member : members) {
    if (member.link == nullptr) member.departed[rank].store(1, std::memory_order_release);
  }
}

const char* Lane::unusable() const {
  if (forks_ != forks.load(std::memory_order_relaxed)) return "this communicator belongs to the process that forked";
  return left_ ? "this communicator is closed" : nullptr;
}

bool Lane::settled() const {
  for (int member = 0; member < size && !failed(); member++) {
    if (members[member].link == nullptr || gone(member)) continue;
    if (members[member].control->finished.load(std::memory_order_acquire) < own().finished.load()) return false;
  }
  return true;
}

bool Lane::deserted() const {
  for (int member = 0; member < size; member++) {
    if (members[member].link != nullptr) continue;  // it reaches nothing here once its connection is closed
    if (members[rank].departed[member].load(std::memory_order_acquire) == 0 && !died(member)) return false;
  }
  return true;
}

Executable::Executable(Lane& lane, CallKey key, std::vector<Program> any, std::vector<Program> mapped,
                       bool single_copy, bool in_place)
    : lane(lane), key(key), any_(std::move(any)), mapped_(std::move(mapped)), single_copy_(single_copy),
      in_place_(in_place) {
  if (any_.size() != 1 || mapped_.size() > 1) throw std::invalid_argument("one program for any buffers is needed");
  if (any_[0].maps_input || any_[0].maps_output) {
    throw std::invalid_argument("the program for any buffers reaches peers' buffers");
  }
  input_bytes_ = output_bytes_ = 0;
  for (const auto* programs : {&any_, &mapped_}) {
    for (const Program& program : *programs) {
      if (program.rank != lane.rank || program.members != lane.size || program.scratch_bytes != lane.scratch_bytes) {
        throw std::invalid_argument("the program was decoded for another lane");
      }
      if (!lane.links.empty()) check_reachable(program);
      input_bytes_ = std::max(input_bytes_, program.input_bytes);
      output_bytes_ = std::max(output_bytes_, program.output_bytes);
    }
  }
}

void Executable::check_reachable(const Program& program) const {
  if (program.maps_input || program.maps_output) {
    throw std::invalid_argument("a program for mapped buffers, and members whose memory is not mapped");
  }
  for (const auto& block : program.blocks) {
    for (const Instruction& instruction : block) {
      if (instruction.opcode != Opcode::kMove || !instruction.packet_source) continue;
      for (uint32_t i = 0; i < instruction.count; i++) {
        const Operand& source = program.operands[instruction.first + i];
        if (source.packet && lane.members[source.base / 3].link != nullptr) {
          throw std::invalid_argument("packets are awaited in memory that is not mapped");
        }
      }
    }
  }
}

namespace {

constexpr CallKey kRecycle{255, 0, 0, 0, -1, 0, 0};

// Flags of packets repeat after this many launches. Before they do, all members meet, and each clears its packets, so
// that no packet of the last round can pass for one of the next.
Status recycle(Lane& lane, int64_t timeout_ns, Hooks hooks) {
  for (int round = 0; round < 2; round++) {
    Launch launch(lane, kRecycle, timeout_ns, hooks);
    launch.enter(nullptr, 0, nullptr, 0);
    if (Status status = launch.meet(); status != Status::kOk) return status;
    launch.finish();
    uint8_t* packets = lane.members[lane.rank].scratch + 2 * lane.scratch_bytes;
    if (round == 0) std::memset(packets, 0, 2 * lane.scratch_bytes);
  }
  return Status::kOk;
}

}  // namespace

Status Executable::run(void* input, uint64_t input_bytes, void* output, uint64_t output_bytes, int64_t timeout_ns,
                       Hooks hooks) {
  if (input_bytes < input_bytes_ || output_bytes < output_bytes_) {
    throw Refused("the call reaches " + std::to_string(input_bytes_) + " bytes of its input, which has " +
                  std::to_string(input_bytes) + ", and " + std::to_string(output_bytes_) +
                  " of its output, which has " + std::to_string(output_bytes));
  }
  if (timeout_ns <= 0) throw Refused("a timeout above 0 is needed");
  if (lane.failed()) return Status::kFailed;
  if ((lane.launch + 1) % kPacketFlags == 0) {
    if (Status status = recycle(lane, timeout_ns, hooks); status != Status::kOk) return status;
  }
  if (lane.recorder == nullptr) return launch(input, input_bytes, output, output_bytes, timeout_ns, hooks);
  int64_t start = now();
  Status status = launch(input, input_bytes, output, output_bytes, timeout_ns, hooks);
  lane.recorder->add({start, now(), lane.launch, key.count, number * 2 + ran_mapped, -1, key.dtype | key.op << 8, -1,
                      Event::kLaunch, status != Status::kOk, {}});
  return status;
}

Status Executable::launch(void* input, uint64_t input_bytes, void* output, uint64_t output_bytes, int64_t timeout_ns,
                          Hooks hooks) {
  Launch launch(lane, key, timeout_ns, hooks);
  bool plain = single_copy_ && probed_[0].reachable(input, input_bytes) && probed_[1].reachable(output, output_bytes);
  launch.enter(input, input_bytes, output, output_bytes, !mapped_.empty() && !mapped_[0].in_place, plain);
  ran_mapped = ran_plain = false;
  // where this member's own buffers decide, it need not wait to see those of the others
  if (mapped_.empty() || !launch.may_map(mapped_[0], single_copy_, in_place_)) {
    Status status = launch.run(any_[0], number * 2, matched_);
    matched_ |= status == Status::kOk;
    return status;
  }
  if (Status status = launch.meet(); status != Status::kOk) return status;
  bool all_mapped = launch.all_mapped(mapped_[0]);
  ran_plain = single_copy_ && !all_mapped && launch.all_reachable(mapped_[0]);
  ran_mapped = ran_plain || (all_mapped && (!in_place_ || launch.all_in_place()));
  if (ran_plain) launch.reach_plain();
  return launch.run(ran_mapped ? mapped_[0] : any_[0], number * 2 + ran_mapped, false);
}

}  // namespace hal
