// Memory: of devices (files in memory, so that other processes can map them), and of the host.
#pragma once
#include <cstddef>
#include <cstdint>

#include "standin.h"

namespace standin {

enum class Kind { kDevice, kHost, kImported, kRegistered };

struct Range {
  uintptr_t base;
  size_t bytes;
  int file;  // -1: none
  int device;
  Kind kind;
};

// Copy what is known of the memory at an address; false where it is the host's own, or freed.
bool find(const void* address, Range& range);

// Whether `bytes` at an address can be read or written: within one range, or memory of the host's own.
bool usable(const void* address, size_t bytes);

}  // namespace standin
