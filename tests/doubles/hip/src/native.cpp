// Kernels compiled for this machine: a block is a thread, its lanes are fibers of it, which take turns at barriers and
// in spin loops.
#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "device_table.h"
#include "module.h"

namespace standin {

constexpr size_t kStack = 256 << 10, kWavefront = 64, kMostResident = 512;

struct Fiber {
  ucontext_t context;
  Place place;
  enum { kReady, kAtBarrier, kVoting, kDone } state = kReady;
  bool vote = false;
};

class Block {
 public:
  Block(void (*entry)(void**), void** values, Size index, Size lanes, Size grid);
  ~Block() { munmap(stacks_, fibers_.size() * kStack); }
  void run();

  Fiber* running = nullptr;
  void pause() { swapcontext(&running->context, &scheduler_); }
  void (*const entry)(void**);
  void** const values;
  uint64_t ballot[1024 / kWavefront] = {};

 private:
  bool finish_vote(size_t wave);
  std::vector<std::unique_ptr<Fiber>> fibers_;
  ucontext_t scheduler_;
  void* stacks_;
};
static thread_local Block* block = nullptr;

static void enter() {
  block->entry(block->values);
  block->running->state = Fiber::kDone;
}

Block::Block(void (*entry)(void**), void** values, Size index, Size lanes, Size grid) : entry(entry), values(values) {
  size_t count = lanes.all();
  stacks_ = mmap(nullptr, count * kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  for (size_t i = 0; i < count; i++) {
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber& fiber = *fibers_.back();
    auto at = static_cast<unsigned>(i);
    fiber.place = {{at % lanes.x, at / lanes.x % lanes.y, at / lanes.x / lanes.y},
                   {index.x, index.y, index.z}, {lanes.x, lanes.y, lanes.z}, {grid.x, grid.y, grid.z}};
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = static_cast<char*>(stacks_) + i * kStack;
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = &scheduler_;
    makecontext(&fiber.context, enter, 0);
  }
}

// A vote of a wavefront ends when all its lanes take part.
bool Block::finish_vote(size_t wave) {
  size_t first = wave * kWavefront, end = std::min(first + kWavefront, fibers_.size());
  uint64_t mask = 0;
  for (size_t i = first; i < end; i++) {
    if (fibers_[i]->state != Fiber::kVoting) return false;
    mask |= uint64_t{fibers_[i]->vote} << (i - first);
  }
  ballot[wave] = mask;
  for (size_t i = first; i < end; i++) fibers_[i]->state = Fiber::kReady;
  return true;
}

static std::atomic<long> running_blocks{0};

void Block::run() {
  block = this;
  running_blocks++;
  for (unsigned turn = 0;; turn++) {
    size_t done = 0, waiting = 0;
    for (auto& fiber : fibers_) {
      if (fiber->state == Fiber::kReady) {
        running = fiber.get();
        swapcontext(&scheduler_, &fiber->context);
      }
      done += fiber->state == Fiber::kDone;
      waiting += fiber->state == Fiber::kAtBarrier;
    }
    if (done == fibers_.size()) break;
    bool moved = done + waiting == fibers_.size();
    if (moved) {
      for (auto& fiber : fibers_) {
        if (fiber->state == Fiber::kAtBarrier) fiber->state = Fiber::kReady;
      }
    }
    for (size_t wave = 0; wave * kWavefront < fibers_.size(); wave++) moved |= finish_vote(wave);
    if (moved) {
      turn = 0;
    } else if (turn < 3) {
      sched_yield();
    } else {
      // a spin loop: others want the processor, and many that wake up often leave none of it
      timespec nap{0, 50'000 * std::max(1L, running_blocks / 8)};
      nanosleep(&nap, nullptr);
    }
  }
  running_blocks--;
  block = nullptr;
}

static Place* place() { return &block->running->place; }
static void pause() { block->pause(); }
static void barrier() {
  block->running->state = Fiber::kAtBarrier;
  block->pause();
}
static unsigned long long vote(int value) {
  unsigned lane = block->running->place.thread.x;
  block->running->state = Fiber::kVoting;
  block->running->vote = value != 0;
  block->pause();
  return block->ballot[lane / kWavefront];
}
static Table table{place, barrier, pause, vote};

class NativeKernel : public Kernel {
 public:
  NativeKernel(void (*entry)(void**), int (*layout)(unsigned*, unsigned*)) : entry_(entry) {
    unsigned sizes[64], alignments[64];
    size_t at = 0;
    for (int i = 0, count = layout(sizes, alignments); i < count; i++) {
      at = (at + alignments[i] - 1) / alignments[i] * alignments[i];
      arguments.push_back({at, sizes[i]});
      at += sizes[i];
    }
  }
  hipError_t run(Size grid, Size lanes, const std::vector<char>& values) override {
    std::vector<char> held = values;
    std::vector<void*> pointers;
    for (Argument where : arguments) pointers.push_back(held.data() + where.offset);
    std::atomic<size_t> next{0};
    auto work = [&] {
      for (size_t i; (i = next++) < grid.all();) {
        Size index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                   static_cast<unsigned>(i / grid.x / grid.y)};
        Block(entry_, pointers.data(), index, lanes, grid).run();
      }
    };
    std::vector<std::thread> others;
    for (size_t i = 1; i < std::min(grid.all(), kMostResident); i++) others.emplace_back(work);
    work();
    for (auto& each : others) each.join();
    return hipSuccess;
  }

 private:
  void (*entry_)(void**);
};

class Library : public Module {
 public:
  explicit Library(void* handle) : handle_(handle) {}
  ~Library() override { dlclose(handle_); }
  std::shared_ptr<Kernel> kernel(const std::string& name) override {
    auto* entry = dlsym(handle_, ("hip_standin_call_" + name).c_str());
    auto* layout = dlsym(handle_, ("hip_standin_layout_" + name).c_str());
    if (entry == nullptr || layout == nullptr) return nullptr;
    return std::make_shared<NativeKernel>(reinterpret_cast<void (*)(void**)>(entry),
                                          reinterpret_cast<int (*)(unsigned*, unsigned*)>(layout));
  }

 private:
  void* handle_;
};

std::unique_ptr<Module> load_library(const std::string& image) {
  char name[] = "/tmp/hip-standin-XXXXXX";  // the loader knows libraries by name: each has its own
  int file = mkstemp(name);
  if (file < 0) return nullptr;
  bool written = write(file, image.data(), image.size()) == static_cast<ssize_t>(image.size());
  close(file);
  void* handle = written ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : nullptr;
  unlink(name);
  if (handle == nullptr) return nullptr;
  auto* bind = dlsym(handle, "hip_standin_bind");
  if (bind == nullptr) {
    dlclose(handle);
    return nullptr;
  }
  reinterpret_cast<void (*)(Table*)>(bind)(&table);
  return std::make_unique<Library>(handle);
}

}  // namespace standin
