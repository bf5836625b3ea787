// The proxy of a copy engine: a thread that carries out the triggers of one queue (hal/device/port_channel.h) with the
// driver's asynchronous copies, on a stream of its own. It knows no driver: hal.gpu.engine gives it four functions.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <atomic>
#include <cstdint>
#include <new>
#include <system_error>
#include <thread>

namespace {

using u64 = std::uint64_t;
constexpr u64 kPut = 1, kSignal = 2;
constexpr int kNotReady = 600;  // as `CopyCalls.query` says
constexpr int kRelaxed = 2;     // as `CopyCalls.exchange` takes it
constexpr int kSpins = 2000;
constexpr long kShortestNap = 5'000, kLongestNap = 200'000;  // nanoseconds
constexpr u64 kLeaving = 5'000'000'000;  // nanoseconds that copies under way have to end once the thread is to stop

struct Trigger {  // as in port_channel.h
  u64 ticket, kind, peer, src, dst, bytes, counter, value;
};

// As hal.gpu.engine packs it.
struct Setup {
  u64 enter, exchange, copy, query;  // addresses of the driver's functions
  u64 context;             // what `enter` takes
  std::int64_t direction;  // what `copy` takes before the stream; below 0 where it takes nothing there
  u64 stream;
  u64 ring, capacity, done;  // of the queue, in memory of the host that the device reaches
  u64 abort, abort_value;    // a word that ends kernels, and what to write there when a copy fails
};

u64 now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

class Patience {  // spins, then sleeps for longer and longer
 public:
  void wait() {
    if (++turns_ < kSpins) {
      sched_yield();
      return;
    }
    timespec nap{0, nap_};
    nanosleep(&nap, nullptr);
    nap_ = nap_ * 2 < kLongestNap ? nap_ * 2 : kLongestNap;
  }
  void reset() { *this = Patience(); }

 private:
  int turns_ = 0;
  long nap_ = kShortestNap;
};

class Proxy {
 public:
  explicit Proxy(const Setup& setup) : setup_(setup), thread_([this] { serve(); }) {}
  ~Proxy() {
    halt();
    thread_.join();
  }
  void halt() { stopping_.store(true); }
  int error(u64* refused) const {
    int status = error_.load();
    for (int i = 0; i < 3; i++) refused[i] = status == 0 ? 0 : refused_[i];
    return status;
  }
  u64 carried_out() const { return __atomic_load_n(word(setup_.done), __ATOMIC_ACQUIRE); }

 private:
  static u64* word(u64 address) { return reinterpret_cast<u64*>(address); }

  int enter() const {
    int status = 0, mode = kRelaxed;
    if (setup_.direction < 0) {
      status = reinterpret_cast<int (*)(void*)>(setup_.enter)(reinterpret_cast<void*>(setup_.context));
    } else {
      status = reinterpret_cast<int (*)(int)>(setup_.enter)(static_cast<int>(setup_.context));
    }
    return status != 0 ? status : reinterpret_cast<int (*)(int*)>(setup_.exchange)(&mode);
  }
  int copy(u64 dst, u64 src, u64 bytes) {
    int status = 0;
    if (setup_.direction < 0) {
      status = reinterpret_cast<int (*)(u64, u64, u64, u64)>(setup_.copy)(dst, src, bytes, setup_.stream);
    } else {
      using Copy = int (*)(u64, u64, u64, int, u64);
      int direction = static_cast<int>(setup_.direction);
      status = reinterpret_cast<Copy>(setup_.copy)(dst, src, bytes, direction, setup_.stream);
    }
    if (status != 0) refused_[0] = dst, refused_[1] = src, refused_[2] = bytes;
    return status;
  }

  // The signal is a copy of the trigger's value: the stream puts it behind the data, and the slot stays as it is until
  // `done` says that the trigger is carried out.
  int carry_out(Trigger& trigger) {
    int status = 0;
    if (trigger.kind & kPut && trigger.bytes != 0) status = copy(trigger.dst, trigger.src, trigger.bytes);
    if (status == 0 && trigger.kind & kSignal) {
      status = copy(trigger.counter, reinterpret_cast<u64>(&trigger.value), sizeof trigger.value);
    }
    return status;
  }

  void serve() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are for the threads of the program
    int status = enter();
    u64 given = 0, done = 0, stopped = 0;
    Patience patience;
    while (status == 0) {
      bool stopping = stopping_.load();
      Trigger& next = reinterpret_cast<Trigger*>(setup_.ring)[given % setup_.capacity];
      if (!stopping && given - done < setup_.capacity && __atomic_load_n(&next.ticket, __ATOMIC_ACQUIRE) == given + 1) {
        status = carry_out(next);
        given++;
        patience.reset();
        continue;
      }
      if (given > done) {
        int found = reinterpret_cast<int (*)(u64)>(setup_.query)(setup_.stream);
        if (found == 0) {
          done = given;
          __atomic_store_n(word(setup_.done), done, __ATOMIC_RELEASE);
          patience.reset();
          continue;
        }
        if (found != kNotReady) status = found;
      }
      if (stopping) {
        if (stopped == 0) stopped = now();
        if (given == done || now() - stopped > kLeaving) return;
      }
      if (status == 0) patience.wait();
    }
    error_.store(status);
    __atomic_store_n(word(setup_.abort), setup_.abort_value, __ATOMIC_RELEASE);
  }

  const Setup setup_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> error_{0};
  u64 refused_[3] = {};  // target, source and bytes; written before error_ is
  std::thread thread_;  // the last member: it uses the others
};

}  // namespace

extern "C" {

// Null where the system gives no thread.
Proxy* hal_engine_start(const Setup* setup) {
  try {
    return new Proxy(*setup);
  } catch (const std::system_error&) {
    return nullptr;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// The driver's status of what failed, or 0. `refused` takes target, source and bytes of a copy that the driver refused,
// or zeros where one failed that was under way.
int hal_engine_error(const Proxy* proxy, u64* refused) { return proxy->error(refused); }

u64 hal_engine_carried_out(const Proxy* proxy) { return proxy->carried_out(); }

// Begins nothing more, and waits for nothing.
void hal_engine_halt(Proxy* proxy) { proxy->halt(); }

// Begins nothing more, waits for what is under way, for 5 s at most, and ends the thread.
void hal_engine_stop(Proxy* proxy) { delete proxy; }
}
