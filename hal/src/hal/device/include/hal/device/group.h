// What the executor kernels of a group share. Every rank has a control block in memory that all others map; others
// write to it, and only its owner reads it while a launch runs, so that waiting never reads remote memory. Everything
// is valid when zero. The host makes and reads these (hal.device.group has the same layout).
//
// Counters, headers and flags hold the number of the launch, so that nothing of this is reset between launches, and a
// launch that failed leaves nothing behind that a later one could mistake.
#pragma once
#include <hal/device/packets.h>
#include <hal/device/port_channel.h>

namespace hal::device {

constexpr u32 kMaxMembers = 64;
constexpr u32 kChannelSlots = 64;    // counters for each ordered pair of members
constexpr int kPhaseBits = 20;       // signals on one channel in one launch fit in these bits of a counter
constexpr u32 kReportEntries = 256;  // blocks that a stall report shows
constexpr u32 kBarriers = 1024, kSemaphores = 1024;
constexpr u64 kUnmapped = ~u64{0};

// Why a launch ended; codes of hal.runtime.stall.Failure and one more.
enum class Stop : u32 { kNone = 0, kStall = 1, kPeerDied = 2, kAborted = 3, kMismatch = 8 };
constexpr int kFailureBits = 4;  // then the member in 16 bits, and from kPhaseBits on the launch

enum class Waiting : i32 { kRunning = 0, kSignal, kArrival, kPacket, kBarrier, kSemaphore, kDone, kPort };

// What a rank calls: words that ranks of a launch must agree on.
struct CallKey {
  u64 what, count, plan;
};

// A member's part in a launch, as it announces it to one other. Two alternate, so that the one of launch k stands until
// launch k+2, which no member enters before all have completed k.
struct alignas(128) Header {
  static constexpr u32 kParts = 5;
  u64 entered;  // the launch; stored with release, so that what this member did in earlier launches is done
  u64 reserved;
  Pack<4> part[kParts];  // packets with the flag of the launch: CallKey, then the offsets of input and output
};
static_assert(sizeof(Header) == 128);

// Where a block stood. The owner writes it when a launch fails or the block is done, for all to read.
struct alignas(64) Entry {
  u64 launch;  // stored last
  i32 waiting, block, position, channel, peer, reserved;
  u64 expected, seen;
};
static_assert(sizeof(Entry) == 64);

// A member's control block, wherever it is mapped.
struct Control {
  u8* base;
  u32 members;

  HAL_DEVICE Header* header(int parity, u32 from) const {
    return reinterpret_cast<Header*>(base) + static_cast<u32>(parity) * members + from;
  }
  HAL_DEVICE u64* counter(u32 from, u32 slot) const {
    return reinterpret_cast<u64*>(base + 2 * members * sizeof(Header)) + from * kChannelSlots + slot;
  }
  HAL_DEVICE u64* failure(u32 from) const { return counter(members, 0) + from; }
  HAL_DEVICE Entry* report() const {
    u64 before = 2 * members * sizeof(Header) + members * (kChannelSlots + 1) * sizeof(u64);
    return reinterpret_cast<Entry*>(base + (before + 127) / 128 * 128);
  }
};

struct Member {
  u8* control;
  u8* scratch;  // two halves; then two for packets, which the words of programs say
  u8* arena;    // where the member's registered memory is mapped here
};

// In host memory, mapped here: what the host says to a running kernel, and what a kernel says when it ends.
struct Host {
  u64 abort;   // not 0: fail at once; Stop | member << kFailureBits
  u64 status;  // launch << kPhaseBits | member << kFailureBits | Stop
};

// In this rank's memory, its own alone: what the blocks of a launch count among themselves. The last block to end sets
// it back to zero, but for the number of launches.
struct Local {
  u64 launch;  // launches that have ended
  u32 finished, failed, mismatched, reserved;
  u64 triggers;  // the head of the queue of a proxy
  u32 barrier[kBarriers];
  u32 taken[kSemaphores], released[kSemaphores];
  u32 claimed[kMaxMembers * kChannelSlots];  // of channels that several blocks use: signals begun,
  u32 sent[kMaxMembers * kChannelSlots];     // signals sent,
  u32 waited[kMaxMembers * kChannelSlots];   // and waited for
};

// In this rank's memory, constant for as long as the group lasts.
struct Group {
  u64 rank, size;
  u64 scratch_bytes;  // of one half
  u64 arena_bytes;    // of this rank's
  Host* host;
  Local* local;
  const Queue* queue;  // null where no proxy serves posts
  u8* multicast;       // null, or multicast memory: the scratch of all members at one address
  Member member[kMaxMembers];

  HAL_DEVICE Control control(u32 of) const { return {member[of].control, static_cast<u32>(size)}; }
};

}  // namespace hal::device
