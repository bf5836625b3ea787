// Connections over TCP sockets, as one-sided operations on registered memory.
//
// Each connection has one thread, which applies what arrives and sends what the socket did not take at once, so that a
// peer's operations go on whatever this process does. The wire carries, for each operation, a head of 32 bytes and its
// data. A registration is known to peers by a random number, and every range is checked where it is applied.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "hal/native/transport.h"

namespace hal {

// Memory that peers may reach, until `withdraw`, which returns when nobody is at it any more.
struct Region {
  uint8_t* base;
  uint64_t bytes;
  std::shared_mutex lock;
  bool open = true;
  bool holds(uint64_t offset, uint64_t n) const { return open && offset <= bytes && n <= bytes - offset; }
};

class Regions {
 public:
  uint64_t add(uint64_t address, uint64_t bytes);
  void withdraw(uint64_t handle);
  std::shared_ptr<Region> find(uint64_t handle);

 private:
  std::mutex lock_;
  std::unordered_map<uint64_t, std::shared_ptr<Region>> known_;
};

class TcpConnection : public hal_connection {
 public:
  // Takes over a connected socket whose two sides know each other.
  TcpConnection(std::shared_ptr<Regions> regions, int fd);
  ~TcpConnection();
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;

  // 1: complete, 0: `timeout_ns` passed (the connection fails then), -1: the connection failed.
  int flush(int64_t timeout_ns);
  void close();
  std::string failure();

 private:
  enum class Kind : uint32_t { kPut = 1, kValue, kAdd, kGet, kData, kFlush, kDone, kRefused };
  struct Head {
    Kind kind;
    uint32_t reserved;
    uint64_t handle, offset, value;  // value: bytes, the value, or a sequence number
  };
  static_assert(sizeof(Head) == 32);
  struct Item {
    Head head;
    std::shared_ptr<Region> region;
    uint64_t offset = 0, bytes = 0, sent = 0;  // sent counts the head too
  };
  struct Wanted {
    std::shared_ptr<Region> region;
    uint64_t offset, bytes;
  };

  int post(Item item, bool counts);
  int post_local(Kind kind, uint64_t remote, uint64_t offset, uint64_t local, uint64_t at, uint64_t bytes);
  bool send_queued();  // with lock_; false where the socket takes no more
  void ask_flush();    // with lock_
  void serve();
  bool receive();  // false: nothing there
  bool take(size_t& at);
  bool take_data(size_t& at);
  bool apply(const Head& head);
  void refuse(const Head& head);
  void fail(const std::string& why);
  void fail_locked(const std::string& why);
  void tell();

  std::shared_ptr<Regions> regions_;
  const int fd_;
  int wake_;
  std::thread thread_;
  std::atomic<bool> closed_{false}, closing_{false};

  std::mutex lock_;  // of what follows
  std::condition_variable changed_;
  std::deque<Item> queue_;
  std::deque<Wanted> wanted_;  // gets whose data has not come
  uint64_t posted_ = 0, completed_ = 0, asked_ = 0;
  bool failed_ = false;
  std::string why_;

  std::mutex notify_lock_;
  void (*notify_)(void*) = nullptr;
  void* context_ = nullptr;

  // of the thread alone
  std::vector<uint8_t> buffer_;
  size_t filled_ = 0;
  std::shared_ptr<Region> into_;  // where data goes that is being received; null: nowhere
  uint64_t into_at_ = 0, into_left_ = 0, into_bytes_ = 0;
  bool refusing_ = false;
};

}  // namespace hal
