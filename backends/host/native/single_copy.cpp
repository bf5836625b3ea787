// Reading the plain memory of other processes: the kernel copies from one to the other, where shared memory would take
// a copy in and a copy out.
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "launch.h"

namespace hal {
namespace {

constexpr uint64_t kTileBytes = 128 << 10;  // of a reduction: it stays in the second-level cache until it is used

// 0, or the errno.
int read_from(int pid, void* to, const uint8_t* from, uint64_t bytes) {
  auto* at = static_cast<uint8_t*>(to);
  while (bytes > 0) {
    iovec local{at, bytes}, remote{const_cast<uint8_t*>(from), bytes};
    ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (got <= 0) return got == 0 ? EFAULT : errno;
    at += got;
    from += got;
    bytes -= static_cast<uint64_t>(got);
  }
  return 0;
}

}  // namespace

bool readable(int pid, uint64_t address) {
  uint64_t word;
  return pid == getpid() || read_from(pid, &word, reinterpret_cast<const uint8_t*>(address), sizeof word) == 0;
}

// Whether an operand lies in plain memory of another process.
bool Launch::is_foreign(const Operand& operand) const {
  auto member = static_cast<int>(operand.base / 3);
  if (!single_copy_ || member == lane_.rank || operand.base % 3 == 2) return false;
  const Header& header = lane_.members[member].control->header[parity_];
  return (operand.base % 3 == 0 ? header.input : header.output) >= kPlain && !lane_.same_process(member);
}

// Read `bytes` of an operand of another process; where that fails, the lane has.
bool Launch::fetch(void* to, const Operand& operand, const uint8_t* from, uint64_t bytes) {
  auto member = static_cast<int>(operand.base / 3);
  int error = read_from(lane_.members[member].pid, to, from, bytes);
  if (error != 0) lane_.fail(error == ESRCH ? Failure::kPeerDied : Failure::kUnreadable, member);
  return error == 0;
}

// A move from plain memory of other processes, whose destinations are this member's or in scratch.
bool Launch::move_foreign(const Instruction& instruction, const Window& window) {
  const Operand* sources = program_->operands.data() + instruction.first;
  const Operand* targets = sources + instruction.count;
  if (instruction.reduce == nullptr) {
    uint8_t* first = address(targets[0], window);
    if (!fetch(first, sources[0], address(sources[0], window), window.bytes)) return false;
    for (uint32_t i = 1; i < instruction.targets; i++) {
      kernels::copy(address(targets[i], window), first, window.bytes, false);
    }
    return true;
  }
  work_.tiles.resize(kTileBytes * instruction.count);
  work_.sources.resize(instruction.count);
  work_.targets.resize(instruction.targets);
  for (uint64_t at = 0; at < window.bytes; at += kTileBytes) {
    uint64_t bytes = std::min(kTileBytes, window.bytes - at);
    for (uint32_t i = 0; i < instruction.count; i++) {
      const uint8_t* from = address(sources[i], window) + at;
      work_.sources[i] = from;
      if (!is_foreign(sources[i])) continue;
      uint8_t* tile = work_.tiles.data() + kTileBytes * i;
      if (!fetch(tile, sources[i], from, bytes)) return false;
      work_.sources[i] = tile;
    }
    for (uint32_t i = 0; i < instruction.targets; i++) work_.targets[i] = address(targets[i], window) + at;
    instruction.reduce(instruction.divisor, work_.sources.data(), static_cast<int>(instruction.count),
                       work_.targets.data(), static_cast<int>(instruction.targets),
                       bytes / static_cast<uint64_t>(program_->itemsize), false);
  }
  return true;
}

}  // namespace hal
