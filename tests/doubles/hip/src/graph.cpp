// Graphs: what a stream was given while it was captured, in order.
#include "stream.h"

#include <atomic>

namespace standin {

// Captures of mode "global" forbid other threads what could spoil them, unless they have said that they know.
static std::atomic<int> global_captures{0};
static thread_local int mode = hipStreamCaptureModeGlobal;

bool forbidden_by_capture() { return global_captures.load() > 0 && mode != hipStreamCaptureModeRelaxed; }

// Both a graph and its executable form; the handle is its address.
struct Graph {
  std::vector<Work> work;
};

}  // namespace standin

using namespace standin;

API hipError_t hipStreamBeginCapture(hipStream_t handle, hipStreamCaptureMode how) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  if (stream->capture != nullptr) return answer(hipErrorIllegalState);
  stream->capture = std::make_unique<std::vector<Work>>();
  stream->capture_is_global = how == hipStreamCaptureModeGlobal;
  global_captures += stream->capture_is_global;
  return answer(hipSuccess);
}
API hipError_t hipStreamIsCapturing(hipStream_t handle, hipStreamCaptureStatus* status) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  *status = stream->capture != nullptr ? hipStreamCaptureStatusActive : hipStreamCaptureStatusNone;
  return answer(hipSuccess);
}
API hipError_t hipStreamEndCapture(hipStream_t handle, hipGraph_t* result) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  if (stream->capture == nullptr) return answer(hipErrorIllegalState);
  *result = reinterpret_cast<hipGraph_t>(new Graph{std::move(*stream->capture)});
  stream->capture = nullptr;
  global_captures -= stream->capture_is_global;
  return answer(hipSuccess);
}
API hipError_t hipThreadExchangeStreamCaptureMode(hipStreamCaptureMode* exchanged) {
  int before = mode;
  mode = *exchanged;
  *exchanged = static_cast<hipStreamCaptureMode>(before);
  return answer(hipSuccess);
}
API hipError_t hipGraphInstantiateWithFlags(hipGraphExec_t* result, hipGraph_t graph, unsigned long long) {
  *result = reinterpret_cast<hipGraphExec_t>(new Graph(*reinterpret_cast<Graph*>(graph)));
  return answer(hipSuccess);
}
API hipError_t hipGraphLaunch(hipGraphExec_t graph, hipStream_t handle) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  for (const Work& work : reinterpret_cast<Graph*>(graph)->work) stream->give(work);
  return answer(hipSuccess);
}
API hipError_t hipGraphDestroy(hipGraph_t graph) {
  delete reinterpret_cast<Graph*>(graph);
  return answer(hipSuccess);
}
API hipError_t hipGraphExecDestroy(hipGraphExec_t graph) {
  delete reinterpret_cast<Graph*>(graph);
  return answer(hipSuccess);
}
