// Streams: a thread each, which does in order what the stream is given. Captures and events.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "standin.h"

namespace standin {

using Work = std::function<void()>;

class Stream {
 public:
  explicit Stream(int device) : device(device) {}

  // Do this after what the stream has been given before; while it is captured, only remember it.
  void give(Work work);
  void wait();
  bool idle();

  const int device;
  std::unique_ptr<std::vector<Work>> capture;
  bool capture_is_global = false;

 private:
  void serve();

  std::mutex lock_;
  std::condition_variable come_, done_;
  std::deque<Work> queue_;
  bool busy_ = false, serving_ = false;
};

// The stream of a handle; null where there is none. Handle 0 is the current device's own.
std::shared_ptr<Stream> stream_of(hipStream_t handle);

// Whether a capture forbids this thread what could spoil it.
bool forbidden_by_capture();

// Wait for all streams of this process.
void synchronize_device();

}  // namespace standin
