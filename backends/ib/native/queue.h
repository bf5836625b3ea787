// One queue pair: its states, and the count of what was posted and what is complete.
#pragma once
#include <array>

#include "adapter.h"

namespace hal_ib {

struct Options {
  int queues;
  uint32_t depth;
  uint32_t inline_bytes;
  uint64_t stripe;
  uint8_t ack_timeout;  // 4.096 µs * 2^this
  uint8_t retries;
  uint8_t rnr_retries;
};

// How to reach the peer's port.
struct Address {
  std::array<uint8_t, 16> gid;
  uint8_t gid_index;  // of this side
  bool global;
  uint16_t lid;
  int mtu;
};

class Queue {
 public:
  Queue(Adapter& adapter, abi::Cq* cq, uint32_t depth, uint32_t inline_bytes) : adapter_(adapter) {
    abi::QpInitAttributes wanted{};
    wanted.send_cq = wanted.recv_cq = cq;
    wanted.cap = {depth, 1, 1, 1, inline_bytes};
    wanted.qp_type = abi::kReliableConnection;
    qp = adapter.verbs.create_qp(adapter.pd, &wanted);
    if (qp == nullptr) fail("a queue pair of depth " + std::to_string(depth) + " with " +
                            std::to_string(inline_bytes) + " bytes inline", errno);
  }
  Queue(const Queue&) = delete;
  ~Queue() { adapter_.verbs.destroy_qp(qp); }

  void arrange(const Address& to, uint32_t number, uint32_t own_psn, uint32_t peer_psn, const Options& options) {
    abi::QpAttributes set{};
    set.qp_state = abi::kReset;
    modify(set, abi::kState);
    set.qp_state = abi::kInit;
    set.port_num = adapter_.port;
    set.qp_access_flags = kRemoteAccess;
    modify(set, abi::kState | abi::kPkeyIndex | abi::kPort | abi::kAccessFlags);
    set.qp_state = abi::kReadyToReceive;
    set.path_mtu = to.mtu;
    set.dest_qp_num = number;
    set.rq_psn = peer_psn;
    set.max_dest_rd_atomic = adapter_.depth_of_reads();
    set.min_rnr_timer = 12;  // 0.64 ms
    set.ah_attr.dlid = to.lid;
    set.ah_attr.port_num = adapter_.port;
    set.ah_attr.is_global = to.global;
    std::copy(to.gid.begin(), to.gid.end(), set.ah_attr.grh.dgid);
    set.ah_attr.grh.sgid_index = to.gid_index;
    set.ah_attr.grh.hop_limit = 64;
    modify(set, abi::kState | abi::kAddress | abi::kPathMtu | abi::kDestQpn | abi::kRqPsn | abi::kMaxDestRdAtomic |
                    abi::kMinRnrTimer);
    set.qp_state = abi::kReadyToSend;
    set.sq_psn = own_psn;
    set.timeout = options.ack_timeout;
    set.retry_cnt = options.retries;
    set.rnr_retry = options.rnr_retries;
    set.max_rd_atomic = adapter_.depth_of_reads();
    modify(set, abi::kState | abi::kTimeout | abi::kRetryCount | abi::kRnrRetry | abi::kSqPsn | abi::kMaxRdAtomic);
  }

  // For tests: as a fault of the device would leave it.
  void break_it() {
    abi::QpAttributes set{};
    set.qp_state = abi::kError;
    modify(set, abi::kState);
  }

  int post(abi::SendRequest& request) {
    abi::SendRequest* bad = nullptr;
    return qp->context->ops.post_send(qp, &request, &bad);
  }

  abi::Qp* qp;
  uint64_t posted = 0;
  uint64_t complete = 0;
  uint64_t asked = 0;    // the last one whose completion will be reported
  bool fence = false;    // the next request waits for the reads before it

 private:
  void modify(abi::QpAttributes& set, int mask) {
    if (int code = adapter_.verbs.modify_qp(qp, &set, mask)) {
      fail("queue pair to state " + std::to_string(set.qp_state), code);
    }
  }
  Adapter& adapter_;
};

}  // namespace hal_ib
