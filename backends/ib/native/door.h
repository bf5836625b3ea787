// The native door of a connection (hal/native/transport.h): its table of functions, and the memory that handles stand for.
#pragma once
#include <shared_mutex>
#include <unordered_map>

#include "hal/native/transport.h"
#include "link.h"

namespace hal_ib {

struct Range {
  uint64_t address, bytes;
  uint32_t key;
  bool holds(uint64_t offset, uint64_t n) const { return offset <= bytes && n <= bytes - offset; }
};

// Memory registered by this process, by handle.
class Locals {
 public:
  static Locals& get();
  uint64_t add(const Range& range);
  void remove(uint64_t handle);
  bool find(uint64_t handle, Range& range);

 private:
  std::shared_mutex lock_;
  std::unordered_map<uint64_t, Range> known_;
  uint64_t last_ = 0;
};

// Nobody is told of what arrives: callers poll. A peer that has gone is found out by a message of nothing, sent now and
// then while nothing else is under way.
class Door : public hal_connection {
 public:
  explicit Door(Link& link);
  Door(const Door&) = delete;

  uint64_t resolve(const Range& range);
  // Every function fails from now on.
  void close();

 private:
  template <typename Do>
  int with(uint64_t remote_handle, uint64_t offset, uint64_t nbytes, Do todo);
  template <typename Do>
  auto open(Do todo, decltype(todo()) closed) -> decltype(todo());
  int transfer(bool put, uint64_t remote, uint64_t offset, uint64_t local, uint64_t at, uint64_t nbytes);

  std::shared_mutex lock_;
  Link* link_;
  std::vector<Range> remotes_;
};

}  // namespace hal_ib
