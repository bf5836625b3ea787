// What lies in shared memory: the control block of each member of a lane. Everything here has one writer unless said
// otherwise, and is valid when zero, as fresh shared memory is.
#pragma once
#include <atomic>
#include <cstdint>

namespace hal {

constexpr int kChannelSlots = 64;   // counters for each ordered pair of members
constexpr int kReportEntries = 32;  // blocks a stall report shows
constexpr int kPhaseBits = 20;      // signals on one channel in one launch fit in these bits of a counter

// What a rank calls. Ranks of a launch must agree on all of it.
struct CallKey {
  uint8_t collective, dtype, op, reserved;
  int32_t root;
  uint64_t count;
  uint64_t plan;
  bool operator==(const CallKey&) const = default;
};
static_assert(sizeof(CallKey) == 24);

// A member whose part in a launch is done may go on while others have not entered it, or have not compared it: by so many
// launches. Each has compared what the others called in launch k before it enters k+4, and writes the header of k
// anew in k+8, which it enters when all have entered k+4.
constexpr int kAhead = 4, kHeaders = 2 * kAhead;

constexpr uint64_t kUnmapped = ~uint64_t{0};
constexpr uint64_t kPlain = uint64_t{1} << 63;

// Announces a member's part in a launch. They are used in turn.
struct alignas(128) Header {
  std::atomic<uint64_t> phase;  // launch << kPhaseBits | signals to all so far; stored last, with release
  CallKey key;
  uint64_t input, output;  // offsets in the member's arena; kPlain and an address of its process; or kUnmapped
  // Where the plan needs no more scratch than this, it lies here: who sees the signal has the data at hand.
  uint8_t scratch[80];
};
static_assert(sizeof(Header) == 128);

// Where a waiting member sleeps. `sleeping` is the member's own; others add to `bell`.
struct alignas(128) Doorbell {
  std::atomic<uint32_t> sleeping;
  std::atomic<uint32_t> bell;
};

enum class Waiting : int32_t { kRunning, kSignal, kArrival, kPacket, kBarrier, kSemaphore, kDone, kPort };

struct ReportEntry {
  Waiting waiting;
  int32_t block;
  int32_t instruction;  // its number in the block, those inside loops counted
  int32_t channel;
  int32_t peer;
  uint64_t expected, seen;
};

// Where a member's blocks stood when a launch failed.
struct alignas(128) Report {
  std::atomic<uint64_t> launch;  // stored last
  int32_t entries;
  ReportEntry entry[kReportEntries];
};

enum class Failure : uint32_t { kNone, kStall, kPeerDied, kAborted, kUnreachable, kMismatch };
constexpr int kFailureBits = 4;

struct Control {
  Header header[kHeaders];
  Doorbell doorbell;
  // those of the first member of a host serve all members there; all of these write them
  alignas(128) std::atomic<uint64_t> failure;  // Failure | member << kFailureBits | launch << kPhaseBits; set once
  alignas(128) std::atomic<uint32_t> sleepers;
  alignas(128) std::atomic<uint64_t> finished;  // the last launch that the member has completed
  std::atomic<uint64_t> closed;                 // the member has left; it enters no further launch
  Report report;
  // followed by: Counter counter[member][kChannelSlots]; Departed departed[member]; two halves of scratch; two for packets
};

// A counter for the signals to one other member: launch << kPhaseBits | signals so far in it.
using Counter = std::atomic<uint64_t>;

// Set by each member in every other's memory as the last thing that it does there. Once all have, the memory is its
// owner's alone, and may be freed without a look at that of the others, who may have freed theirs.
using Departed = std::atomic<uint32_t>;

}  // namespace hal
