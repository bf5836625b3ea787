// An instruction from the text of LLVM's disassembler.
#pragma once
#include "state.h"

namespace standin::isa {

// What "name operands modifiers" says. Where a part of it is not known the instruction has no opcode, and its text says
// which part.
Instruction decode(const std::string& text, uint64_t bytes);

}  // namespace standin::isa
