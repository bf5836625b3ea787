// Loading a code object: an ELF file, whose segments go to memory as they are laid out; LLVM disassembles it once.
#include "code.h"

#include <elf.h>
#include <sys/mman.h>

#include <fstream>

#include "../command.h"
#include "decode.h"

namespace standin::isa {

template <class T>
static T field(const std::string& image, uint64_t at) {
  T made;
  if (at > image.size() || sizeof made > image.size() - at) throw Stop("a code object that ends too soon");
  std::memcpy(&made, image.data() + at, sizeof made);
  return made;
}

Code::Code(const std::string& image) {
  place(image);
  disassemble(image);
}
Code::~Code() {
  if (base_ != 0) munmap(reinterpret_cast<void*>(base_), span_);
}

void Code::place(const std::string& image) {
  auto header = field<Elf64_Ehdr>(image, 0);
  std::vector<Elf64_Phdr> segments;
  for (uint64_t i = 0; i < header.e_phnum; i++) {
    segments.push_back(field<Elf64_Phdr>(image, header.e_phoff + i * sizeof(Elf64_Phdr)));
    auto& each = segments.back();
    if (each.p_type == PT_LOAD) span_ = std::max(span_, each.p_vaddr + each.p_memsz);
  }
  if (span_ == 0) throw Stop("a code object without segments");
  void* at = mmap(nullptr, span_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw Stop("no memory for a code object");
  base_ = reinterpret_cast<uint64_t>(at);
  for (auto& each : segments) {
    if (each.p_type == PT_LOAD) {
      if (each.p_offset + each.p_filesz > image.size()) throw Stop("a code object that ends too soon");
      std::memcpy(static_cast<char*>(at) + each.p_vaddr, image.data() + each.p_offset, each.p_filesz);
    }
    if (each.p_type != PT_NOTE) continue;
    auto note = field<Elf64_Nhdr>(image, each.p_offset);
    layouts_ = layouts_of(image.substr(each.p_offset + sizeof note + (note.n_namesz + 3) / 4 * 4, note.n_descsz));
  }
  for (uint64_t i = 0; i < header.e_shnum; i++) {
    auto section = field<Elf64_Shdr>(image, header.e_shoff + i * sizeof(Elf64_Shdr));
    if (section.sh_type == SHT_SYMTAB) {
      auto names = field<Elf64_Shdr>(image, header.e_shoff + section.sh_link * sizeof(Elf64_Shdr));
      for (uint64_t k = 0; k < section.sh_size / sizeof(Elf64_Sym); k++) {
        auto symbol = field<Elf64_Sym>(image, section.sh_offset + k * sizeof(Elf64_Sym));
        symbols_[image.c_str() + names.sh_offset + symbol.st_name] = symbol.st_value;
      }
    } else if (section.sh_type == SHT_RELA) {
      for (uint64_t k = 0; k < section.sh_size / sizeof(Elf64_Rela); k++) {
        constexpr uint64_t kRelative = 13;  // R_AMDGPU_RELATIVE64
        auto each = field<Elf64_Rela>(image, section.sh_offset + k * sizeof(Elf64_Rela));
        if (ELF64_R_TYPE(each.r_info) != kRelative) throw Stop("a relocation of a kind that is not known");
        uint64_t value = base_ + static_cast<uint64_t>(each.r_addend);
        std::memcpy(static_cast<char*>(at) + each.r_offset, &value, sizeof value);
      }
    } else if ((section.sh_flags & SHF_EXECINSTR) && section.sh_size != 0) {
      if (!slots_.empty()) throw Stop("a code object with two sections of code");
      first_ = section.sh_addr;
      slots_.resize(section.sh_size / 4);
    }
  }
}

void Code::disassemble(const std::string& image) {
  auto folder = temporary_folder();
  if (folder.empty()) throw Stop("no temporary folder");
  std::ofstream(folder / "code", std::ios::binary) << image;
  Strings command = llvm("llvm-objdump");
  command.insert(command.end(), {"-d", (folder / "code").string()});
  int status = standin::run(command, folder / "text");
  text_ = read(folder / "text");
  std::filesystem::remove_all(folder);
  if (status != 0) throw Stop("the disassembler fails: " + text_);
  // "\tname operands   // 000000001A00: BF8C0000": the text, the address, the words
  for (size_t from = 0, end; (end = text_.find('\n', from)) != std::string::npos; from = end + 1) {
    size_t comment = text_[from] == '\t' ? text_.find("// ", from) : std::string::npos;
    if (comment >= end) continue;
    uint64_t address = std::strtoull(text_.c_str() + comment + 3, nullptr, 16);
    if (address < first_ || (address - first_) / 4 >= slots_.size()) continue;
    Slot& slot = slots_[(address - first_) / 4];
    slot.text = from + 1;
    slot.length = end - from - 1;
  }
}

const Instruction& Code::decode_at(uint64_t number) {
  std::lock_guard<std::mutex> guard(lock_);
  Slot& slot = slots_[number];
  if (auto* found = slot.decoded.load(std::memory_order_acquire)) return *found;
  if (slot.length == 0) throw Stop("the program has left its code");
  std::string line = text_.substr(slot.text, slot.length);
  size_t comment = line.find("// "), words = line.find(": ", comment) + 2;
  std::string text = line.substr(0, line.find_last_not_of(" \t", comment - 1) + 1);
  size_t count = 0;
  for (size_t at = words; at < line.size() && line[at] != '<' && line[at] != ' '; at += 9) count++;
  kept_.push_back(std::make_unique<Instruction>(decode(text, 4 * count)));
  slot.decoded.store(kept_.back().get(), std::memory_order_release);
  return *kept_.back();
}

const Descriptor* Code::kernel(const std::string& name) const {
  auto found = symbols_.find(name + ".kd");
  return found == symbols_.end() ? nullptr : reinterpret_cast<const Descriptor*>(base_ + found->second);
}
Layout Code::layout(const std::string& name) const {
  auto found = layouts_.find(name + ".kd");
  return found == layouts_.end() ? Layout{} : found->second;
}

}  // namespace standin::isa
