// A channel through which a proxy on the host moves data: a copy engine, a network adapter. Kernels write triggers to a
// queue in memory that the host reads; the proxy carries them out in their order.
#pragma once
#include <hal/device/semaphore.h>

namespace hal::device {

constexpr u64 kTriggerPut = 1, kTriggerSignal = 2;  // kinds; of both the signal follows the data

// `ticket` is written last, and is the number of the trigger counted from 1, so that the proxy knows a fresh one.
struct alignas(64) Trigger {
  u64 ticket;
  u64 kind;     // or-ed
  u64 peer;
  u64 src;      // address in this rank's memory
  u64 dst;      // address in the peer's memory, as mapped here
  u64 bytes;
  u64 counter;  // of the peer, as mapped here: raised to `value` once the data is there
  u64 value;
};
static_assert(sizeof(Trigger) == 64);

struct Queue {
  Trigger* ring;    // host memory, mapped here
  u64 capacity;     // of the ring, in triggers
  u64* head;        // device memory: triggers pushed
  const u64* done;  // host memory, mapped here: triggers carried out, raised by the proxy

  // One lane pushes; what its block wrote before a block barrier before this is visible to the proxy.
  template <class Watch>
  HAL_DEVICE bool push(const Trigger& trigger, Watch& watch) const {
    u64 number = atomic_add_8(head, 1);
    if (number >= capacity && !await_counter(done, number - capacity + 1, watch)) return false;
    Trigger& slot = ring[number % capacity];
    store_relaxed_8(&slot.kind, trigger.kind);
    store_relaxed_8(&slot.peer, trigger.peer);
    store_relaxed_8(&slot.src, trigger.src);
    store_relaxed_8(&slot.dst, trigger.dst);
    store_relaxed_8(&slot.bytes, trigger.bytes);
    store_relaxed_8(&slot.counter, trigger.counter);
    store_relaxed_8(&slot.value, trigger.value);
    store_release_8(&slot.ticket, number + 1);
    return true;
  }
  // One lane waits until all that is in the queue by now is carried out.
  template <class Watch>
  HAL_DEVICE bool flush(Watch& watch) const {
    return await_counter(done, load_relaxed_8(head), watch);
  }
};

// Made by the host (hal.device.PortChannel) and read by kernels. All lanes of a block make every call; one block uses
// a channel at a time.
struct PortChannel {
  Semaphore semaphore;
  const Queue* queue;
  u64 peer;
  u8* local;   // this rank's memory
  u8* remote;  // the peer's, as mapped here

  // Start copying; offsets and lengths are bytes. With `signal` the peer is signalled once the data is there.
  template <class Watch>
  HAL_DEVICE bool put(u64 dst, u64 src, u64 bytes, Watch& watch, bool signal = false) const {
    return push(kTriggerPut | (signal ? kTriggerSignal : 0), dst, src, bytes, watch);
  }
  // Signal the peer after all that was put before.
  template <class Watch>
  HAL_DEVICE bool signal(Watch& watch) const {
    return push(kTriggerSignal, 0, 0, 0, watch);
  }
  template <class Watch>
  HAL_DEVICE bool wait(Watch& watch) const {
    return semaphore.wait(watch);
  }
  // Wait until all that was put before is there, and its source may be written again.
  template <class Watch>
  HAL_DEVICE bool flush(Watch& watch) const {
    bool failed = lane() == 0 && !queue->flush(watch);
    return !block_any(failed);
  }

 private:
  template <class Watch>
  HAL_DEVICE bool push(u64 kind, u64 dst, u64 src, u64 bytes, Watch& watch) const {
    block_barrier();
    bool failed = false;
    if (lane() == 0) {
      Trigger trigger{0, kind, peer, reinterpret_cast<u64>(local + src), reinterpret_cast<u64>(remote + dst), bytes, 0, 0};
      if (kind & kTriggerSignal) {
        trigger.counter = reinterpret_cast<u64>(semaphore.there);
        trigger.value = *semaphore.sent + 1;
        *semaphore.sent = trigger.value;
      }
      failed = !queue->push(trigger, watch);
    }
    return !block_any(failed);
  }
};
static_assert(sizeof(PortChannel) == 64 && sizeof(Queue) == 32);

}  // namespace hal::device
