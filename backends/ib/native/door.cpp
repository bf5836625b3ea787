#include "door.h"

#include <mutex>

namespace hal_ib {
namespace {

Door* self_of(hal_connection* c) { return static_cast<Door*>(c); }

int answer(Status status) {
  return status == kOk ? 0 : status == kTimeout ? HAL_TRANSPORT_AGAIN : HAL_TRANSPORT_FAILED;
}

}  // namespace

Locals& Locals::get() {
  static Locals locals;
  return locals;
}

uint64_t Locals::add(const Range& range) {
  std::unique_lock hold(lock_);
  known_[++last_] = range;
  return last_;
}

void Locals::remove(uint64_t handle) {
  std::unique_lock hold(lock_);
  known_.erase(handle);
}

bool Locals::find(uint64_t handle, Range& range) {
  std::shared_lock hold(lock_);
  auto found = known_.find(handle);
  if (found != known_.end()) range = found->second;
  return found != known_.end();
}

template <typename Do>
auto Door::open(Do todo, decltype(todo()) closed) -> decltype(todo()) {
  std::shared_lock hold(lock_);
  return link_ == nullptr ? closed : todo();
}

Door::Door(Link& link) : hal_connection{}, link_(&link) {
  abi = HAL_TRANSPORT_ABI;
  size = sizeof(hal_connection);
  notifies = 0;
  hal_connection::put = [](hal_connection* c, uint64_t rh, uint64_t ro, uint64_t lh, uint64_t lo, uint64_t n) {
    return self_of(c)->transfer(true, rh, ro, lh, lo, n);
  };
  hal_connection::get = [](hal_connection* c, uint64_t rh, uint64_t ro, uint64_t lh, uint64_t lo, uint64_t n) {
    return self_of(c)->transfer(false, rh, ro, lh, lo, n);
  };
  hal_connection::put_value = [](hal_connection* c, uint64_t rh, uint64_t ro, uint64_t value) {
    Door& d = *self_of(c);
    return d.with(rh, ro, 8, [&](const Range& to) { return answer(d.link_->value(to.address + ro, to.key, value)); });
  };
  hal_connection::atomic_add = [](hal_connection* c, uint64_t rh, uint64_t ro, uint64_t value) {
    Door& d = *self_of(c);
    return d.with(rh, ro, 8, [&](const Range& to) {
      return d.link_->atomic() ? answer(d.link_->add(to.address + ro, to.key, value, 0)) : HAL_TRANSPORT_UNSUPPORTED;
    });
  };
  hal_connection::progress = [](hal_connection* c) {
    return self_of(c)->open([&] { return answer(self_of(c)->link_->progress()); }, HAL_TRANSPORT_FAILED);
  };
  hal_connection::posted = [](hal_connection* c) {
    return self_of(c)->open([&] { return self_of(c)->link_->posted(); }, 0);
  };
  hal_connection::completed = [](hal_connection* c) {
    return self_of(c)->open([&] { return self_of(c)->link_->completed(); }, 0);
  };
  hal_connection::error = [](hal_connection* c) -> const char* {
    Door& d = *self_of(c);
    std::shared_lock hold(d.lock_);
    if (d.link_ == nullptr) return "the connection was closed here";
    return d.link_->broken() ? "an RDMA operation failed" : nullptr;
  };
  hal_connection::set_notify = [](hal_connection*, void (*)(void*), void*) { return 0; };
}

uint64_t Door::resolve(const Range& range) {
  std::unique_lock hold(lock_);
  remotes_.push_back(range);
  return remotes_.size() - 1;
}

void Door::close() {
  std::unique_lock hold(lock_);
  link_ = nullptr;
}

template <typename Do>
int Door::with(uint64_t remote_handle, uint64_t offset, uint64_t nbytes, Do todo) {
  std::shared_lock hold(lock_);
  if (link_ == nullptr) return HAL_TRANSPORT_FAILED;
  if (remote_handle >= remotes_.size() || !remotes_[remote_handle].holds(offset, nbytes)) return HAL_TRANSPORT_BAD_RANGE;
  return todo(remotes_[remote_handle]);
}

int Door::transfer(bool put, uint64_t remote, uint64_t offset, uint64_t local, uint64_t at, uint64_t nbytes) {
  Range own;
  if (!Locals::get().find(local, own) || !own.holds(at, nbytes)) return HAL_TRANSPORT_BAD_RANGE;
  return with(remote, offset, nbytes, [&](const Range& to) {
    if (put) return answer(link_->put(to.address + offset, to.key, own.address + at, own.key, nbytes, 0));
    return answer(link_->get(to.address + offset, to.key, own.address + at, own.key, nbytes, 0));
  });
}

}  // namespace hal_ib
