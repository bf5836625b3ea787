// A code object: its memory image, its kernels' descriptors, its instructions.
#pragma once
#include <map>
#include <memory>
#include <mutex>

#include "../module.h"
#include "state.h"

namespace standin::isa {

// What the metadata says of a kernel's arguments: the program's own, and those that the runtime fills, by their kind.
struct Layout {
  std::vector<Argument> arguments;
  std::map<std::string, Argument> hidden;
};
// By the symbol of the descriptor, from the MessagePack of a note
// ("User Guide for AMDGPU Backend", Code Object Metadata).
std::map<std::string, Layout> layouts_of(const std::string& metadata);

// The kernel descriptor, as far as it is used here (same guide, Kernel Descriptor).
struct Descriptor {
  uint32_t group_bytes, private_bytes, kernarg_bytes, reserved;
  int64_t entry;  // from the descriptor itself
  uint32_t reserved2[5], resource3, resource1, resource2;
  uint16_t properties, preload;
  uint32_t reserved3;
};
static_assert(sizeof(Descriptor) == 64);

class Code {
 public:
  explicit Code(const std::string& image);  // `Stop` where it cannot be run
  ~Code();
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  // The descriptor of a kernel, and where it lies; null where there is none.
  const Descriptor* kernel(const std::string& name) const;
  Layout layout(const std::string& name) const;

  // An address of the host, as the file has it.
  uint64_t address(uint64_t pc) const { return pc - base_; }

  // The instruction at an address of the host; `Stop` where there is none.
  const Instruction& at(uint64_t pc) {
    uint64_t number = (pc - base_ - first_) / 4;
    if (number >= slots_.size() || pc % 4) throw Stop("the program has left its code");
    const Instruction* found = slots_[number].decoded.load(std::memory_order_acquire);
    return found != nullptr ? *found : decode_at(number);
  }

 private:
  struct Slot {
    size_t text = 0, length = 0;  // where its line is in the disassembler's output
    std::atomic<const Instruction*> decoded{nullptr};
    Slot() = default;
    Slot(Slot&&) noexcept {}
  };
  const Instruction& decode_at(uint64_t number);
  void place(const std::string& image);
  void disassemble(const std::string& image);

  uint64_t base_ = 0, span_ = 0, first_ = 0;
  std::map<std::string, uint64_t> symbols_;
  std::map<std::string, Layout> layouts_;
  std::string text_;
  std::vector<Slot> slots_;
  std::mutex lock_;
  std::vector<std::unique_ptr<Instruction>> kept_;
};

}  // namespace standin::isa
