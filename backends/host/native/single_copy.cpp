// Reading and writing the plain memory of other processes: the kernel copies from one to the other, where shared memory
// would take a copy in and a copy out.
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "launch.h"

namespace hal {
namespace {

constexpr uint64_t kMostBytes = 4 << 20;  // at a time: the owner of memory may take it back once the launch has failed

// Between `here` and memory of another process, by process_vm_readv or process_vm_writev; 0, or the errno.
template <typename Call>
int transfer(Call call, int pid, const void* here, const uint8_t* there, uint64_t bytes) {
  auto* at = static_cast<uint8_t*>(const_cast<void*>(here));
  while (bytes > 0) {
    iovec local{at, bytes}, remote{const_cast<uint8_t*>(there), bytes};
    ssize_t done = call(pid, &local, 1, &remote, 1, 0);
    if (done <= 0) return done == 0 ? EFAULT : errno;
    at += done;
    there += done;
    bytes -= static_cast<uint64_t>(done);
  }
  return 0;
}

}  // namespace

bool readable(int pid, uint64_t address) {
  uint64_t word;
  auto* there = reinterpret_cast<const uint8_t*>(address);
  return pid == getpid() || transfer(process_vm_readv, pid, &word, there, sizeof word) == 0;
}

bool Probed::reachable(const void* buffer, uint64_t nbytes) {
  if (buffer == at_ && nbytes == bytes_) return reachable_;
  at_ = buffer;
  bytes_ = nbytes;
  auto* first = static_cast<const uint8_t*>(buffer);
  uint8_t byte;
  reachable_ = nbytes == 0 || (transfer(process_vm_readv, getpid(), &byte, first, 1) == 0 &&
                               transfer(process_vm_readv, getpid(), &byte, first + nbytes - 1, 1) == 0);
  return reachable_;
}

bool Launch::all_in_place() const {
  return std::all_of(lane_.members.begin(), lane_.members.end(), [&](const Member& member) {
    const Header& header = member.control->header[slot_];
    return header.input == header.output;
  });
}

// Whether an operand lies in plain memory of another process.
bool Launch::is_foreign(const Operand& operand) const {
  auto member = static_cast<int>(operand.base / 3);
  if (!single_copy_ || member == lane_.rank || operand.base % 3 == 2) return false;
  const Header& header = lane_.members[member].control->header[slot_];
  return (operand.base % 3 == 0 ? header.input : header.output) >= kPlain && !lane_.same_process(member);
}

// Copy between `here` and an operand in another process; where that fails, the lane has.
template <typename Call>
bool Launch::reach(Call call, const Operand& operand, const void* here, const uint8_t* there, uint64_t bytes) {
  auto member = static_cast<int>(operand.base / 3);
  auto* at = static_cast<const uint8_t*>(here);
  for (uint64_t done = 0; done < bytes; done += kMostBytes) {
    if (lane_.fails(number_)) return false;
    uint64_t piece = std::min(kMostBytes, bytes - done);
    int error = transfer(call, lane_.members[member].pid, at + done, there + done, piece);
    if (error == 0) continue;
    lane_.fail(error == ESRCH ? Failure::kPeerDied : Failure::kUnreachable, member);
    return false;
  }
  return true;
}

// A copy from plain memory of another process, or to it, not both.
bool Launch::copy_foreign(const Instruction& instruction, const Window& window) {
  const Operand& source = program_->operands[instruction.first];
  const Operand* targets = &source + 1;
  const uint8_t* from = address(source, window);
  if (is_foreign(source)) {
    // into the first destination, and from there into the others
    uint8_t* first = address(targets[0], window);
    if (!reach(process_vm_readv, source, first, from, window.bytes)) return false;
    from = first;
  }
  for (uint32_t i = 0; i < instruction.targets; i++) {
    uint8_t* to = address(targets[i], window);
    if (is_foreign(targets[i])) {
      if (!reach(process_vm_writev, targets[i], from, to, window.bytes)) return false;
    } else if (to != from) {
      kernels::copy(to, from, window.bytes, false);
    }
  }
  return true;
}

}  // namespace hal
