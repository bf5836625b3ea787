// A member that shares no memory with this one, reached through the native door of a transport.
//
// The blocks of all members of a group have one layout. Each process keeps a mirror of a remote member's block. What
// that member writes to its own block for others to see it also puts into the mirror; what this one writes to the
// remote member's scratch goes to the mirror, and is put into the real block from there. So all that reads and writes
// memory of members works on addresses, and what was written is passed on in the order of writing.
#pragma once
#include <cstdint>
#include <mutex>
#include <vector>

#include "hal/native/transport.h"
#include "shared.h"

namespace hal {

struct LinkEnds {
  uint64_t own, own_handle;  // this member's block: its address, and its registration
  uint64_t mirror, mirror_handle;
  uint64_t peer_block, peer_mirror;  // the peer's block, and its mirror of this member's, as the connection knows them
};

class Link {
 public:
  Link(hal_connection* connection, const LinkEnds& ends);
  ~Link() { detach(); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Each posts, and returns what the connection does. A failure stands, and shows in `failed`.
  int publish(const void* at, uint64_t bytes);  // of the own block, for the peer to see
  int publish_value(const void* at, uint64_t value);
  int push(const void* at, uint64_t bytes);  // of the mirror, to the peer's block
  int pull(void* at, uint64_t bytes);        // of the peer's block, to the mirror
  uint64_t posted();
  uint64_t completed();
  void progress();
  bool failed();
  bool polled() const { return polled_; }  // nothing goes on without `progress`

  // Who is rung when something has arrived.
  void add(Doorbell* door);
  void remove(Doorbell* door);
  // Use the connection no more; it may be closed afterwards.
  void detach();

 private:
  int judge(int status);
  void ring();

  std::atomic<hal_connection*> connection_;
  const LinkEnds ends_;
  const bool polled_;
  std::atomic<bool> failed_{false};
  std::mutex lock_;
  std::vector<Doorbell*> doors_;
};

}  // namespace hal
