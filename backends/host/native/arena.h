// Shared memory of one process: anonymous, private to the user, and gone when the last process that maps it ends.
#pragma once
#include <cstdint>

namespace hal {

class Arena {
 public:
  // A new one. `bytes` is what it may grow to: pages take memory when they are first touched.
  explicit Arena(uint64_t bytes);
  // Map another process's, named by its pid, its descriptor there and its inode. Throws std::system_error.
  Arena(int pid, int fd, uint64_t inode, uint64_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Give the pages of a range back to the system; they read as zero afterwards.
  void discard(uint64_t offset, uint64_t bytes);

  uint8_t* base = nullptr;
  uint64_t bytes;
  uint64_t inode = 0;
  int fd = -1;

 private:
  // `inode` is that of the descriptor, where it is known.
  void map(uint64_t inode = 0);
};

}  // namespace hal
