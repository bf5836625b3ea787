#include "tcp.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

namespace hal {
namespace {

constexpr size_t kBuffer = 256 << 10;
constexpr int64_t kFarewell = 2'000'000'000;  // ns that `close` gives the peer to take what was posted
constexpr size_t kQueue = 1 << 16;     // operations that wait for the socket

TcpConnection* self_of(hal_connection* c) { return static_cast<TcpConnection*>(c); }

}  // namespace

uint64_t Regions::add(uint64_t address, uint64_t bytes) {
  auto region = std::make_shared<Region>();
  region->base = reinterpret_cast<uint8_t*>(address);
  region->bytes = bytes;
  std::lock_guard hold(lock_);
  uint64_t handle = 0;
  while (handle == 0 || known_.count(handle) != 0) {
    if (getrandom(&handle, sizeof handle, 0) != sizeof handle) throw std::system_error(errno, std::generic_category());
  }
  known_[handle] = region;
  return handle;
}

void Regions::withdraw(uint64_t handle) {
  std::shared_ptr<Region> region;
  {
    std::lock_guard hold(lock_);
    auto found = known_.find(handle);
    if (found == known_.end()) return;
    region = found->second;
    known_.erase(found);
  }
  std::unique_lock hold(region->lock);
  region->open = false;
}

std::shared_ptr<Region> Regions::find(uint64_t handle) {
  std::lock_guard hold(lock_);
  auto found = known_.find(handle);
  return found == known_.end() ? nullptr : found->second;
}

TcpConnection::TcpConnection(std::shared_ptr<Regions> regions, int fd)
    : hal_connection{}, regions_(std::move(regions)), fd_(fd), buffer_(kBuffer) {
  abi = HAL_TRANSPORT_ABI;
  size = sizeof(hal_connection);
  notifies = 1;
  hal_connection::put = [](hal_connection* c, uint64_t rh, uint64_t ro, uint64_t lh, uint64_t lo, uint64_t n) {
    return self_of(c)->post_local(Kind::kPut, rh, ro, lh, lo, n);
  };
  hal_connection::get = [](hal_connection* c, uint64_t rh, uint64_t ro, uint64_t lh, uint64_t lo, uint64_t n) {
    return self_of(c)->post_local(Kind::kGet, rh, ro, lh, lo, n);
  };
  hal_connection::put_value = [](hal_connection* c, uint64_t rh, uint64_t ro, uint64_t value) {
    return self_of(c)->post({{Kind::kValue, 0, rh, ro, value}, nullptr}, true);
  };
  hal_connection::atomic_add = [](hal_connection* c, uint64_t rh, uint64_t ro, uint64_t value) {
    return self_of(c)->post({{Kind::kAdd, 0, rh, ro, value}, nullptr}, true);
  };
  hal_connection::progress = [](hal_connection* c) {
    std::lock_guard hold(self_of(c)->lock_);
    return self_of(c)->failed_ ? HAL_TRANSPORT_FAILED : 0;
  };
  hal_connection::posted = [](hal_connection* c) {
    std::lock_guard hold(self_of(c)->lock_);
    return self_of(c)->posted_;
  };
  hal_connection::completed = [](hal_connection* c) {
    std::lock_guard hold(self_of(c)->lock_);
    self_of(c)->ask_flush();
    return self_of(c)->completed_;
  };
  hal_connection::error = [](hal_connection* c) -> const char* {
    std::lock_guard hold(self_of(c)->lock_);
    return self_of(c)->failed_ ? self_of(c)->why_.c_str() : nullptr;
  };
  hal_connection::set_notify = [](hal_connection* c, void (*notify)(void*), void* context) {
    std::lock_guard hold(self_of(c)->notify_lock_);
    self_of(c)->notify_ = notify;
    self_of(c)->context_ = context;
    return 0;
  };
  int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_ < 0) throw std::system_error(errno, std::generic_category(), "making an event descriptor");
  thread_ = std::thread([this] { serve(); });
}

TcpConnection::~TcpConnection() {
  close();
  ::close(wake_);
  ::close(fd_);
}

void TcpConnection::close() {
  if (closed_.exchange(true)) return;
  // what was posted is still delivered; and an end of the socket before the peer has all would drop it there
  flush(kFarewell);
  closing_.store(true);
  fail("the connection was closed here");
  uint64_t one = 1;
  (void)!write(wake_, &one, sizeof one);
  thread_.join();
  shutdown(fd_, SHUT_RDWR);
}

std::string TcpConnection::failure() {
  std::lock_guard hold(lock_);
  return why_;
}

int TcpConnection::post_local(Kind kind, uint64_t remote, uint64_t offset, uint64_t local, uint64_t at,
                              uint64_t bytes) {
  auto region = regions_->find(local);
  if (region == nullptr || !region->holds(at, bytes)) return HAL_TRANSPORT_BAD_RANGE;
  Item item{{kind, 0, remote, offset, bytes}, region, at, bytes};
  if (kind == Kind::kPut) return post(std::move(item), true);
  std::lock_guard hold(lock_);
  if (failed_) return HAL_TRANSPORT_FAILED;
  if (queue_.size() >= kQueue) return HAL_TRANSPORT_AGAIN;
  wanted_.push_back({region, at, bytes});
  posted_++;
  bool waiting = !queue_.empty();
  queue_.push_back({item.head, nullptr});
  if (!waiting && !send_queued()) {
    uint64_t one = 1;
    (void)!write(wake_, &one, sizeof one);
  }
  return failed_ ? HAL_TRANSPORT_FAILED : 0;
}

int TcpConnection::post(Item item, bool counts) {
  std::lock_guard hold(lock_);
  if (failed_) return HAL_TRANSPORT_FAILED;
  if (counts && queue_.size() >= kQueue) return HAL_TRANSPORT_AGAIN;
  posted_ += counts;
  bool waiting = !queue_.empty();
  queue_.push_back(std::move(item));
  // where something waits for the socket already, the thread sends this in its turn
  if (!waiting && !send_queued()) {
    uint64_t one = 1;
    (void)!write(wake_, &one, sizeof one);
  }
  return failed_ ? HAL_TRANSPORT_FAILED : 0;
}

bool TcpConnection::send_queued() {
  while (!queue_.empty() && !failed_) {
    iovec parts[16];
    std::shared_lock<std::shared_mutex> held[8];
    int n = 0, items = 0;
    for (Item& item : queue_) {
      if (items == 8) break;
      if (item.region != nullptr) {
        held[items] = std::shared_lock(item.region->lock);
        if (!item.region->holds(item.offset, item.bytes)) {
          fail_locked("memory was withdrawn here before it was sent");
          return true;
        }
      }
      uint64_t sent = item.sent;
      if (sent < sizeof(Head)) {
        parts[n++] = {reinterpret_cast<uint8_t*>(&item.head) + sent, sizeof(Head) - sent};
        sent = sizeof(Head);
      }
      uint64_t done = sent - sizeof(Head);
      if (item.bytes > done) parts[n++] = {item.region->base + item.offset + done, item.bytes - done};
      items++;
    }
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = static_cast<size_t>(n);
    ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
      fail_locked(std::string("sending failed: ") + std::strerror(errno));
      return true;
    }
    auto left = static_cast<uint64_t>(sent);
    while (!queue_.empty()) {
      Item& item = queue_.front();
      uint64_t rest = sizeof(Head) + item.bytes - item.sent;
      if (left < rest) {
        item.sent += left;
        break;
      }
      left -= rest;
      // a lock of the popped item's region goes with `held`, which keeps no pointer to the item
      if (item.region != nullptr) {
        for (auto& lock : held) {
          if (lock.owns_lock() && lock.mutex() == &item.region->lock) {
            lock.unlock();
            break;
          }
        }
      }
      queue_.pop_front();
    }
  }
  return true;
}

void TcpConnection::ask_flush() {
  if (failed_ || asked_ == posted_) return;
  asked_ = posted_;
  bool waiting = !queue_.empty();
  queue_.push_back({{Kind::kFlush, 0, 0, 0, posted_}, nullptr});
  if (!waiting && !send_queued()) {
    uint64_t one = 1;
    (void)!write(wake_, &one, sizeof one);
  }
}

int TcpConnection::flush(int64_t timeout_ns) {
  auto deadline = std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout_ns);
  std::unique_lock hold(lock_);
  uint64_t until = posted_;
  ask_flush();
  while (!failed_ && completed_ < until) {
    if (changed_.wait_until(hold, deadline) == std::cv_status::timeout && !failed_ && completed_ < until) {
      fail_locked("a flush passed its deadline");
      return 0;
    }
  }
  return failed_ ? -1 : 1;
}

void TcpConnection::fail_locked(const std::string& why) {
  if (failed_) return;
  failed_ = true;
  why_ = why;
  changed_.notify_all();
}

void TcpConnection::fail(const std::string& why) {
  {
    std::lock_guard hold(lock_);
    fail_locked(why);
  }
  tell();
}

void TcpConnection::tell() {
  std::lock_guard hold(notify_lock_);
  if (notify_ != nullptr) notify_(context_);
}

}  // namespace hal
