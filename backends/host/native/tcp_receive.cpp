// What a connection's thread does: it receives, applies what peers ask for, and sends what waits for the socket.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tcp.h"

namespace hal {
namespace {

constexpr uint64_t kDirect = 1 << 20;  // puts from here on are received in place; shorter ones arrive in whole words

// In ascending order and, where the target is aligned, in whole words, as LL packets need it.
void copy_words(uint8_t* dst, const uint8_t* src, uint64_t n) {
  if (reinterpret_cast<uintptr_t>(dst) % 8 == 0) {
    for (; n >= 8; n -= 8, dst += 8, src += 8) {
      uint64_t word;
      std::memcpy(&word, src, 8);
      __atomic_store_n(reinterpret_cast<uint64_t*>(dst), word, __ATOMIC_RELEASE);
    }
  }
  std::memcpy(dst, src, n);
}

}  // namespace

void TcpConnection::serve() {
  while (!closing_.load()) {
    pollfd fds[2] = {{fd_, POLLIN, 0}, {wake_, POLLIN, 0}};
    {
      std::lock_guard hold(lock_);
      if (!queue_.empty() && !failed_) fds[0].events |= POLLOUT;
      if (failed_ && !refusing_) fds[0].fd = -1;
    }
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return fail(std::string("polling failed: ") + std::strerror(errno));
    if (fds[1].revents != 0) {
      uint64_t count;
      (void)!read(wake_, &count, sizeof count);
    }
    if ((fds[0].revents & POLLOUT) != 0) {
      std::lock_guard hold(lock_);
      send_queued();
    }
    if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      while (receive() && !closing_.load()) {
      }
    }
  }
}

bool TcpConnection::receive() {
  ssize_t got;
  if (into_left_ > 0 && into_ != nullptr && into_bytes_ >= kDirect && filled_ == 0) {
    std::shared_lock hold(into_->lock);
    if (!into_->open) {
      hold.unlock();
      refuse({Kind::kPut, 0, 0, into_at_, into_left_});
      into_ = nullptr;
      return true;
    }
    got = recv(fd_, into_->base + into_at_, std::min<uint64_t>(into_left_, 1 << 30), MSG_DONTWAIT);
    if (got > 0) {
      into_at_ += static_cast<uint64_t>(got);
      into_left_ -= static_cast<uint64_t>(got);
      if (into_left_ == 0) into_ = nullptr;
    }
  } else {
    got = recv(fd_, buffer_.data() + filled_, buffer_.size() - filled_, MSG_DONTWAIT);
    if (got > 0) {
      filled_ += static_cast<size_t>(got);
      size_t at = 0;
      while (take(at)) {
      }
      std::memmove(buffer_.data(), buffer_.data() + at, filled_ - at);
      filled_ -= at;
    }
  }
  if (got > 0) {
    tell();
    return true;
  }
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return false;
  fail(got == 0 ? "the peer has closed the connection" : std::string("receiving failed: ") + std::strerror(errno));
  refusing_ = false;
  return false;
}

// Take one piece from the buffer, from `at` on; false where it holds no whole one.
bool TcpConnection::take(size_t& at) {
  if (into_left_ > 0) return take_data(at);
  if (filled_ - at < sizeof(Head)) return false;
  Head head;
  std::memcpy(&head, buffer_.data() + at, sizeof head);
  at += sizeof head;
  if (!apply(head)) refuse(head);
  return true;
}

bool TcpConnection::take_data(size_t& at) {
  uint64_t n = std::min<uint64_t>(into_left_, filled_ - at);
  if (n < into_left_ && into_bytes_ < kDirect) n &= ~uint64_t{7};  // words stay whole
  if (n == 0) return false;
  if (into_ != nullptr) {
    std::shared_lock hold(into_->lock);
    if (into_->open) {
      copy_words(into_->base + into_at_, buffer_.data() + at, n);
    } else {
      hold.unlock();
      refuse({Kind::kPut, 0, 0, into_at_, into_left_});
      into_ = nullptr;
    }
  }
  at += n;
  into_at_ += n;
  into_left_ -= n;
  if (into_left_ == 0) into_ = nullptr;
  return true;
}

// Do what a head says; false where it reaches what it may not.
bool TcpConnection::apply(const Head& head) {
  switch (head.kind) {
    case Kind::kPut: {
      into_left_ = into_bytes_ = head.value;
      into_at_ = head.offset;
      into_ = nullptr;
      auto region = regions_->find(head.handle);
      if (region == nullptr || refusing_) return refusing_;
      std::shared_lock hold(region->lock);
      if (!region->holds(head.offset, head.value)) return false;
      if (head.value > 0) into_ = region;
      return true;
    }
    case Kind::kValue:
    case Kind::kAdd: {
      auto region = regions_->find(head.handle);
      if (region == nullptr || refusing_) return refusing_;
      std::shared_lock hold(region->lock);
      uint8_t* to = region->base + head.offset;
      if (!region->holds(head.offset, 8) || reinterpret_cast<uintptr_t>(to) % 8 != 0) return false;
      auto* word = reinterpret_cast<uint64_t*>(to);
      if (head.kind == Kind::kValue) {
        __atomic_store_n(word, head.value, __ATOMIC_RELEASE);
      } else {
        __atomic_fetch_add(word, head.value, __ATOMIC_ACQ_REL);
      }
      return true;
    }
    case Kind::kGet: {
      auto region = regions_->find(head.handle);
      if (region == nullptr || refusing_) return refusing_;
      {
        std::shared_lock hold(region->lock);
        if (!region->holds(head.offset, head.value)) return false;
      }
      post({{Kind::kData, 0, 0, 0, head.value}, region, head.offset, head.value}, false);
      return true;
    }
    case Kind::kData: {
      std::lock_guard hold(lock_);
      into_left_ = into_bytes_ = head.value;
      into_ = nullptr;
      if (wanted_.empty() || wanted_.front().bytes != head.value) return false;
      into_at_ = wanted_.front().offset;
      if (head.value > 0) into_ = wanted_.front().region;
      wanted_.pop_front();
      return true;
    }
    case Kind::kFlush:
      if (!refusing_) post({{Kind::kDone, 0, 0, 0, head.value}, nullptr}, false);
      return true;
    case Kind::kDone: {
      std::lock_guard hold(lock_);
      if (head.value > posted_) return false;
      completed_ = std::max(completed_, head.value);
      changed_.notify_all();
      return true;
    }
    case Kind::kRefused:
      fail("the peer refused an operation: memory that it has not registered, or has withdrawn, or a range outside");
      return true;
  }
  return false;
}

// From now on nothing of this peer is applied; it is told, and what it still sends is read and dropped.
void TcpConnection::refuse(const Head&) {
  if (refusing_) return;
  post({{Kind::kRefused, 0, 0, 0, 0}, nullptr}, false);
  refusing_ = true;
}

}  // namespace hal
