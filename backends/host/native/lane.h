// A lane: the members of a group as one of them sees them, and the launches they run together.
//
// A launch: each member writes what it calls into its header, steps through its program, and is done when it has seen
// that every other member called the same. Counters and headers hold the number of the launch, so that nothing is
// reset between launches, and a launch that failed leaves nothing behind that a later one could mistake.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "program.h"
#include "shared.h"

namespace hal {

struct Member {
  Control* control;
  Counter* counters;  // [member][kChannelSlots]
  uint8_t* scratch;   // two halves
  uint8_t* arena;     // where the member's arena is mapped here
  int pid;
};

struct LaneOptions {
  int spin;    // pauses before yielding the processor
  int yields;  // yields before sleeping
};

enum class Status { kOk = 0, kMismatch, kFailed, kInterrupted };

// What the caller wants done in a long call: something before it gives up the processor for the first time (release
// the GIL), and now and then a look whether it is to stop (for a signal).
struct Hooks {
  void (*before_waiting)(void*) = nullptr;
  bool (*interrupted)(void*) = nullptr;
  void* context = nullptr;
};

class Lane {
 public:
  Lane(int rank, std::vector<Member> members, uint64_t arena_bytes, uint64_t scratch_bytes, uint64_t first_launch, LaneOptions options);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Make every member's current and later launches fail. The first failure stands.
  void fail(Failure failure, int member);
  void wake_all();
  bool died(int member) const;
  // Whether a member has ended or left, so that it will do nothing more.
  bool gone(int member) const { return members[member].control->closed.load(std::memory_order_acquire) || died(member); }

  int rank;
  int size;
  std::vector<Member> members;
  uint64_t arena_bytes;    // of this member's own arena
  uint64_t scratch_bytes;  // of one half
  uint64_t launch;         // the number of the last launch that this member entered
  LaneOptions options;
  bool running = false;
  uint64_t sleeps = 0, yielded = 0;
  // the addresses of member m's buffer b in launches of each parity: bases[parity][m * 3 + b]
  std::vector<uint8_t*> bases[2];

  Control& own() const { return *members[rank].control; }
  Control& common() const { return *members[0].control; }

 private:
  std::vector<int> pidfds_;
};

// A collective bound to a lane: one program for mapped buffers, one for any, or both.
class Executable {
 public:
  Executable(Lane& lane, CallKey key, std::vector<Program> any, std::vector<Program> mapped);

  Status run(void* input, uint64_t input_bytes, void* output, uint64_t output_bytes, int64_t timeout_ns, Hooks hooks);

  Lane& lane;
  const CallKey key;
  bool ran_mapped = false;  // which program the last run chose

 private:
  std::vector<Program> any_, mapped_;  // none or one each
};

}  // namespace hal
