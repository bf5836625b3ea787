// Devices: what they are called, what they can do, who reaches whom; errors by name.
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>

#include "standin.h"

namespace standin {

constexpr size_t kMemory = size_t{1} << 36;
constexpr int kMultiprocessors = 16, kVersion = 70125424;
static std::atomic<hipError_t> lost{hipSuccess};
static thread_local hipError_t last = hipSuccess;

std::string setting(const char* name, const char* otherwise) {
  const char* found = std::getenv((std::string("HIP_STANDIN_") + name).c_str());
  return found == nullptr ? otherwise : found;
}
int device_count() {
  static int count = std::atoi(setting("DEVICES", "1").c_str());
  return count;
}
std::string architecture() {
  static std::string name = setting("ARCH", "gfx942");
  return name;
}
bool instructions() {
  static bool is = setting("MODE", "source") == "instructions";
  return is;
}
long fault(const char* name) {
  static const std::string all = "," + setting("FAULTS", "");
  size_t at = all.find("," + std::string(name) + "=");
  return at == std::string::npos ? -1 : std::atol(all.c_str() + at + std::strlen(name) + 2);
}
int& current() {
  static thread_local int device = 0;
  return device;
}
hipError_t answer(hipError_t error) {
  if (lost.load() != hipSuccess) error = lost.load();
  if (error != hipSuccess) last = error;
  return error;
}
void lose(hipError_t error) { lost.store(error); }

static bool known(int device) { return 0 <= device && device < device_count(); }

// The layout that ROCm 6 and later give hipGetDevicePropertiesR0600, as far as it is filled here.
struct Properties {
  char name[256];
  char uuid[16];
  char luid[8];
  unsigned node_mask;
  size_t memory, shared_memory;
  int registers, wavefront;
  size_t pitch;
  int most_threads, most_threads_of[3], most_blocks_of[3], clock;
  size_t constant_memory;
  int major, minor;
  size_t alignment, pitch_alignment;
  int overlap, multiprocessors;
  char unused[768];
  char architecture[256];
  char rest[56];
};
static_assert(offsetof(Properties, architecture) == 1160 && sizeof(Properties) == 1472);

static std::string full_architecture() {
  std::string arch = architecture();
  return arch == "gfx90a" || arch == "gfx942" || arch == "gfx950" ? arch + ":sramecc+:xnack-" : arch;
}
static int wavefront() { return architecture().rfind("gfx9", 0) == 0 ? 64 : 32; }
static void name_of(int device, char* name, size_t room) {
  std::snprintf(name, room, "stand-in %d for an AMD GPU (tests, on CPUs%s)", device,
                instructions() ? ", its instructions interpreted" : "");
}
static void uuid_of(int device, char* uuid) {
  std::memcpy(uuid, "HIPstandin  ", 12);
  std::memcpy(uuid + 12, &device, 4);
}

}  // namespace standin

using namespace standin;

API hipError_t hipInit(unsigned) { return answer(device_count() ? hipSuccess : hipErrorNoDevice); }
API hipError_t hipGetDeviceCount(int* count) {
  *count = device_count();
  return answer(*count ? hipSuccess : hipErrorNoDevice);
}
API hipError_t hipSetDevice(int device) {
  if (!known(device)) return answer(hipErrorInvalidDevice);
  current() = device;
  return answer(hipSuccess);
}
API hipError_t hipGetDevice(int* device) {
  *device = current();
  return answer(hipSuccess);
}
API hipError_t hipRuntimeGetVersion(int* version) {
  static const int said = std::atoi(setting("VERSION", std::to_string(kVersion).c_str()).c_str());
  *version = said;
  return hipSuccess;
}
API hipError_t hipDriverGetVersion(int* version) { return hipRuntimeGetVersion(version); }
API hipError_t hipGetLastError() {
  hipError_t error = last;
  last = hipSuccess;
  return error;
}
API hipError_t hipPeekAtLastError() { return last; }

API const char* hipGetErrorName(hipError_t error) {
  switch (error) {
    case hipSuccess: return "hipSuccess";
    case hipErrorInvalidValue: return "hipErrorInvalidValue";
    case hipErrorOutOfMemory: return "hipErrorOutOfMemory";
    case hipErrorInvalidConfiguration: return "hipErrorInvalidConfiguration";
    case hipErrorNoDevice: return "hipErrorNoDevice";
    case hipErrorInvalidDevice: return "hipErrorInvalidDevice";
    case hipErrorInvalidImage: return "hipErrorInvalidImage";
    case hipErrorInvalidContext: return "hipErrorInvalidContext";
    case hipErrorMapFailed: return "hipErrorMapFailed";
    case hipErrorNoBinaryForGpu: return "hipErrorNoBinaryForGpu";
    case hipErrorInvalidHandle: return "hipErrorInvalidHandle";
    case hipErrorNotFound: return "hipErrorNotFound";
    case hipErrorNotReady: return "hipErrorNotReady";
    case hipErrorIllegalAddress: return "hipErrorIllegalAddress";
    case hipErrorPeerAccessAlreadyEnabled: return "hipErrorPeerAccessAlreadyEnabled";
    case hipErrorLaunchFailure: return "hipErrorLaunchFailure";
    case hipErrorNotSupported: return "hipErrorNotSupported";
    case hipErrorStreamCaptureUnsupported: return "hipErrorStreamCaptureUnsupported";
    default: return "hipErrorUnknown";
  }
}
API const char* hipGetErrorString(hipError_t error) { return hipGetErrorName(error); }

API hipError_t hipDeviceGetName(char* name, int room, hipDevice_t device) {
  if (!known(device)) return answer(hipErrorInvalidDevice);
  name_of(device, name, static_cast<size_t>(room));
  return answer(hipSuccess);
}
API hipError_t hipDeviceGetUuid(hipUUID* uuid, hipDevice_t device) {
  if (!known(device)) return answer(hipErrorInvalidDevice);
  uuid_of(device, uuid->bytes);
  return answer(hipSuccess);
}
API hipError_t hipGetDevicePropertiesR0600(Properties* p, int device) {
  if (!known(device)) return answer(hipErrorInvalidDevice);
  std::memset(p, 0, sizeof *p);
  name_of(device, p->name, sizeof p->name);
  uuid_of(device, p->uuid);
  p->memory = kMemory;
  p->wavefront = wavefront();
  p->most_threads = 1024;
  p->multiprocessors = kMultiprocessors;
  std::snprintf(p->architecture, sizeof p->architecture, "%s", full_architecture().c_str());
  return answer(hipSuccess);
}
// The name without a suffix means the layout of ROCm 5, as in AMD's library.
API hipError_t hipGetDeviceProperties(hipDeviceProp_t* p, int device) {
  if (!known(device)) return answer(hipErrorInvalidDevice);
  std::memset(p, 0, sizeof *p);
  name_of(device, p->name, sizeof p->name);
  p->totalGlobalMem = kMemory;
  p->warpSize = wavefront();
  p->maxThreadsPerBlock = 1024;
  p->multiProcessorCount = kMultiprocessors;
  std::snprintf(p->gcnArchName, sizeof p->gcnArchName, "%s", full_architecture().c_str());
  return answer(hipSuccess);
}
API hipError_t hipDeviceGetAttribute(int* value, hipDeviceAttribute_t attribute, int device) {
  constexpr int kWallClockRate = 10017;  // of later versions than these headers
  if (!known(device)) return answer(hipErrorInvalidDevice);
  switch (static_cast<int>(attribute)) {
    case hipDeviceAttributeWarpSize: *value = wavefront(); break;
    case hipDeviceAttributeMaxThreadsPerBlock: *value = 1024; break;
    case hipDeviceAttributeMultiprocessorCount: *value = kMultiprocessors; break;
    case hipDeviceAttributeCanUseStreamWaitValue: *value = 1; break;
    case kWallClockRate: *value = 100000; break;
    default: return answer(hipErrorInvalidValue);
  }
  return answer(hipSuccess);
}

static std::mutex peers_lock;
static std::set<std::pair<int, int>>& peers() {
  static auto& all = *new std::set<std::pair<int, int>>;
  return all;
}
API hipError_t hipDeviceCanAccessPeer(int* can, int device, int peer) {
  if (!known(device) || !known(peer)) return answer(hipErrorInvalidDevice);
  *can = device != peer && setting("NO_PEERS", "").empty();
  return answer(hipSuccess);
}
API hipError_t hipDeviceEnablePeerAccess(int peer, unsigned) {
  if (!known(peer) || peer == current()) return answer(hipErrorInvalidDevice);
  if (!setting("NO_PEERS", "").empty()) return answer(hipErrorPeerAccessUnsupported);
  std::lock_guard<std::mutex> guard(peers_lock);
  return answer(peers().insert({current(), peer}).second ? hipSuccess : hipErrorPeerAccessAlreadyEnabled);
}

// What pyhip looks up when it is imported, and HAL does not call.
API hipError_t hipDeviceSetLimit(hipLimit_t, size_t) { return answer(hipErrorNotSupported); }
API hipError_t hipMallocPitch(void**, size_t*, size_t, size_t) { return answer(hipErrorNotSupported); }
API hipError_t hipModuleGetGlobal(hipDeviceptr_t*, size_t*, hipModule_t, const char*) {
  return answer(hipErrorNotSupported);
}
