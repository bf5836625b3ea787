// One launch: the state of its blocks, and the loop that steps them until all are done.
#pragma once
#include "lane.h"

namespace hal {

class Launch {
 public:
  Launch(Lane& lane, const CallKey& key, int64_t timeout_ns, Hooks hooks);
  ~Launch() { awake(); }
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  // Take the buffers of this call; others see them and the call with the first signal, or when `announce` is called.
  // `apart`: buffers that share memory are not mapped. `plain`: others may reach them in plain memory.
  void enter(void* input, uint64_t input_bytes, void* output, uint64_t output_bytes, bool apart = false,
             bool plain = false);
  void announce();
  // Wait until every member has announced the same call; after that their buffers are known.
  Status meet();
  // Say that this member has completed it.
  void finish();
  // Whether all members' buffers that the program reaches are mapped; or are at least in plain memory that the kernel
  // copies, which `reach_plain` has it do.
  bool all_mapped(const Program& program) const { return all_below(kPlain, program); }
  bool all_reachable(const Program& program) const { return all_below(kUnmapped, program); }
  bool all_in_place() const;
  // Whether this member's own buffers leave that open. `plain`, `in_place`: as the executable says of its program.
  bool may_map(const Program& program, bool plain, bool in_place) const;
  void reach_plain() { single_copy_ = true; }
  // `source` is what records of it name. `go_on`: where the program leaves that open, this member is done with its own
  // part, and compares what the others call later.
  Status run(const Program& program, int32_t source, bool go_on);

 private:
  struct Loop {
    const Instruction* at;
    int32_t piece;
  };
  struct Window {
    uint64_t begin = 0, bytes = 0, slot = 0;  // of an operand's range; slot: offset in a scratch chunk
  };
  struct Block {
    const std::vector<Instruction>* code;
    uint32_t at;
    uint32_t part;       // channels waited for so far
    uint64_t ready;      // packets seen so far, of the current source
    bool arrived;        // at the barrier
    bool pulling;        // sources of remote members are being fetched
    int32_t generation;  // of the barrier, when it arrived
    int depth;
    Waiting waiting;
    int32_t channel, peer;
    uint64_t expected, seen;
    Loop loops[9];
    bool done() const { return at == code->size(); }
    // Field by field: what a string instruction has stored can be loaded only after all stores before it have reached
    // the cache, and one of these is to a line that the others hold.
    void begin(const std::vector<Instruction>& program) {
      code = &program;
      at = part = 0;
      ready = 0;
      arrived = pulling = false;
      generation = 0;
      depth = 0;
      waiting = Waiting::kRunning;
      channel = peer = -1;
      expected = seen = 0;
    }
  };
  struct Meeting {
    int32_t arrived = 0, generation = 0;
  };

  template <bool kTraced>
  Status run_blocks();
  bool goes_on();
  template <bool kTraced>
  bool step(Block& block);
  bool wait(Block& block, const Instruction& instruction);
  void signal(const Instruction& instruction);
  bool move(Block& block, const Instruction& instruction);
  void move_plain(const Instruction& instruction, const Window& window);
  bool is_others_scratch(const Operand& operand) const;
  void add_claimed(const Instruction& instruction, const Operand* operands);
  void move_packets(const Instruction& instruction, const Window& window);
  bool packets_ready(Block& block, const Instruction& instruction, const Window& window);
  bool barrier(Block& block, const Instruction& instruction);
  bool stand(Block& block, Waiting waiting, int channel, int peer, uint64_t expected, uint64_t seen);

  // Recording, in trace.cpp
  void trace_begin(const Block& block);
  void trace_end(const Block& block, const Instruction& instruction, bool unfinished);
  void trace_piece(const Block& block, bool unfinished);
  void trace_failure();

  // For members whose memory is not mapped, in remote.cpp
  template <typename Post>
  void insist(Link& link, Post post);
  void publish_header();
  void publish_value(int member, const void* at, uint64_t value);
  void publish_report();
  void push(const Instruction& instruction, const Window& window);
  bool pulled(Block& block, const Instruction& instruction, const Window& window);

  // Plain memory of other processes, in single_copy.cpp
  bool is_foreign(const Operand& operand) const;
  template <typename Call>
  bool reach(Call call, const Operand& operand, const void* here, const uint8_t* there, uint64_t bytes);
  bool copy_foreign(const Instruction& instruction, const Window& window);

  bool arrived(int member, uint64_t launch);
  void locate(int member, const Header& other);
  void store_phase();
  bool all_below(uint64_t limit, const Program& program) const;
  // Waiting, in waiting.cpp
  Status idle();
  void begin_waiting();
  Status sleep();
  Status check();
  Status await_all(uint64_t launch);
  Status disagree();
  Status failed();
  void awake();
  void write_report();
  void bell(int member);
  void bell_others();
  uint64_t phase(uint64_t signals) const { return number_ << kPhaseBits | signals; }
  uint8_t* address(const Operand& operand, const Window& window) const;

  Lane& lane_;
  const CallKey& key_;
  const int64_t timeout_ns_;
  const Hooks hooks_;
  const uint64_t number_;
  const int parity_;  // of the launch: which half of scratch
  const int slot_;    // which header
  Header& header_;
  uint32_t flag_;
  uint64_t input_ = kUnmapped, output_ = kUnmapped;  // where the buffers lie, for the header
  bool announced_ = false;
  bool single_copy_ = false;
  bool unsent_ = false;     // a queue stayed full until the deadline or a failure
  bool published_ = false;  // the header, to members whose memory is not mapped
  uint64_t signals_ = 0;
  int64_t deadline_ = 0;  // set when waiting begins in earnest
  int idle_ = 0;
  bool asleep_ = false;
  uint32_t bell_ = 0;  // of the own doorbell, before the last look at what is awaited
  bool mismatch_ = false;
  uint64_t mismatched_ = 0;  // the launch in which; an earlier one where this member had gone on
  int awaited_ = -1;  // the member whose arrival is waited for, where no block waits

  const Program* program_ = nullptr;
  uint8_t* const* bases_ = nullptr;  // of the operands of the program
  int32_t source_ = 0;
  bool go_on_ = false;

  // The state of a launch that needs room; each thread keeps one, so that calls do not allocate.
  struct Workspace {
    std::vector<uint64_t> signalled;  // per member and slot, in this launch
    std::vector<uint64_t> waited;     // per member and slot; the sender's common counter uses slot 0
    std::vector<Block> blocks;
    std::vector<Meeting> meetings;
    std::vector<int32_t> semaphores;
    std::vector<const void*> sources;
    std::vector<void*> targets;
    std::vector<uint8_t> tiles;
    std::vector<uint64_t> pulls;  // per member: what is to be completed before a fetch is
    std::vector<Track> tracks;  // per block, where it is recorded
  };
  static Workspace& workspace();
  Workspace& work_;
};

// Whether this process may read and write memory of another; `address` is one there.
bool readable(int pid, uint64_t address);

}  // namespace hal
