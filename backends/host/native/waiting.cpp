// How a launch waits: spin, then yield the processor, then sleep until a peer rings; and how it fails.
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "clock.h"
#include "fence.h"
#include "launch.h"

namespace hal {
namespace {

constexpr int64_t kNap = 10'000'000;            // ns asleep at most before looking whether all peers live
constexpr int64_t kPollNap = 50'000;      // the same, where somebody must ask the transport whether anything arrived
constexpr int64_t kReportPatience = 300'000'000;  // ns to wait for the others' stall reports
constexpr int kYieldsBetweenChecks = 16;
constexpr uint64_t kNapsBetweenSignals = 8;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t value, int64_t ns) {
  timespec t{ns / 1'000'000'000, ns % 1'000'000'000};
  syscall(SYS_futex, &word, FUTEX_WAIT, value, &t, nullptr, 0);
}

}  // namespace

void Launch::bell(int member) {
  Doorbell& door = lane_.members[member].control->doorbell;
  if (door.sleeping.load(std::memory_order_relaxed) == 0) return;
  door.bell.fetch_add(1, std::memory_order_relaxed);
  syscall(SYS_futex, &door.bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// After a store that others may sleep for.
void Launch::bell_others() {
  light_fence();
  if (lane_.common().sleepers.load(std::memory_order_relaxed) == 0) return;
  for (int member = 0; member < lane_.size; member++) {
    if (member != lane_.rank) bell(member);
  }
}

// Called whenever nothing can go on; returns to look again.
Status Launch::idle() {
  idle_++;
  if (idle_ <= lane_.options.spin) {
    pause();
    return Status::kOk;
  }
  begin_waiting();
  for (Link* link : lane_.links) {
    if (link->polled()) link->progress();
  }
  if (Status status = check(); status != Status::kOk) return status;
  if (idle_ <= lane_.options.spin + lane_.options.yields) {
    lane_.yielded++;
    sched_yield();
    if (idle_ % kYieldsBetweenChecks != 0 || now() < deadline_) return Status::kOk;
    lane_.fail(Failure::kStall, lane_.rank);
    return failed();
  }
  return sleep();
}

void Launch::begin_waiting() {
  if (deadline_ != 0) return;
  if (hooks_.before_waiting != nullptr) hooks_.before_waiting(hooks_.context);
  deadline_ = now() + timeout_ns_;
}

Status Launch::sleep() {
  Doorbell& door = lane_.own().doorbell;
  if (asleep_) {
    if (++lane_.sleeps % kNapsBetweenSignals == 0 && hooks_.interrupted != nullptr &&
        hooks_.interrupted(hooks_.context)) {
      lane_.fail(Failure::kAborted, lane_.rank);
      lane_.wake_all();
      return Status::kInterrupted;
    }
    bool polls = std::any_of(lane_.links.begin(), lane_.links.end(), [](Link* link) { return link->polled(); });
    futex_wait(door.bell, bell_, std::clamp<int64_t>(deadline_ - now(), 1, polls ? kPollNap : kNap));
    for (int member = 0; member < lane_.size; member++) {
      // in this order: what a member did before it ended is visible once the end is
      if (!lane_.gone(member) || lane_.members[member].control->finished.load() >= number_) continue;
      if (lane_.fails(number_)) return failed();  // it has left since another one has
      lane_.fail(Failure::kPeerDied, member);
      return failed();
    }
    if (lane_.fail_with_parent()) return failed();
    if (now() >= deadline_) {
      lane_.fail(Failure::kStall, lane_.rank);
      return failed();
    }
  } else {
    asleep_ = true;
    door.sleeping.store(1, std::memory_order_relaxed);
    lane_.common().sleepers.fetch_add(1, std::memory_order_relaxed);
    heavy_fence();
  }
  // a ring after this ends the next sleep at once; the caller looks once more before it
  bell_ = door.bell.load(std::memory_order_acquire);
  return Status::kOk;
}

void Launch::awake() {
  if (!asleep_) return;
  asleep_ = false;
  lane_.own().doorbell.sleeping.store(0, std::memory_order_relaxed);
  lane_.common().sleepers.fetch_sub(1, std::memory_order_relaxed);
}

// What can end a wait other than what is waited for.
Status Launch::check() {
  if (lane_.fails(number_)) return failed();
  if (mismatch_) return Status::kOk;  // `disagree` is collecting what everybody says
  for (int member = 0; member < lane_.size; member++) {
    arrived(member, number_);
    if (mismatch_) return disagree();
  }
  return Status::kOk;
}

// Wait until every member has announced its call in this launch or an earlier one, and compare.
Status Launch::await_all(uint64_t launch) {
  if (lane_.all_compared >= launch) return Status::kOk;
  for (int member = 0; member < lane_.size; member++) {
    if (lane_.compared[member] >= launch) continue;
    awaited_ = member;
    while (!arrived(member, launch)) {
      if (Status status = idle(); status != Status::kOk) return status;
    }
    idle_ = 0;
    awake();
  }
  awaited_ = -1;
  lane_.all_compared = launch;
  return mismatch_ ? disagree() : Status::kOk;
}

// Some member calls something else. Everybody finds that out; wait until all have said what they call, so that every
// rank can report all of it. Where this member has gone on since, the lane is of no use any more.
Status Launch::disagree() {
  if (mismatched_ < number_) {
    lane_.fail(Failure::kMismatch, lane_.rank, mismatched_);
    return failed();
  }
  announce();
  for (int member = 0; member < lane_.size; member++) {
    awaited_ = member;
    while (!arrived(member, number_)) {
      if (Status status = idle(); status != Status::kOk) return status;
    }
  }
  // those that still collect what the others say need this member no more
  finish();
  return Status::kMismatch;
}

void Launch::write_report() {
  Report& report = lane_.own().report;
  report.entries = 0;
  if (awaited_ >= 0) {
    report.entry[report.entries++] = {Waiting::kArrival, -1, -1, -1, awaited_, 1, 0};
  } else if (program_ != nullptr) {
    for (size_t i = 0; i < work_.blocks.size() && report.entries < kReportEntries; i++) {
      const Block& block = work_.blocks[i];
      ReportEntry& entry = report.entry[report.entries++];
      entry.waiting = block.done() ? Waiting::kDone : block.waiting;
      entry.block = static_cast<int32_t>(i);
      entry.instruction = block.done() ? -1 : (*block.code)[block.at].position;
      entry.channel = block.channel;
      entry.peer = block.peer;
      entry.expected = block.expected;
      entry.seen = block.seen;
    }
  }
  report.launch.store(number_, std::memory_order_release);
  if (!lane_.links.empty()) publish_report();
}

// Say where this member stands, wake the others to do the same, and give them a moment for it.
Status Launch::failed() {
  awake();
  write_report();
  announce();
  lane_.wake_all();
  int64_t patience = now() + kReportPatience;
  for (int member = 0; member < lane_.size; member++) {
    const Control& other = *lane_.members[member].control;
    auto owes_report = [&] {
      bool here = other.header[slot_].phase.load(std::memory_order_acquire) >> kPhaseBits == number_;
      bool done = other.finished.load(std::memory_order_acquire) >= number_ || lane_.died(member);
      return here && !done && other.report.launch.load(std::memory_order_acquire) != number_;
    };
    while (owes_report() && now() < patience) {
      timespec nap{0, 1'000'000};
      nanosleep(&nap, nullptr);
    }
  }
  return Status::kFailed;
}

}  // namespace hal
