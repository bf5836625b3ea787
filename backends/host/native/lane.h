// A lane: the members of a group as one of them sees them, and the launches they run together.
//
// A launch: each member writes what it calls into its header, steps through its program, and is done when it has seen
// that every other member called the same; where it waits for nobody's part, it may look after that a few launches
// later. Counters and headers hold the number of the launch, so that nothing is reset between launches, and a launch that
// failed leaves nothing behind that a later one could mistake.
#pragma once
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "link.h"
#include "program.h"
#include "shared.h"
#include "trace.h"

namespace hal {

struct Member {
  Control* control;
  Counter* counters;   // [member][kChannelSlots]
  Departed* departed;  // [member]
  uint8_t* scratch;    // two halves; then two for packets
  uint8_t* arena;      // where the member's arena is mapped here
  int pid;
  std::shared_ptr<Link> link = nullptr;  // null where its memory is mapped; else all of the above is its mirror
};

struct LaneOptions {
  int spin;    // pauses before yielding the processor
  int yields;  // yields before sleeping
  bool roams;  // whether launches go round in their half of scratch; the same on all members
};

enum class Status { kOk = 0, kMismatch, kFailed, kInterrupted };

// A call that was refused before it did anything.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What the caller wants done in a long call: something before it gives up the processor for the first time (release
// the GIL), and now and then a look whether it is to stop (for a signal).
struct Hooks {
  void (*before_waiting)(void*) = nullptr;
  bool (*interrupted)(void*) = nullptr;
  void* context = nullptr;
};

class Lane {
 public:
  Lane(int rank, std::vector<Member> members, uint64_t arena_bytes, uint64_t scratch_bytes, uint64_t first_launch,
       LaneOptions options);
  // A lane of some members of `parent`, which outlives it. `in_parent`: their ranks there. The two fail together, and
  // the parent watches over the processes.
  Lane(int rank, std::vector<Member> members, uint64_t arena_bytes, uint64_t scratch_bytes, Lane& parent,
       std::vector<int> in_parent);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Make every member's current and later launches fail. The first failure stands.
  void fail(Failure failure, int member);
  void fail(Failure failure, int member, uint64_t launch);
  bool failed() const;
  // Whether a launch of that number cannot go on.
  bool fails(uint64_t number) const;
  void wake_all();
  bool died(int member) const;
  // Touch the others' memory no more, from now on; nothing can be run afterwards. Idempotent.
  void leave();
  // Why nothing can be run, or null.
  const char* unusable() const;
  // Whether the others whose memory is not mapped have completed every launch of this member, or are gone.
  bool settled() const;
  // Whether every member has left or ended, so that this member's memory is nobody else's any more.
  bool deserted() const;
  // Whether a member has ended or left, so that it will do nothing more.
  bool gone(int member) const;
  bool same_process(int member) const { return members[member].pid == members[rank].pid; }
  // Fail where a process has ended that had not left, though it be no member of this lane but of the parent alone.
  bool fail_with_parent();

  int rank;
  int size;
  std::vector<Member> members;
  uint64_t arena_bytes;    // of this member's own arena
  uint64_t scratch_bytes;  // of one half, be it for packets or not
  uint64_t launch;         // the number of the last launch that this member entered
  LaneOptions options;
  bool running = false;
  std::shared_ptr<Recorder> recorder;  // null, unless what is executed is recorded
  uint64_t sleeps = 0, yielded = 0;
  // the addresses of member m's buffer b in launches of each parity: bases[parity][m * 3 + b]
  std::vector<uint8_t*> bases[2];
  std::vector<uint8_t*> in_headers[kHeaders];  // the same where scratch lies in a header; of buffers this member's own
  std::vector<uint64_t> compared;  // for each member the last launch in which it called the same
  uint64_t all_compared;           // up to here all did
  bool gave = false;  // of two members: this one did not wait for the other in the last launch in which it need not

  // Which launch all members must have entered before the one that this member is in runs `program`: until then some
  // may be reading what it writes over.
  uint64_t room_after(const Program& program);

  Control& own() const { return *members[rank].control; }
  Control& common() const { return *members[first_here_].control; }
  // of members that share no memory with this one
  std::vector<Link*> links;

 private:
  void close_pidfds();
  void prepare();
  void tell(const void* at, uint64_t value);  // those whose memory is not mapped

  int first_here_ = 0;  // the first member whose memory is mapped

  Lane* parent_ = nullptr;
  std::vector<int> in_parent_;
  static constexpr int kNone = -1, kEnded = -2;
  std::vector<int> pidfds_;  // a descriptor, or one of these
  bool left_ = false;
  unsigned forks_;

  // the places in scratch that launches have had since the one in `placed_since_`
  uint64_t places_ = 0, place_bytes_ = 0, placed_since_ = 0;
};

// Whether the kernel copies between a buffer and other processes, as it does not with the memory of some drivers. Asked
// once as long as the buffer is the same.
struct Probed {
  bool reachable(const void* buffer, uint64_t nbytes);

 private:
  const void* at_ = nullptr;
  uint64_t bytes_ = 0;
  bool reachable_ = true;
};

// A collective bound to a lane: one program for mapped buffers, one for any, or both.
class Executable {
 public:
  // `single_copy`: the program for mapped buffers reaches plain memory of other members too, and does
  // nothing there but copy. `in_place`: in mapped memory it runs where the output of every member is its input alone.
  Executable(Lane& lane, CallKey key, std::vector<Program> any, std::vector<Program> mapped,
             bool single_copy = false, bool in_place = false);

  Status run(void* input, uint64_t input_bytes, void* output, uint64_t output_bytes, int64_t timeout_ns, Hooks hooks);

  Lane& lane;
  const CallKey key;
  bool ran_mapped = false;  // which program the last run chose
  bool ran_plain = false;   // it reached plain memory of other members
  int32_t number = 0;       // by which records name it

 private:
  Status launch(void* input, uint64_t input_bytes, void* output, uint64_t output_bytes, int64_t timeout_ns, Hooks hooks);
  void check_reachable(const Program& program) const;

  std::vector<Program> any_, mapped_;  // none or one each
  const bool single_copy_, in_place_;
  bool matched_ = false;  // all members have called it together before
  Probed probed_[2];
  uint64_t input_bytes_, output_bytes_;  // what they reach of this member's buffers
};

}  // namespace hal
