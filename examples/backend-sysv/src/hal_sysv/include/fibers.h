// How a grid is launched on one thread: every lane is a fiber, and they take turns whenever one waits. Compiled into
// every module, in front of its source (hal_sysv.compiler).
#pragma once
#include <intrinsics.h>

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <memory>
#include <new>
#include <utility>

namespace hal::device {

constexpr u32 kMaxArguments = 16;
constexpr u64 kStackBytes = 128 << 10;  // of which only what is used takes memory

struct Launched {
  void* kernel;
  const u64* arguments;
  u32 count;

  template <u64... i>
  void call_with(std::integer_sequence<u64, i...>) const {
    reinterpret_cast<void (*)(decltype(static_cast<void>(i), u64{})...)>(kernel)(arguments[i]...);
  }
  template <u32 n = 0>
  void call() const {
    if (count == n) return call_with(std::make_integer_sequence<u64, n>());
    if constexpr (n < kMaxArguments) call<n + 1>();
  }
};

class Fibers {
 public:
  // 0, or the error for which nothing was launched.
  static int launch(const Launched& what, u32 blocks, u32 lanes) {
    u64 count = u64{blocks} * lanes;
    std::unique_ptr<Block[]> shared(new (std::nothrow) Block[blocks]);
    std::unique_ptr<Fiber[]> all(new (std::nothrow) Fiber[count]);
    if (!shared || !all) return ENOMEM;
    void* stacks = mmap(nullptr, count * kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stacks == MAP_FAILED) return errno;
    Fibers fibers(what);
    for (u64 i = 0; i < count; i++) {
      Block& block = shared[i / lanes];
      block.index = static_cast<u32>(i / lanes);
      block.lanes = lanes;
      block.arrived = block.generation = 0;
      block.any = block.result = false;
      Fiber& fiber = all[i];
      fiber.block = &block;
      fiber.lane = static_cast<u32>(i % lanes);
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = static_cast<char*>(stacks) + i * kStackBytes;
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = &fibers.scheduler_;
      makecontext(&fiber.context, &Fibers::body, 0);
    }
    fibers.run(all.get(), count);
    munmap(stacks, count * kStackBytes);
    return 0;
  }

  static void let_others_run() {
    Fiber* fiber = active_->current_;
    Fibers* self = active_;
    swapcontext(&fiber->context, &self->scheduler_);
  }

 private:
  struct Fiber {
    ucontext_t context;
    Block* block;
    u32 lane;
    bool ended = false;
  };

  explicit Fibers(const Launched& what) : what_(what) {}

  static void body() {
    active_->what_.call();
    active_->current_->ended = true;
    running.progress = true;
  }

  void run(Fiber* all, u64 left) {
    active_ = this;
    u64 count = left;
    for (u32 idle = 0; left > 0;) {
      running.progress = false;
      for (u64 i = 0; i < count; i++) {
        if (all[i].ended) continue;
        current_ = &all[i];
        running.block = current_->block;
        running.lane = current_->lane;
        swapcontext(&scheduler_, &current_->context);
        if (current_->ended) left--;
      }
      idle = running.progress ? 0 : idle + 1;
      if (left > 0) rest(idle);
    }
    active_ = nullptr;
  }

  // After a round in which nobody got on, others need the processor: at first for a moment, then for longer.
  static void rest(u32 idle) {
    if (idle < 200) {
      sched_yield();
    } else {
      timespec nap{0, idle < 1000 ? 20'000 : 200'000};
      nanosleep(&nap, nullptr);
    }
  }

  const Launched& what_;
  ucontext_t scheduler_;
  Fiber* current_ = nullptr;
  static thread_local Fibers* active_;
};
inline thread_local Fibers* Fibers::active_ = nullptr;

inline void let_others_run() { Fibers::let_others_run(); }

}  // namespace hal::device

extern "C" __attribute__((visibility("default"))) int hal_sysv_launch(void* kernel, unsigned blocks, unsigned lanes,
                                                                      const unsigned long long* arguments,
                                                                      unsigned count) {
  return hal::device::Fibers::launch({kernel, arguments, count}, blocks, lanes);
}
