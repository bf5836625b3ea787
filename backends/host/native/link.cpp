#include "link.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <stdexcept>
#include <string>

#include "fence.h"

namespace hal {
namespace {

hal_connection* checked(hal_connection* connection) {
  if (connection == nullptr) throw std::invalid_argument("a link needs a connection");
  if (connection->abi != HAL_TRANSPORT_ABI || connection->size < sizeof(hal_connection)) {
    throw std::invalid_argument("the transport's native door is of version " + std::to_string(connection->abi) +
                                ", this executor is made for " + std::to_string(HAL_TRANSPORT_ABI));
  }
  return connection;
}

uint64_t offset(const void* at, uint64_t base) { return reinterpret_cast<uint64_t>(at) - base; }

}  // namespace

Link::Link(hal_connection* connection, const LinkEnds& ends)
    : connection_(checked(connection)), ends_(ends), polled_(connection->notifies == 0) {
  connection->set_notify(connection, [](void* self) { static_cast<Link*>(self)->ring(); }, this);
}

int Link::judge(int status) {
  if (status < 0) failed_.store(true);
  return status;
}

int Link::publish(const void* at, uint64_t bytes) {
  hal_connection* c = connection_.load();
  uint64_t where = offset(at, ends_.own);
  return c == nullptr ? HAL_TRANSPORT_FAILED : judge(c->put(c, ends_.peer_mirror, where, ends_.own_handle, where, bytes));
}

int Link::publish_value(const void* at, uint64_t value) {
  hal_connection* c = connection_.load();
  return c == nullptr ? HAL_TRANSPORT_FAILED : judge(c->put_value(c, ends_.peer_mirror, offset(at, ends_.own), value));
}

int Link::push(const void* at, uint64_t bytes) {
  hal_connection* c = connection_.load();
  uint64_t where = offset(at, ends_.mirror);
  return c == nullptr ? HAL_TRANSPORT_FAILED
                      : judge(c->put(c, ends_.peer_block, where, ends_.mirror_handle, where, bytes));
}

int Link::pull(void* at, uint64_t bytes) {
  hal_connection* c = connection_.load();
  uint64_t where = offset(at, ends_.mirror);
  return c == nullptr ? HAL_TRANSPORT_FAILED
                      : judge(c->get(c, ends_.peer_block, where, ends_.mirror_handle, where, bytes));
}

uint64_t Link::posted() {
  hal_connection* c = connection_.load();
  return c == nullptr ? 0 : c->posted(c);
}

uint64_t Link::completed() {
  hal_connection* c = connection_.load();
  return c == nullptr ? 0 : c->completed(c);
}

void Link::progress() {
  if (hal_connection* c = connection_.load(); c != nullptr) judge(c->progress(c));
}

bool Link::failed() {
  if (failed_.load()) return true;
  hal_connection* c = connection_.load();
  return c == nullptr || c->error(c) != nullptr;
}

void Link::add(Doorbell* door) {
  std::lock_guard hold(lock_);
  doors_.push_back(door);
}

void Link::remove(Doorbell* door) {
  std::lock_guard hold(lock_);
  doors_.erase(std::remove(doors_.begin(), doors_.end(), door), doors_.end());
}

void Link::detach() {
  hal_connection* c = connection_.exchange(nullptr);
  if (c != nullptr) c->set_notify(c, nullptr, nullptr);
}

// From a thread of the transport, after what arrived was stored.
void Link::ring() {
  light_fence();
  std::lock_guard hold(lock_);
  for (Doorbell* door : doors_) {
    if (door->sleeping.load(std::memory_order_relaxed) == 0) continue;
    door->bell.fetch_add(1, std::memory_order_relaxed);
    syscall(SYS_futex, &door->bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
}

}  // namespace hal
