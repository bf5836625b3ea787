// What a launch does for members that share no memory with this one: it passes on what it has written.
#include <time.h>

#include <algorithm>
#include <cstddef>

#include "clock.h"
#include "launch.h"
#include "packets.h"

namespace hal {
namespace {

constexpr uint64_t kPacketPut = 512 << 10;  // transports need to keep words whole in short puts alone
constexpr long kFullNap = 50'000;           // ns before a full queue is tried again

}  // namespace

// Post until the queue takes it, or the deadline passes. A connection that failed is found where the launch waits for
// its member, or not at all where that has all it needs.
template <typename Post>
void Launch::insist(Link& link, Post post) {
  while (post() == HAL_TRANSPORT_AGAIN) {
    begin_waiting();
    if (!lane_.failed() && now() >= deadline_) lane_.fail(Failure::kStall, lane_.rank);
    unsent_ = lane_.failed();
    if (unsent_) return;
    link.progress();
    timespec nap{0, kFullNap};
    nanosleep(&nap, nullptr);
  }
}

// The header, or what has changed in it.
void Launch::publish_header() {
  for (Link* link : lane_.links) {
    if (!published_) {
      insist(*link, [&] { return link->publish(&header_.key, sizeof(Header::key) + 2 * sizeof(uint64_t)); });
    }
    insist(*link, [&] { return link->publish_value(&header_.phase, phase(signals_)); });
  }
  published_ = true;
}

void Launch::publish_value(int member, const void* at, uint64_t value) {
  Link* link = lane_.members[member].link.get();
  if (link != nullptr) insist(*link, [&] { return link->publish_value(at, value); });
}

void Launch::publish_report() {
  const Report& report = lane_.own().report;
  for (Link* link : lane_.links) {
    insist(*link, [&] { return link->publish(&report.entries, sizeof report - offsetof(Report, entries)); });
    insist(*link, [&] { return link->publish_value(&report.launch, number_); });
  }
}

void Launch::finish() {
  lane_.own().finished.store(number_, std::memory_order_release);
  for (Link* link : lane_.links) {
    insist(*link, [&] { return link->publish_value(&lane_.own().finished, number_); });
  }
}

// Pass on what a move has written to mirrors.
void Launch::push(const Instruction& instruction, const Window& window) {
  const Operand* targets = program_->operands.data() + instruction.first + instruction.count;
  for (uint32_t i = 0; i < instruction.targets; i++) {
    Link* link = lane_.members[targets[i].base / 3].link.get();
    if (link == nullptr) continue;
    const uint8_t* at = address(targets[i], window);
    uint64_t bytes = targets[i].packet ? packets_for(window.bytes) * sizeof(Packet) : window.bytes;
    uint64_t most = targets[i].packet ? kPacketPut : bytes;
    for (uint64_t done = 0; done < bytes; done += most) {
      insist(*link, [&] { return link->push(at + done, std::min(most, bytes - done)); });
    }
  }
}

// Whether all sources of a move are here; those of remote members are fetched into the mirrors first.
bool Launch::pulled(Block& block, const Instruction& instruction, const Window& window) {
  const Operand* sources = program_->operands.data() + instruction.first;
  if (!block.pulling) {
    block.pulling = true;
    for (uint32_t i = 0; i < instruction.count; i++) {
      auto member = static_cast<int>(sources[i].base / 3);
      Link* link = lane_.members[member].link.get();
      if (link == nullptr) continue;
      insist(*link, [&] { return link->pull(address(sources[i], window), window.bytes); });
      work_.pulls[member] = link->posted();
    }
  }
  for (uint32_t i = 0; i < instruction.count; i++) {
    auto member = static_cast<int>(sources[i].base / 3);
    Link* link = lane_.members[member].link.get();
    if (link == nullptr) continue;
    uint64_t done = link->completed();
    if (done >= work_.pulls[member]) continue;
    // it may have completed the launch before it died: what is to be read is gone all the same
    if (link->failed() && !lane_.failed()) lane_.fail(Failure::kPeerDied, member);
    return stand(block, Waiting::kPort, -1, member, work_.pulls[member], done);
  }
  block.pulling = false;
  return true;
}

}  // namespace hal
