// What accesses to memory have in common.
#pragma once
#include "state.h"

namespace standin::isa {

// What the descriptor of private memory begins with, in place of an address: nobody looks into it.
constexpr uint64_t kPrivateBuffer = 0x5ca7c4;

// A place in memory of a known size; `Stop` where it is beyond.
char* within(std::vector<char>& memory, uint64_t at, size_t bytes, const char* what);

void read_words(const char* at, uint32_t* words, int count);
void write_words(char* at, const uint32_t* words, int count);

}  // namespace standin::isa
