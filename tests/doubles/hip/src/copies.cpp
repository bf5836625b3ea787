// Copies, fills, and values that a stream writes or waits for.
#include <sys/types.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "memory.h"
#include "stream.h"

namespace standin {

// Faults: every copy takes `slow` microseconds, one of `stuck` bytes 1.5 s; one of `breaks` bytes loses the device.
static void slowly(size_t bytes) {
  if (fault("slow") > 0) usleep(static_cast<useconds_t>(fault("slow")));
  if (fault("stuck") == static_cast<long>(bytes)) usleep(1'500'000);
  if (fault("breaks") == static_cast<long>(bytes)) lose(hipErrorIllegalAddress);
}

// Memory of the host's own is read, or written, before the call returns.
static hipError_t copy(void* dst, const void* src, size_t bytes, hipStream_t handle) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return hipErrorInvalidHandle;
  if (bytes == 0) return hipSuccess;
  if (!usable(dst, bytes) || !usable(src, bytes)) return hipErrorInvalidValue;
  if (fault("refuses") == static_cast<long>(bytes)) return hipErrorInvalidValue;
  Range range;
  if (!find(src, range)) {
    auto* from = static_cast<const char*>(src);
    auto held = std::make_shared<std::vector<char>>(from, from + bytes);
    stream->give([=] {
      slowly(bytes);
      std::memcpy(dst, held->data(), bytes);
    });
  } else {
    stream->give([=] {
      slowly(bytes);
      std::memmove(dst, src, bytes);
    });
  }
  if (!find(dst, range) && stream->capture == nullptr) stream->wait();
  return hipSuccess;
}

}  // namespace standin

using namespace standin;

API hipError_t hipMemcpyAsync(void* dst, const void* src, size_t bytes, hipMemcpyKind, hipStream_t stream) {
  return answer(copy(dst, src, bytes, stream));
}
API hipError_t hipMemcpy(void* dst, const void* src, size_t bytes, hipMemcpyKind) {
  hipError_t error = copy(dst, src, bytes, nullptr);
  if (error == hipSuccess) stream_of(nullptr)->wait();
  return answer(error);
}
API hipError_t hipMemcpyPeerAsync(void* dst, int, const void* src, int, size_t bytes, hipStream_t stream) {
  return answer(copy(dst, src, bytes, stream));
}
API hipError_t hipMemsetAsync(void* dst, int value, size_t bytes, hipStream_t handle) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  if (!usable(dst, bytes)) return answer(hipErrorInvalidValue);
  stream->give([=] { std::memset(dst, value, bytes); });
  return answer(hipSuccess);
}
API hipError_t hipMemset(void* dst, int value, size_t bytes) {
  hipError_t error = hipMemsetAsync(dst, value, bytes, nullptr);
  if (error == hipSuccess) stream_of(nullptr)->wait();
  return error;
}

API hipError_t hipStreamWriteValue64(hipStream_t handle, void* at, uint64_t value, unsigned) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  if (!usable(at, 8)) return answer(hipErrorInvalidValue);
  stream->give([=] { __atomic_store_n(static_cast<uint64_t*>(at), value, __ATOMIC_RELEASE); });
  return answer(hipSuccess);
}
API hipError_t hipStreamWaitValue64(hipStream_t handle, void* at, uint64_t value, unsigned how, uint64_t mask) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  if (!usable(at, 8)) return answer(hipErrorInvalidValue);
  auto met = [=] {
    uint64_t seen = __atomic_load_n(static_cast<uint64_t*>(at), __ATOMIC_ACQUIRE) & mask;
    switch (how) {
      case hipStreamWaitValueGte: return static_cast<int64_t>(seen - value) >= 0;
      case hipStreamWaitValueEq: return seen == value;
      case hipStreamWaitValueAnd: return (seen & value) != 0;
      default: return ~(seen | value) != 0;  // hipStreamWaitValueNor
    }
  };
  stream->give([=] {
    while (!met()) usleep(50);
  });
  return answer(hipSuccess);
}
