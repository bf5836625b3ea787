// Streams and events.
#include "stream.h"

#include <chrono>
#include <map>
#include <thread>

namespace standin {

void Stream::give(Work work) {
  if (capture != nullptr) return capture->push_back(std::move(work));
  std::lock_guard<std::mutex> guard(lock_);
  queue_.push_back(std::move(work));
  if (!serving_) {
    serving_ = true;
    std::thread([this] { serve(); }).detach();  // streams live to the end: a kernel may never end
  }
  come_.notify_one();
}
void Stream::serve() {
  current() = device;
  std::unique_lock<std::mutex> guard(lock_);
  for (;;) {
    come_.wait(guard, [&] { return !queue_.empty(); });
    Work work = std::move(queue_.front());
    queue_.pop_front();
    busy_ = true;
    guard.unlock();
    work();
    work = nullptr;
    guard.lock();
    busy_ = false;
    if (queue_.empty()) done_.notify_all();
  }
}
void Stream::wait() {
  std::unique_lock<std::mutex> guard(lock_);
  done_.wait(guard, [&] { return queue_.empty() && !busy_; });
}
bool Stream::idle() {
  std::lock_guard<std::mutex> guard(lock_);
  return queue_.empty() && !busy_;
}

using Shared = std::shared_ptr<Stream>;
static std::mutex lock;
static std::map<uintptr_t, Shared>& streams() {
  static auto& all = *new std::map<uintptr_t, Shared>;
  return all;
}
static std::vector<Shared>& spare() {  // threads of closed streams serve later ones
  static auto& all = *new std::vector<Shared>;
  return all;
}

Shared stream_of(hipStream_t handle) {
  auto key = reinterpret_cast<uintptr_t>(handle);
  std::lock_guard<std::mutex> guard(lock);
  if (key <= 2) {  // the default streams
    Shared& own = streams()[static_cast<uintptr_t>(current())];
    if (own == nullptr) own = std::make_shared<Stream>(current());
    return own;
  }
  auto found = streams().find(key);
  return found == streams().end() ? nullptr : found->second;
}

void synchronize_device() {
  std::vector<Shared> all;
  {
    std::lock_guard<std::mutex> guard(lock);
    for (auto& each : streams()) all.push_back(each.second);
  }
  for (auto& each : all) each->wait();
}

// A point in a stream. An event that is recorded again marks another one.
struct Mark {
  std::mutex lock;
  std::condition_variable come;
  bool reached = false;
  std::chrono::steady_clock::time_point at;

  void reach() {
    std::lock_guard<std::mutex> guard(lock);
    reached = true;
    at = std::chrono::steady_clock::now();
    come.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> guard(lock);
    come.wait(guard, [&] { return reached; });
  }
  bool is_reached() {
    std::lock_guard<std::mutex> guard(lock);
    return reached;
  }
};
struct Event {
  std::shared_ptr<Mark> mark;  // null before it is recorded
};
static std::map<uintptr_t, std::shared_ptr<Event>>& events() {
  static auto& all = *new std::map<uintptr_t, std::shared_ptr<Event>>;
  return all;
}
static std::shared_ptr<Mark> mark_of(hipEvent_t handle, bool& known) {
  std::lock_guard<std::mutex> guard(lock);
  auto found = events().find(reinterpret_cast<uintptr_t>(handle));
  known = found != events().end();
  return known ? found->second->mark : nullptr;
}

}  // namespace standin

using namespace standin;

API hipError_t hipStreamCreateWithFlags(hipStream_t* result, unsigned) {
  std::lock_guard<std::mutex> guard(lock);
  Shared made;
  for (auto each = spare().begin(); each != spare().end(); ++each) {
    if ((*each)->device != current()) continue;
    made = *each;
    spare().erase(each);
    break;
  }
  if (made == nullptr) made = std::make_shared<Stream>(current());
  *result = reinterpret_cast<hipStream_t>(made.get());
  streams()[reinterpret_cast<uintptr_t>(made.get())] = made;
  return answer(hipSuccess);
}
API hipError_t hipStreamCreate(hipStream_t* result) { return hipStreamCreateWithFlags(result, 0); }
API hipError_t hipStreamDestroy(hipStream_t handle) {
  std::lock_guard<std::mutex> guard(lock);
  auto found = streams().find(reinterpret_cast<uintptr_t>(handle));
  if (reinterpret_cast<uintptr_t>(handle) <= 2 || found == streams().end()) return answer(hipErrorInvalidHandle);
  spare().push_back(found->second);
  streams().erase(found);
  return answer(hipSuccess);
}
API hipError_t hipStreamSynchronize(hipStream_t handle) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  if (stream->capture != nullptr) return answer(hipErrorStreamCaptureUnsupported);
  stream->wait();
  return answer(hipSuccess);
}
API hipError_t hipStreamQuery(hipStream_t handle) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  if (forbidden_by_capture()) return answer(hipErrorStreamCaptureUnsupported);
  bool idle = stream->idle();
  return answer(idle ? hipSuccess : hipErrorNotReady);
}
API hipError_t hipStreamGetDevice(hipStream_t handle, hipDevice_t* device) {
  auto stream = stream_of(handle);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  *device = stream->device;
  return answer(hipSuccess);
}
API hipError_t hipDeviceSynchronize() {
  synchronize_device();
  return answer(hipSuccess);
}

API hipError_t hipEventCreateWithFlags(hipEvent_t* result, unsigned) {
  auto made = std::make_shared<Event>();
  std::lock_guard<std::mutex> guard(lock);
  events()[reinterpret_cast<uintptr_t>(made.get())] = made;
  *result = reinterpret_cast<hipEvent_t>(made.get());
  return answer(hipSuccess);
}
API hipError_t hipEventCreate(hipEvent_t* result) { return hipEventCreateWithFlags(result, 0); }
API hipError_t hipEventDestroy(hipEvent_t handle) {
  std::lock_guard<std::mutex> guard(lock);
  return answer(events().erase(reinterpret_cast<uintptr_t>(handle)) ? hipSuccess : hipErrorInvalidHandle);
}
API hipError_t hipEventRecord(hipEvent_t handle, hipStream_t to) {
  auto stream = stream_of(to);
  if (stream == nullptr) return answer(hipErrorInvalidHandle);
  auto mark = std::make_shared<Mark>();
  {
    std::lock_guard<std::mutex> guard(lock);
    auto found = events().find(reinterpret_cast<uintptr_t>(handle));
    if (found == events().end()) return answer(hipErrorInvalidHandle);
    found->second->mark = mark;
  }
  stream->give([mark] { mark->reach(); });
  return answer(hipSuccess);
}
API hipError_t hipEventQuery(hipEvent_t handle) {
  bool known;
  auto mark = mark_of(handle, known);
  if (!known) return answer(hipErrorInvalidHandle);
  return answer(mark == nullptr || mark->is_reached() ? hipSuccess : hipErrorNotReady);
}
API hipError_t hipEventSynchronize(hipEvent_t handle) {
  bool known;
  auto mark = mark_of(handle, known);
  if (!known) return answer(hipErrorInvalidHandle);
  if (mark != nullptr) mark->wait();
  return answer(hipSuccess);
}
API hipError_t hipEventElapsedTime(float* ms, hipEvent_t first, hipEvent_t second) {
  bool known, other;
  auto begin = mark_of(first, known), end = mark_of(second, other);
  if (!known || !other || begin == nullptr || end == nullptr) return answer(hipErrorInvalidHandle);
  if (!begin->is_reached() || !end->is_reached()) return answer(hipErrorNotReady);
  *ms = std::chrono::duration<float, std::milli>(end->at - begin->at).count();
  return answer(hipSuccess);
}
API hipError_t hipStreamWaitEvent(hipStream_t handle, hipEvent_t event, unsigned) {
  bool known;
  auto stream = stream_of(handle);
  auto mark = mark_of(event, known);
  if (stream == nullptr || !known) return answer(hipErrorInvalidHandle);
  if (mark != nullptr) stream->give([mark] { mark->wait(); });
  return answer(hipSuccess);
}
