#include "link.h"

#include <sched.h>

#include <chrono>
#include <thread>

namespace hal_ib {

namespace {

constexpr int kBatch = 16;
constexpr int kQueueBits = 8;  // of the number of a request, for its queue pair
constexpr uint64_t kLargest = 1 << 30;
constexpr int64_t kSign = 100'000'000;  // ns between messages that only find out whether the peer is there

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Waits for what the device does: at once at first, then letting others run, then asleep.
class Waiting {
 public:
  explicit Waiting(int64_t timeout_ns) : timeout_(timeout_ns) {}
  // False once the time is over.
  bool pause() {
    if (++turns_ < 200) return true;
    if (turns_ == 200) begin_ = now();
    int64_t waited = now() - begin_;
    if (waited >= timeout_) return false;
    if (waited < 2'000'000) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }

 private:
  const int64_t timeout_;
  int turns_ = 0;
  int64_t begin_ = 0;
};

}  // namespace

Link::Link(Adapter& adapter, const Options& options)
    : adapter_(adapter),
      options_(options),
      values_(options.depth),
      values_region_(adapter, reinterpret_cast<uint64_t>(values_.data()), options.depth * sizeof(uint64_t)),
      fetched_region_(adapter, reinterpret_cast<uint64_t>(&fetched_), 8) {
  const Library& verbs = adapter.verbs;
  // failed requests are all reported, so there is room for as many as can be posted
  cq_ = verbs.create_cq(adapter.context, static_cast<int>(options.depth) * options.queues, nullptr, nullptr, 0);
  knock_cq_ = verbs.create_cq(adapter.context, 4, nullptr, nullptr, 0);
  try {
    if (cq_ == nullptr || knock_cq_ == nullptr) fail("a completion queue", errno);
    knock_ = std::make_unique<Queue>(adapter, knock_cq_, 4, 0);
    for (int i = 0; i < options.queues; i++) {
      queues_.push_back(std::make_unique<Queue>(adapter, cq_, options.depth, options.inline_bytes));
    }
  } catch (...) {
    queues_.clear();
    knock_.reset();
    if (cq_ != nullptr) verbs.destroy_cq(cq_);
    if (knock_cq_ != nullptr) verbs.destroy_cq(knock_cq_);
    throw;
  }
}

Link::~Link() {
  queues_.clear();
  knock_.reset();
  adapter_.verbs.destroy_cq(cq_);
  adapter_.verbs.destroy_cq(knock_cq_);
}

std::vector<uint32_t> Link::numbers() const {
  std::vector<uint32_t> found{knock_->qp->qp_num};
  for (const auto& queue : queues_) found.push_back(queue->qp->qp_num);
  return found;
}

void Link::arrange(const Address& to, const std::vector<uint32_t>& numbers, uint32_t own_psn, uint32_t peer_psn) {
  if (numbers.size() != queues_.size() + 1) fail("queue pairs of the peer", EINVAL);
  to_ = to;
  peer_ = numbers;
  own_psn_ = own_psn;
  peer_psn_ = peer_psn;
  for (size_t i = 0; i < queues_.size(); i++) {
    queues_[i]->arrange(to, numbers[i + 1], own_psn, peer_psn, options_);
  }
  // last, since a peer that reaches it takes the others for arranged
  knock_->arrange(to_, peer_[0], own_psn_, peer_psn_, options_);
}

// A write of nothing on a queue pair of its own, until one is acknowledged. Where the retries of one are used up, the
// queue pair begins anew: no data was lost on it, and a peer that already has the number takes it for a duplicate.
Status Link::knock(int64_t timeout_ns) {
  const auto& ops = adapter_.context->ops;
  for (Waiting waiting(timeout_ns);;) {
    if (!knocking_) {
      abi::SendRequest request{};
      request.opcode = abi::kRdmaWrite;
      request.send_flags = abi::kSignaled;
      if (int code = knock_->post(request)) fail("the first message", code);
      knocking_ = true;
    }
    abi::Completion done;
    int found = ops.poll_cq(knock_cq_, 1, &done);
    if (found < 0) fail("polling", EIO);
    if (found == 1) {
      knocking_ = false;
      if (done.status == 0) return kOk;
      knock_->arrange(to_, peer_[0], own_psn_, peer_psn_, options_);
    }
    if (!waiting.pause()) return kTimeout;
  }
}

void Link::poll() {
  abi::Completion done[kBatch];
  int found;
  while ((found = cq_->context->ops.poll_cq(cq_, kBatch, done)) > 0) {
    reported += found;
    for (int i = 0; i < found; i++) {
      if (done[i].status != 0) {
        if (failure.status == 0) failure = {done[i].status, done[i].vendor_err};
        continue;
      }
      Queue& queue = *queues_[done[i].wr_id & ((1 << kQueueBits) - 1)];
      queue.complete = std::max(queue.complete, done[i].wr_id >> kQueueBits);
    }
    if (found < kBatch) break;
  }
  if (found < 0 && failure.status == 0) failure = {-EIO, 0};
}

bool Link::idle() const {
  for (const auto& queue : queues_) {
    if (queue->complete < queue->posted) return false;
  }
  return true;
}

Status Link::post(Queue& queue, abi::SendRequest& request, int64_t patience_ns, bool ask) {
  if (queue.posted - queue.complete >= options_.depth) {
    for (Waiting waiting(patience_ns);;) {
      poll();
      if (failure.status != 0) return kFailed;
      if (queue.posted - queue.complete < options_.depth) break;
      if (!waiting.pause()) return kTimeout;
    }
  }
  uint64_t number = queue.posted + 1;
  ask = ask || number - queue.asked >= std::max(options_.depth / 4, 1u);
  uint64_t index = 0;
  while (queues_[index].get() != &queue) index++;
  request.wr_id = number << kQueueBits | index;
  request.send_flags |= (ask ? abi::kSignaled : 0u) | (queue.fence ? abi::kFence : 0u);
  if (int code = queue.post(request)) {
    if (failure.status == 0) failure = {-code, 0};
    return kFailed;
  }
  queue.posted = number;
  queue.fence = request.opcode == abi::kRdmaRead;
  if (ask) queue.asked = number;
  return kOk;
}

Status Link::drain(int64_t timeout_ns) {
  for (auto& queue : queues_) {
    if (queue->complete == queue->posted || queue->asked == queue->posted) continue;
    abi::SendRequest marker{};
    marker.opcode = abi::kRdmaWrite;  // of nothing: its completion stands for all before
    if (Status status = post(*queue, marker, timeout_ns, true)) return status;
  }
  for (Waiting waiting(timeout_ns);;) {
    poll();
    if (failure.status != 0) return kFailed;
    if (idle()) return kOk;
    if (!waiting.pause()) return kTimeout;
  }
}

Status Link::flush(int64_t timeout_ns) {
  std::lock_guard<std::mutex> hold(lock_);
  if (failure.status != 0) return kFailed;
  Status status = drain(timeout_ns);
  if (status == kOk) striped_ = false;
  return status;
}

Status Link::transfer(int opcode, uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes,
                      int64_t patience_ns) {
  std::lock_guard<std::mutex> hold(lock_);
  if (failure.status != 0) return kFailed;
  if (striped_) {
    if (Status status = drain(patience_ns)) return status;
    striped_ = false;
  }
  if (opcode == abi::kRdmaWrite && queues_.size() > 1 && nbytes >= options_.stripe) {
    return stripes(remote, rkey, local, lkey, nbytes, patience_ns);
  }
  uint64_t largest = std::min<uint64_t>(adapter_.attributes.max_msg_sz, kLargest);
  for (uint64_t at = 0; at < nbytes; at += largest) {
    uint64_t part = std::min(nbytes - at, largest);
    abi::Sge piece{local + at, static_cast<uint32_t>(part), lkey};
    abi::SendRequest request{};
    request.opcode = opcode;
    request.sg_list = &piece;
    request.num_sge = 1;
    if (opcode == abi::kRdmaWrite && part <= options_.inline_bytes) request.send_flags = abi::kInline;
    request.wr.rdma.remote_addr = remote + at;
    request.wr.rdma.rkey = rkey;
    if (Status status = post(*queues_[0], request, patience_ns)) return status;
  }
  return kOk;
}

Status Link::stripes(uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes,
                     int64_t patience_ns) {
  if (Status status = drain(patience_ns)) return status;
  uint64_t part = ((nbytes + queues_.size() - 1) / queues_.size() + 4095) & ~uint64_t{4095};
  part = std::min<uint64_t>({part, adapter_.attributes.max_msg_sz, kLargest});
  striped_ = true;
  for (uint64_t at = 0, turn = 0; at < nbytes; at += part, turn++) {
    abi::Sge piece{local + at, static_cast<uint32_t>(std::min(part, nbytes - at)), lkey};
    abi::SendRequest request{};
    request.opcode = abi::kRdmaWrite;
    request.sg_list = &piece;
    request.num_sge = 1;
    request.wr.rdma.remote_addr = remote + at;
    request.wr.rdma.rkey = rkey;
    if (Status status = post(*queues_[turn % queues_.size()], request, patience_ns, true)) return status;
  }
  return kOk;
}

Status Link::put(uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes, int64_t patience_ns) {
  return transfer(abi::kRdmaWrite, remote, rkey, local, lkey, nbytes, patience_ns);
}

Status Link::get(uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes, int64_t patience_ns) {
  return transfer(abi::kRdmaRead, remote, rkey, local, lkey, nbytes, patience_ns);
}

Status Link::add(uint64_t remote, uint32_t rkey, uint64_t value, int64_t patience_ns) {
  std::lock_guard<std::mutex> hold(lock_);
  if (failure.status != 0) return kFailed;
  if (striped_) {
    if (Status status = drain(patience_ns)) return status;
    striped_ = false;
  }
  abi::Sge piece{reinterpret_cast<uint64_t>(&fetched_), 8, fetched_region_.lkey()};
  abi::SendRequest request{};
  request.opcode = abi::kFetchAndAdd;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.wr.atomic.remote_addr = remote;
  request.wr.atomic.compare_add = value;
  request.wr.atomic.rkey = rkey;
  return post(*queues_[0], request, patience_ns);
}

Status Link::value(uint64_t remote, uint32_t rkey, uint64_t value) {
  std::lock_guard<std::mutex> hold(lock_);
  if (failure.status != 0) return kFailed;
  if (striped_) {
    if (Status status = drain(0)) return status;
    striped_ = false;
  }
  Queue& queue = *queues_[0];
  if (queue.posted - queue.complete >= options_.depth) {
    poll();
    if (failure.status != 0) return kFailed;
    if (queue.posted - queue.complete >= options_.depth) return kTimeout;
  }
  // at most `depth` requests are under way, so that the one that had this place is complete
  uint64_t& place = values_[queue.posted % options_.depth];
  place = value;
  abi::Sge piece{reinterpret_cast<uint64_t>(&place), 8, values_region_.lkey()};
  abi::SendRequest request{};
  request.opcode = abi::kRdmaWrite;
  request.sg_list = &piece;
  request.num_sge = 1;
  if (options_.inline_bytes >= 8) request.send_flags = abi::kInline;
  request.wr.rdma.remote_addr = remote;
  request.wr.rdma.rkey = rkey;
  return post(queue, request, 0);
}

Status Link::progress() {
  std::lock_guard<std::mutex> hold(lock_);
  poll();
  if (failure.status != 0) return kFailed;
  if (!idle()) {
    last_sign_ = now();
    return ask();
  }
  if (now() - last_sign_ < kSign) return kOk;
  last_sign_ = now();
  abi::SendRequest sign{};
  sign.opcode = abi::kRdmaWrite;  // of nothing: it fails where nobody is there any more
  return post(*queues_[0], sign, 0, true);
}

// Have the completion of all that was posted reported, where nothing does so yet.
Status Link::ask() {
  for (auto& queue : queues_) {
    if (queue->complete == queue->posted || queue->asked == queue->posted) continue;
    abi::SendRequest marker{};
    marker.opcode = abi::kRdmaWrite;
    if (post(*queue, marker, 0, true) == kFailed) return kFailed;
  }
  return kOk;
}

uint64_t Link::posted() {
  std::lock_guard<std::mutex> hold(lock_);
  return total();
}

uint64_t Link::total() const {
  uint64_t all = 0;
  for (const auto& queue : queues_) all += queue->posted;
  return all;
}

uint64_t Link::completed() {
  std::lock_guard<std::mutex> hold(lock_);
  poll();
  if (failure.status != 0) return complete_;
  if (idle()) {
    complete_ = total();
  } else if (queues_.size() == 1) {
    complete_ = queues_[0]->complete;
  }
  uint64_t found = complete_;
  ask();
  return found;
}

bool Link::broken() {
  std::lock_guard<std::mutex> hold(lock_);
  return failure.status != 0;
}

void Link::break_it() {
  for (auto& queue : queues_) queue->break_it();
}

}  // namespace hal_ib
