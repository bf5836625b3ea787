#include "arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace hal {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

Arena::Arena(uint64_t bytes) : bytes(bytes) {
  fd = memfd_create("hal", MFD_CLOEXEC);
  if (fd < 0) fail("memfd_create");
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    int error = errno;
    close(fd);
    errno = error;
    fail("shared memory of " + std::to_string(bytes) + " bytes");
  }
  map();
}

Arena::Arena(int pid, int owner_fd, uint64_t owner_inode, uint64_t bytes) : bytes(bytes) {
  // the descriptor is reached through the owner's own; only the same user may
  std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(owner_fd);
  fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) fail("shared memory of process " + std::to_string(pid));
  map(owner_inode);
}

void Arena::map(uint64_t expected) {
  struct stat status;
  void* address = MAP_FAILED;
  if (fstat(fd, &status) == 0) {
    if (expected != 0 && (!S_ISREG(status.st_mode) || status.st_ino != expected)) {
      errno = ESTALE;  // the descriptor means something else by now
    } else if (static_cast<uint64_t>(status.st_size) != bytes) {
      errno = EINVAL;
    } else {
      address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    }
  }
  if (address == MAP_FAILED) {
    int error = errno;
    close(fd);
    errno = error;
    fail("mapping " + std::to_string(bytes) + " bytes of shared memory");
  }
  base = static_cast<uint8_t*>(address);
  inode = status.st_ino;
}

Arena::~Arena() {
  munmap(base, bytes);
  close(fd);
}

void Arena::discard(uint64_t offset, uint64_t length) {
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(length)) != 0) {
    fail("giving back " + std::to_string(length) + " bytes of shared memory");
  }
}

}  // namespace hal
