// Memory by handles and multicast memory of CUDA's driver library, for the double. A handle is a file in memory; an
// address of multicast memory is a range that nobody may touch, of which kernels ask what it stands for.
//
// DOUBLE_MULTICAST=1: devices have it. DOUBLE_REFUSES_CALL=NAME: that call is refused.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#define API extern "C" __attribute__((visibility("default")))
#define REFUSED(name) \
  if (const char* refused = std::getenv("DOUBLE_REFUSES_CALL"); refused && !std::strcmp(refused, name)) return kNotSupported

namespace {

using u64 = unsigned long long;
constexpr int kInvalidValue = 1, kNotReady = 600, kNotSupported = 801;
constexpr int kMulticastSupported = 132;
constexpr u64 kUnit = 1 << 21, kRecommended = 1 << 29, kMost = 64;

// As cuda.h has them.
struct Location { int type, id; };
struct MemoryProperties {
  int type, handle_types;
  Location location;
  void* windows;
  unsigned char compression, rdma;
  unsigned short usage;
  unsigned char reserved[4];
};
struct ObjectProperties { unsigned devices; size_t size; u64 handle_types, flags; };
struct Access { Location location; int flags; };
static_assert(sizeof(MemoryProperties) == 32 && sizeof(ObjectProperties) == 32 && sizeof(Access) == 12);

// What all processes know of an object: it lies in its file.
struct Object {
  unsigned devices, added;
  u64 size, device[kMost];  // a bit each
  struct Bound { int pid, descriptor; u64 bytes; } bound[kMost];
};

struct Handle { int descriptor; u64 bytes; Object* object; };
struct Range { u64 bytes; int descriptor; Object* object; bool accessible; void* member[kMost]; };

std::mutex lock;
std::map<u64, Handle> handles;
std::map<u64, Range> ranges;
u64 last = 0x500;
unsigned asked = 0;

// A process may see the devices in an order of its own.
int physical(int device) {
  const char* order = std::getenv("CUDA_VISIBLE_DEVICES");
  for (int i = 0; order != nullptr && i < device; i++) order = std::strchr(order, ',') + 1;
  return order != nullptr ? std::atoi(order) : device;
}

int made(u64* handle, int descriptor, u64 bytes) {
  void* found = nullptr;
  if (bytes == sizeof(Object)) found = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  handles[*handle = ++last] = {descriptor, bytes, static_cast<Object*>(found)};
  return 0;
}

}  // namespace

API int cuGetErrorString(int status, const char** text) {
  *text = status == kNotSupported ? "operation not supported" : status == kNotReady ? "not ready" : "invalid argument";
  return 0;
}
API int cuDeviceGet(int* device, int index) { return *device = index, index < 0; }
API int cuDeviceGetAttribute(int* value, int attribute, int) {
  const char* has = std::getenv("DOUBLE_MULTICAST");
  *value = has != nullptr && has[0] == '1';
  return attribute == kMulticastSupported ? 0 : kInvalidValue;
}
API int cuMulticastGetGranularity(size_t* unit, const ObjectProperties* of, int recommended) {
  return *unit = recommended ? kRecommended : kUnit, of->devices < 2 || of->flags != 0 ? kInvalidValue : 0;
}
API int cuMemGetAllocationGranularity(size_t* unit, const MemoryProperties*, int) { return *unit = kUnit, 0; }

API int cuMemCreate(u64* handle, size_t bytes, const MemoryProperties* of, u64 flags) {
  REFUSED("cuMemCreate");
  if (bytes % kUnit || of->type != 1 || of->handle_types != 1 || of->location.type != 1 || flags) return kInvalidValue;
  std::lock_guard<std::mutex> guard(lock);
  int descriptor = memfd_create("double-handle", MFD_CLOEXEC);
  return ftruncate(descriptor, static_cast<off_t>(bytes)) ? kInvalidValue : made(handle, descriptor, bytes);
}
API int cuMulticastCreate(u64* handle, const ObjectProperties* of) {
  REFUSED("cuMulticastCreate");
  if (of->size % kUnit || of->handle_types != 1 || of->flags) return kInvalidValue;
  std::lock_guard<std::mutex> guard(lock);
  int descriptor = memfd_create("double-object", MFD_CLOEXEC);
  if (ftruncate(descriptor, sizeof(Object))) return kInvalidValue;
  made(handle, descriptor, sizeof(Object));
  handles[*handle].object->devices = of->devices;
  handles[*handle].object->size = of->size;
  return 0;
}
API int cuMemRelease(u64 handle) {
  std::lock_guard<std::mutex> guard(lock);
  if (handles.count(handle) == 0) return kInvalidValue;
  if (handles[handle].object) munmap(handles[handle].object, sizeof(Object));
  close(handles[handle].descriptor);
  handles.erase(handle);
  return 0;
}
API int cuMemExportToShareableHandle(int* descriptor, u64 handle, int type, u64) {
  REFUSED("cuMemExportToShareableHandle");
  std::lock_guard<std::mutex> guard(lock);
  *descriptor = fcntl(handles.at(handle).descriptor, F_DUPFD_CLOEXEC, 0);
  return type == 1 ? 0 : kInvalidValue;
}
API int cuMemImportFromShareableHandle(u64* handle, void* descriptor, int type) {
  REFUSED("cuMemImportFromShareableHandle");
  std::lock_guard<std::mutex> guard(lock);
  int own = fcntl(static_cast<int>(reinterpret_cast<u64>(descriptor)), F_DUPFD_CLOEXEC, 0);
  struct stat found;
  return type != 1 || fstat(own, &found) ? kInvalidValue : made(handle, own, static_cast<u64>(found.st_size));
}

API int cuMulticastAddDevice(u64 handle, int device) {
  REFUSED("cuMulticastAddDevice");
  std::lock_guard<std::mutex> guard(lock);
  Object* object = handles.at(handle).object;
  if (__atomic_exchange_n(&object->device[physical(device)], 1, __ATOMIC_ACQ_REL)) return kInvalidValue;
  __atomic_fetch_add(&object->added, 1, __ATOMIC_ACQ_REL);
  return 0;
}
API int cuMulticastBindMem(u64 handle, size_t offset, u64 memory, size_t memory_offset, size_t bytes, u64 flags) {
  REFUSED("cuMulticastBindMem");
  std::lock_guard<std::mutex> guard(lock);
  Object* object = handles.at(handle).object;
  if (offset || memory_offset || flags || bytes % kUnit || bytes > object->size) return kInvalidValue;
  if (__atomic_load_n(&object->added, __ATOMIC_ACQUIRE) != object->devices) return kNotReady;
  for (auto& place : object->bound) {
    int nobody = 0;
    if (!__atomic_compare_exchange_n(&place.pid, &nobody, getpid(), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) continue;
    place.descriptor = handles.at(memory).descriptor;
    place.bytes = bytes;
    return 0;
  }
  return kInvalidValue;
}
API int cuMulticastUnbind(u64 handle, int, size_t offset, size_t bytes) {
  std::lock_guard<std::mutex> guard(lock);
  for (auto& place : handles.at(handle).object->bound) {
    if (place.pid != getpid()) continue;
    if (offset || place.bytes != bytes) return kInvalidValue;
    __atomic_store_n(&place.pid, -1, __ATOMIC_RELEASE);
    return 0;
  }
  return kInvalidValue;
}

API int cuMemAddressReserve(u64* address, size_t bytes, size_t unit, u64, u64) {
  if (bytes % kUnit || unit % kUnit) return kInvalidValue;
  void* found = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  *address = reinterpret_cast<u64>(found);
  return found == MAP_FAILED ? kInvalidValue : 0;
}
API int cuMemAddressFree(u64 address, size_t bytes) { return munmap(reinterpret_cast<void*>(address), bytes); }
API int cuMemMap(u64 address, size_t bytes, size_t, u64 handle, u64) {
  REFUSED("cuMemMap");
  std::lock_guard<std::mutex> guard(lock);
  Handle& held = handles.at(handle);
  if (bytes > (held.object ? held.object->size : held.bytes)) return kInvalidValue;
  Range range{bytes, fcntl(held.descriptor, F_DUPFD_CLOEXEC, 0), nullptr, false, {}};
  if (held.object) {
    range.object = static_cast<Object*>(mmap(nullptr, sizeof(Object), PROT_READ, MAP_SHARED, range.descriptor, 0));
  } else {
    mmap(reinterpret_cast<void*>(address), bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, range.descriptor, 0);
  }
  ranges[address] = range;
  return 0;
}
API int cuMemSetAccess(u64 address, size_t bytes, const Access* access, size_t count) {
  std::lock_guard<std::mutex> guard(lock);
  Range& range = ranges.at(address);
  if (bytes != range.bytes || access->flags != 3 || access->location.type != 1 || count != 1) return kInvalidValue;
  range.accessible = true;
  return range.object ? 0 : mprotect(reinterpret_cast<void*>(address), bytes, PROT_READ | PROT_WRITE);
}
API int cuMemUnmap(u64 address, size_t bytes) {
  std::lock_guard<std::mutex> guard(lock);
  Range& range = ranges.at(address);
  for (void* member : range.member) {
    if (member) munmap(member, bytes);
  }
  if (range.object) munmap(range.object, sizeof(Object));
  close(range.descriptor);
  mmap(reinterpret_cast<void*>(address), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  ranges.erase(address);
  return 0;
}

// The addresses at which this process reaches what an address stands for, one for each device; how many they are.
API unsigned double_multicast(const void* at, unsigned char** members) {
  std::lock_guard<std::mutex> guard(lock);
  asked++;
  u64 address = reinterpret_cast<u64>(at);
  auto after = ranges.upper_bound(address);
  if (after == ranges.begin()) return 0;
  auto& [base, range] = *--after;
  if (address >= base + range.bytes || !range.object || !range.accessible) return 0;
  unsigned count = range.object->devices;
  for (unsigned i = 0; i < count; i++) {
    const auto& place = range.object->bound[i];
    if (!range.member[i]) {
      char path[64];
      std::snprintf(path, sizeof(path), "/proc/%d/fd/%d", place.pid, place.descriptor);
      int opened = open(path, O_RDWR | O_CLOEXEC);
      range.member[i] = mmap(nullptr, range.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
      close(opened);
      if (range.member[i] == MAP_FAILED) return 0;
    }
    members[i] = static_cast<unsigned char*>(range.member[i]) + (address - base);
  }
  return count;
}
// Handles and mappings that were not given back.
API unsigned double_held() {
  std::lock_guard<std::mutex> guard(lock);
  return static_cast<unsigned>(handles.size() + ranges.size());
}
// How often kernels of this process used multicast memory.
API unsigned double_asked() { return asked; }
