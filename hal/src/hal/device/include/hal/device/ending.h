// How a launch ends: a block says that it is done or where it gave up, and the last one of the rank puts everything
// back in order for the next launch.
#pragma once
#include <hal/device/meeting.h>
#include <hal/device/program.h>

namespace hal::device {

struct Ending {
  const Launch& launch;
  BlockMemory& memory;
  Code code, mapped;  // either may have run, the second may be null
  const Watch& watch;
  const Stand& stand;
  u32 blocks;  // of the grid

  // All lanes call it; `stopped` is the same for all.
  HAL_DEVICE_CALL void finish(bool stopped) {
    Local& local = *launch.group->local;
    if (stopped) {
      give_up();
    } else if (lane() == 0) {
      write_entry(Waiting::kDone);
    }
    block_barrier();
    bool last = false;
    if (lane() == 0) last = atomic_add_4(&local.finished, 1) + 1 == blocks;
    if (block_any(last)) clean_up(local);
  }

 private:
  HAL_DEVICE Entry* entry() const {
    return block_index() < kReportEntries ? launch.control(launch.rank).report() + block_index() : nullptr;
  }

  HAL_DEVICE void write_entry(Waiting waiting) const {
    Entry* at = entry();
    if (at == nullptr) return;
    at->waiting = static_cast<i32>(waiting);
    at->block = waiting == Waiting::kArrival ? -1 : static_cast<i32>(block_index());
    at->position = stand.position;
    at->channel = stand.channel;
    at->peer = stand.peer;
    at->expected = stand.expected;
    at->seen = stand.seen;
    store_release_8(&at->launch, launch.number);
  }

  // The lane that stands furthest behind speaks for the block.
  HAL_DEVICE_CALL void give_up() {
    bool stands = watch.stop != Stop::kNone;
    u64 where = static_cast<u64>(static_cast<u32>(stand.position)) << 32 | (stand.seen & 0xffffffff);
    block_barrier();
    memory.word[lane()] = static_cast<i64>(stands ? where >> 1 : ~u64{0} >> 1);
    block_barrier();
    if (lane() == 0) {
      u32 reporter = 0;
      for (u32 i = 1; i < lanes(); i++) {
        if (memory.word[i] < memory.word[reporter]) reporter = i;
      }
      memory.reporter = reporter;
    }
    block_barrier();
    if (lane() != memory.reporter) return;
    write_entry(stand.waiting);
    Local& local = *launch.group->local;
    if (watch.stop == Stop::kMismatch) {
      store_relaxed_4(&local.mismatched, 1);
      return;
    }
    u64 failure = static_cast<u64>(watch.stop) | u64{watch.member} << kFailureBits;
    store_relaxed_4(&local.failed, static_cast<u32>(failure));
    if (watch.told) return;
    // everybody's own memory says so, where their blocks look while they wait
    for (u32 m = 0; m < launch.size; m++) {
      store_release_8(launch.control(m).failure(launch.rank), failure | launch.number << kPhaseBits);
    }
  }

  HAL_DEVICE void reset(Local& local, Code used) const {
    for (u32 i = lane(); i < used.barriers(); i += lanes()) store_relaxed_4(&local.barrier[i], 0);
    for (u32 i = lane(); i < used.semaphores(); i += lanes()) {
      store_relaxed_4(&local.taken[i], 0);
      store_relaxed_4(&local.released[i], 0);
    }
    u32 counts = used.has(Code::kCountsInBlocks) ? 0 : launch.size * used.slots();
    for (u32 i = lane(); i < counts; i += lanes()) {
      store_relaxed_4(&local.claimed[i], 0);
      store_relaxed_4(&local.sent[i], 0);
      store_relaxed_4(&local.waited[i], 0);
    }
  }

  // Everybody else has ended.
  HAL_DEVICE void clean_up(Local& local) {
    u32 failed = load_relaxed_4(&local.failed), mismatched = load_relaxed_4(&local.mismatched);
    block_barrier();
    reset(local, code);
    if (mapped.words != nullptr) reset(local, mapped);
    if (lane() != 0) return;
    store_relaxed_4(&local.failed, 0);
    store_relaxed_4(&local.mismatched, 0);
    store_relaxed_4(&local.finished, 0);
    store_relaxed_8(&local.launch, launch.number);
    u64 outcome = failed != 0 ? failed : mismatched != 0 ? static_cast<u64>(Stop::kMismatch) : 0;
    store_release_8(&launch.group->host->status, launch.number << kPhaseBits | outcome);
  }
};

}  // namespace hal::device
