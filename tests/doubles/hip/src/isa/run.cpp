// Kernels of machine code: a block is a thread, which lets its wavefronts run in turns.
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "access.h"
#include "code.h"

namespace standin::isa {

constexpr int kTurn = 2000;  // instructions until another wavefront runs
constexpr size_t kMostResident = 512;
constexpr uint32_t kUsualFloatMode = 0xf0;  // round to nearest even, subnormal numbers kept

class CodeKernel : public Kernel {
 public:
  CodeKernel(std::shared_ptr<Code> code, const Descriptor* descriptor, std::string name)
      : code_(std::move(code)), descriptor_(*descriptor), name_(std::move(name)), layout_(code_->layout(name_)) {
    entry_ = reinterpret_cast<uint64_t>(descriptor) + static_cast<uint64_t>(descriptor->entry);
    arguments = layout_.arguments;
  }

  hipError_t run(Size grid, Size lanes, const std::vector<char>& values) override {
    std::vector<char> kernarg = kernarg_of(grid, lanes, values);
    std::atomic<size_t> next{0};
    std::atomic<bool> stopped{false};
    auto work = [&] {
      for (size_t i; !stopped && (i = next++) < grid.all();) {
        Size index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                   static_cast<unsigned>(i / grid.x / grid.y)};
        run_block(index, grid, lanes, kernarg, stopped);
      }
    };
    std::vector<std::thread> others;
    for (size_t i = 1; i < std::min(grid.all(), kMostResident); i++) others.emplace_back(work);
    work();
    for (auto& each : others) each.join();
    return stopped ? hipErrorLaunchFailure : hipSuccess;
  }

 private:
  std::vector<char> kernarg_of(Size grid, Size lanes, const std::vector<char>& values) const {
    std::vector<char> made(std::max<size_t>(descriptor_.kernarg_bytes, values.size()) + 64);
    std::copy(values.begin(), values.end(), made.begin());
    auto fill = [&](const char* kind, uint64_t value) {
      auto found = layout_.hidden.find(kind);
      if (found != layout_.hidden.end()) std::memcpy(&made[found->second.offset], &value, found->second.bytes);
    };
    fill("hidden_block_count_x", grid.x);
    fill("hidden_block_count_y", grid.y);
    fill("hidden_block_count_z", grid.z);
    fill("hidden_group_size_x", lanes.x);
    fill("hidden_group_size_y", lanes.y);
    fill("hidden_group_size_z", lanes.z);
    fill("hidden_grid_dims", grid.z * lanes.z > 1 ? 3 : grid.y * lanes.y > 1 ? 2 : 1);
    return made;
  }

  // The registers that a wavefront starts with ("User Guide for AMDGPU Backend", Initial Kernel Execution State).
  void start(Wave& wave, Size grid, Size lanes, const std::vector<char>& kernarg, unsigned first,
             std::vector<char>& packet) const {
    wave.pc = entry_;
    wave.scratch_of_lane = descriptor_.private_bytes;
    wave.scratch.resize(wave.scratch_of_lane * kLanes);
    auto count = std::min<size_t>(lanes.all() - first, kLanes);
    wave.set_pair(kExec, count == kLanes ? ~uint64_t{0} : (uint64_t{1} << count) - 1);
    for (unsigned i = 0; i < count; i++) {
      unsigned at = first + i;
      wave.v[0][i] = at % lanes.x | at / lanes.x % lanes.y << 10 | at / lanes.x / lanes.y << 20;
    }
    auto arguments = reinterpret_cast<uint64_t>(kernarg.data());
    const uint32_t packet_words[6] = {0, lanes.x | lanes.y << 16, lanes.z,
                                      grid.x * lanes.x, grid.y * lanes.y, grid.z * lanes.z};
    packet.resize(64);
    std::memcpy(packet.data(), packet_words, sizeof packet_words);
    std::memcpy(packet.data() + 40, &arguments, sizeof arguments);
    const struct {
      int registers;
      uint64_t value;
    } given[] = {{4, kPrivateBuffer}, {2, reinterpret_cast<uint64_t>(packet.data())}, {2, 0}, {2, arguments}, {2, 0},
                 {2, 0}, {1, descriptor_.private_bytes}};
    int at = 0;
    for (int bit = 0; bit < 7; bit++) {
      if (!(descriptor_.properties >> bit & 1)) continue;
      if (given[bit].registers == 1) wave.s[at] = static_cast<uint32_t>(given[bit].value);
      else wave.set_pair(at, given[bit].value);
      at += given[bit].registers;
    }
    at = descriptor_.resource2 >> 1 & 31;  // arguments that could be loaded beforehand are loaded by the code itself
    for (int i = 0; i < 3; i++) {
      if (descriptor_.resource2 >> (7 + i) & 1) wave.s[at++] = wave.group.index[i];
    }
    // behind them comes the offset of private memory, which is 0
  }

  void run_block(Size index, Size grid, Size lanes, const std::vector<char>& kernarg, std::atomic<bool>& stopped) {
    Group group{std::vector<char>(descriptor_.group_bytes), {index.x, index.y, index.z}};
    std::vector<std::unique_ptr<Wave>> waves;
    std::vector<char> packet;
    for (unsigned first = 0; first < lanes.all(); first += kLanes) {
      waves.push_back(std::make_unique<Wave>(group));
      start(*waves.back(), grid, lanes, kernarg, first, packet);
    }
    for (unsigned idle = 0; !stopped; idle++) {
      size_t done = 0, waiting = 0;
      for (auto& wave : waves) {
        if (wave->state == Wave::kRunning && !take_turn(*wave, stopped)) idle = 0;
        done += wave->state == Wave::kDone;
        waiting += wave->state == Wave::kAtBarrier;
      }
      if (done == waves.size()) break;
      if (done + waiting == waves.size()) {
        for (auto& wave : waves) {
          if (wave->state == Wave::kAtBarrier) wave->state = Wave::kRunning;
        }
        idle = 0;
      } else if (idle < 3) {
        sched_yield();
      } else {
        timespec nap{0, 50'000};  // a spin loop: others want the processor
        nanosleep(&nap, nullptr);
      }
    }
  }

  // Run a wavefront until it wants to wait, or others shall run; whether it sleeps.
  bool take_turn(Wave& wave, std::atomic<bool>& stopped) {
    uint64_t pc = wave.pc;
    const Instruction* instruction = nullptr;
    wave.yields = false;
    try {
      for (int i = 0; i < kTurn && wave.state == Wave::kRunning && !wave.yields; i++) {
        pc = wave.pc;
        instruction = nullptr;
        instruction = &code_->at(pc);
        if (instruction->opcode == nullptr) throw Stop("this instruction is not known");
        wave.pc += instruction->bytes;
        instruction->opcode->run(wave, *instruction);
      }
    } catch (const std::exception& why) {
      stopped = true;
      auto at = static_cast<unsigned long>(code_->address(pc));
      std::fprintf(stderr, "the stand-in for HIP stops %s at %#lx, \"%s\": %s\n", name_.c_str(), at,
                   instruction ? instruction->text.c_str() : "", why.what());
    }
    return wave.yields;
  }

  std::shared_ptr<Code> code_;
  Descriptor descriptor_;
  std::string name_;
  Layout layout_;
  uint64_t entry_;
};

class CodeModule : public Module {
 public:
  explicit CodeModule(const std::string& image) : code_(std::make_shared<Code>(image)) {}
  std::shared_ptr<Kernel> kernel(const std::string& name) override {
    auto* found = code_->kernel(name);
    if (found == nullptr) return nullptr;
    if ((found->resource1 >> 12 & 0xff) != kUsualFloatMode) {
      std::fprintf(stderr, "the stand-in for HIP has no mode of floating point as %s asks for\n", name.c_str());
      return nullptr;
    }
    return std::make_shared<CodeKernel>(code_, found, name);
  }

 private:
  std::shared_ptr<Code> code_;
};

}  // namespace standin::isa

std::unique_ptr<standin::Module> standin::load_code(const std::string& image) {
  try {
    return std::make_unique<isa::CodeModule>(image);
  } catch (const std::exception& why) {
    std::fprintf(stderr, "the stand-in for HIP cannot load code: %s\n", why.what());
    return nullptr;
  }
}
