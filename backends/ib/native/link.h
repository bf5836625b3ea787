// A connection to one peer: queue pairs that share a completion queue, and the calls of the hot path.
//
// Order: all goes through the first queue pair, which delivers in order; a request after a read waits for it (fence).
// A put of at least `stripe` bytes is spread over all queue pairs, when those before it are complete, and those after it
// wait until it is. Flow control: at most `depth` requests are posted on a queue pair and not complete. The completion of
// every fourth of `depth` is reported, and stands for those before it; flush asks for one more where it needs it.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "queue.h"

namespace hal_ib {

enum Status : int { kOk = 0, kTimeout = 1, kFailed = 2 };

// What failed first; `status` is that of the completion, or -errno where posting failed.
struct Failure {
  int status = 0;
  uint32_t vendor = 0;
};

class Link {
 public:
  Link(Adapter& adapter, const Options& options);
  Link(const Link&) = delete;
  ~Link();

  // Of the queue pair that only finds out whether the peer is there, then of those for data.
  std::vector<uint32_t> numbers() const;
  void arrange(const Address& to, const std::vector<uint32_t>& numbers, uint32_t own_psn, uint32_t peer_psn);
  // Whether the peer has arranged its side; call it again after kTimeout.
  Status knock(int64_t timeout_ns);

  // Threads may call these together. They wait, for `patience_ns` at most, only where a queue is full.
  Status put(uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes, int64_t patience_ns);
  Status get(uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes, int64_t patience_ns);
  Status add(uint64_t remote, uint32_t rkey, uint64_t value, int64_t patience_ns);
  Status flush(int64_t timeout_ns);
  // For the native door: these wait for nothing; kTimeout says that a queue is full.
  Status value(uint64_t remote, uint32_t rkey, uint64_t value);
  Status progress();
  uint64_t posted();
  uint64_t completed();  // of the first ones; asks for the completion of the last one
  bool broken();
  bool atomic() const { return adapter_.device.atomic_cap != 0; }
  void break_it();

  Failure failure;
  uint64_t reported = 0;  // completions that were polled

 private:
  Status transfer(int opcode, uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes,
                  int64_t patience_ns);
  Status stripes(uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes, int64_t patience_ns);
  Status post(Queue& queue, abi::SendRequest& request, int64_t patience_ns, bool ask = false);
  Status drain(int64_t timeout_ns);
  bool idle() const;
  Status ask();
  uint64_t total() const;
  void poll();

  Adapter& adapter_;
  const Options options_;
  std::mutex lock_;
  abi::Cq* cq_ = nullptr;
  abi::Cq* knock_cq_ = nullptr;
  std::unique_ptr<Queue> knock_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<uint64_t> values_;  // what `value` sends, for as long as it may be under way
  Region values_region_;
  uint64_t complete_ = 0;         // what `posted` was when all was complete last
  int64_t last_sign_ = 0;         // when something was under way last
  uint64_t fetched_ = 0;  // where atomics leave the value before, which nobody reads
  Region fetched_region_;
  bool striped_ = false;
  bool knocking_ = false;
  Address to_{};
  std::vector<uint32_t> peer_;
  uint32_t own_psn_ = 0;
  uint32_t peer_psn_ = 0;
};

}  // namespace hal_ib
