// Allocation, attributes of pointers, and IPC: a handle names a file of the exporting process.
#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>

#include "stream.h"

namespace standin {

static std::mutex lock;
static std::map<uintptr_t, Range>& ranges() {
  static auto& all = *new std::map<uintptr_t, Range>;
  return all;
}

static Range* holding(const void* address) {
  auto at = reinterpret_cast<uintptr_t>(address);
  auto next = ranges().upper_bound(at);
  if (next == ranges().begin()) return nullptr;
  Range& range = std::prev(next)->second;
  return at < range.base + range.bytes ? &range : nullptr;
}

bool find(const void* address, Range& range) {
  std::lock_guard<std::mutex> guard(lock);
  Range* found = holding(address);
  if (found != nullptr) range = *found;
  return found != nullptr;
}

bool usable(const void* address, size_t bytes) {
  auto at = reinterpret_cast<uintptr_t>(address);
  if (at == 0 || at >> 47) return false;
  Range range;
  return !find(address, range) || at + bytes <= range.base + range.bytes;
}

static hipError_t map(void** result, int file, size_t bytes, int device, Kind kind) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (at == MAP_FAILED) {
    close(file);
    return hipErrorOutOfMemory;
  }
  std::lock_guard<std::mutex> guard(lock);
  ranges()[reinterpret_cast<uintptr_t>(at)] = {reinterpret_cast<uintptr_t>(at), bytes, file, device, kind};
  *result = at;
  return hipSuccess;
}

static size_t in_use(Kind kind) {
  std::lock_guard<std::mutex> guard(lock);
  size_t sum = 0;
  for (auto& each : ranges()) sum += each.second.kind == kind ? each.second.bytes : 0;
  return sum;
}

static hipError_t allocate(void** result, size_t bytes, Kind kind) {
  if (result == nullptr) return hipErrorInvalidValue;
  *result = nullptr;
  if (bytes == 0) return hipSuccess;
  size_t most = fault("memory") < 0 ? size_t{1} << 36 : static_cast<size_t>(fault("memory"));
  if (kind == Kind::kDevice && (bytes > most || in_use(kind) > most - bytes)) return hipErrorOutOfMemory;
  int file = memfd_create("hip-standin", MFD_CLOEXEC);
  if (file < 0) return hipErrorOutOfMemory;
  if (ftruncate(file, static_cast<off_t>(bytes)) != 0) {
    close(file);
    return hipErrorOutOfMemory;
  }
  return map(result, file, bytes, current(), kind);
}

static hipError_t release(void* address, Kind kind) {
  if (address == nullptr) return hipSuccess;
  std::lock_guard<std::mutex> guard(lock);
  auto found = ranges().find(reinterpret_cast<uintptr_t>(address));
  if (found == ranges().end() || found->second.kind != kind) return hipErrorInvalidValue;
  if (kind != Kind::kRegistered) munmap(address, found->second.bytes);
  if (found->second.file >= 0) close(found->second.file);
  ranges().erase(found);
  return hipSuccess;
}

// What a handle holds; the rest of its 64 bytes is zero.
struct Handle {
  uint64_t magic;
  int process, file, device;
  uint64_t bytes;
};
constexpr uint64_t kMagic = 0x4e41545350494800;

}  // namespace standin

using namespace standin;

API hipError_t hipMalloc(void** result, size_t bytes) { return answer(allocate(result, bytes, Kind::kDevice)); }
API hipError_t hipExtMallocWithFlags(void** result, size_t bytes, unsigned) { return hipMalloc(result, bytes); }
API hipError_t hipFree(void* address) {
  synchronize_device();  // as HIP does
  return answer(release(address, Kind::kDevice));
}
API hipError_t hipHostMalloc(void** result, size_t bytes, unsigned) {
  return answer(allocate(result, bytes, Kind::kHost));
}
API hipError_t hipHostFree(void* address) { return answer(release(address, Kind::kHost)); }
API hipError_t hipHostGetDevicePointer(void** result, void* address, unsigned) {
  Range range;
  if (!find(address, range) || range.kind == Kind::kDevice) return answer(hipErrorInvalidValue);
  *result = address;
  return answer(hipSuccess);
}
API hipError_t hipHostRegister(void* address, size_t bytes, unsigned) {
  std::lock_guard<std::mutex> guard(lock);
  if (holding(address) != nullptr) return answer(hipErrorHostMemoryAlreadyRegistered);
  auto at = reinterpret_cast<uintptr_t>(address);
  ranges()[at] = {at, bytes, -1, current(), Kind::kRegistered};
  return answer(hipSuccess);
}
API hipError_t hipHostUnregister(void* address) { return answer(release(address, Kind::kRegistered)); }

API hipError_t hipMemGetInfo(size_t* free, size_t* total) {
  *total = size_t{1} << 36;
  *free = *total - in_use(Kind::kDevice);
  return answer(hipSuccess);
}

// The layout of ROCm 6 and later, which begins as the one before but for the meaning of `type`.
API hipError_t hipPointerGetAttributes(hipPointerAttribute_t* found, const void* address) {
  std::memset(found, 0, sizeof *found);
  Range range;
  if (!find(address, range)) return answer(hipSuccess);  // of type hipMemoryTypeUnregistered, which is 0
  bool device = range.kind == Kind::kDevice || range.kind == Kind::kImported;
  int type = device ? 2 : 1;  // hipMemoryTypeDevice, hipMemoryTypeHost
  std::memcpy(found, &type, sizeof type);
  found->device = range.device;
  found->devicePointer = const_cast<void*>(address);
  found->hostPointer = device ? nullptr : const_cast<void*>(address);
  return answer(hipSuccess);
}

API hipError_t hipIpcGetMemHandle(hipIpcMemHandle_t* handle, void* address) {
  Range range;
  if (!find(address, range) || range.kind != Kind::kDevice) return answer(hipErrorInvalidValue);
  Handle made{kMagic, getpid(), range.file, range.device, range.bytes};
  std::memset(handle, 0, sizeof *handle);
  std::memcpy(handle, &made, sizeof made);
  return answer(hipSuccess);
}
API hipError_t hipIpcOpenMemHandle(void** result, hipIpcMemHandle_t handle, unsigned) {
  Handle given;
  std::memcpy(&given, &handle, sizeof given);
  if (given.magic != kMagic) return answer(hipErrorInvalidValue);
  if (given.process == getpid()) return answer(hipErrorInvalidContext);  // HIP maps no handle of the process itself
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/fd/%d", given.process, given.file);
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return answer(hipErrorMapFailed);
  return answer(map(result, file, given.bytes, given.device, Kind::kImported));
}
API hipError_t hipIpcCloseMemHandle(void* address) { return answer(release(address, Kind::kImported)); }
