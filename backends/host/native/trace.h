// Recording what a rank executes: when each instruction began and ended.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace hal {

enum class Event : uint8_t { kInstruction, kPiece, kLoop, kLaunch };

// One thing that was executed. Read by hal_host.recording as it lies here.
struct Record {
  int64_t start, end;  // `now()`
  uint64_t launch;     // the lane's number of the launch
  uint64_t bytes;      // of a move; the count of a launch
  int32_t source;      // the executable's number twice, and one more for its program for mapped buffers
  int32_t block;       // -1: of a launch
  int32_t position;    // of the instruction in its block; of a launch dtype | op << 8
  int32_t piece;       // of the loop around it, or -1
  Event event;
  bool unfinished;  // a failure came first
  uint8_t reserved[6];
};
static_assert(sizeof(Record) == 56);

// The last records of a rank, as many as there is room for. From any thread.
class Recorder {
 public:
  explicit Recorder(uint64_t capacity);

  void add(const Record& record);
  // The records since the last call, in the order of their ends, and how many of them had to give way.
  std::vector<Record> take(uint64_t& dropped);

 private:
  const uint64_t capacity_;
  std::unique_ptr<Record[]> records_;  // left as it comes, so that pages count once they are written
  uint64_t added_ = 0;
  std::mutex mutex_;
};

// When what a block is at began.
struct Track {
  static constexpr int kDepth = 9;  // as Launch::Block has loops
  int64_t instruction = 0;          // 0: it stands before its next one
  int64_t loop[kDepth], piece[kDepth];
};

}  // namespace hal
