// Modules and kernels: libraries for this machine's processors, or machine code of AMD GPUs.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "standin.h"

namespace standin {

struct Size {
  unsigned x, y, z;
  size_t all() const { return size_t{x} * y * z; }
};

// Where an argument lies in the block of all arguments.
struct Argument {
  size_t offset, bytes;
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  std::vector<Argument> arguments;
  // Run all of it; returns when it has ended. `block` holds the arguments. An error is one of the device's.
  virtual hipError_t run(Size grid, Size block, const std::vector<char>& values) = 0;
};

class Module {
 public:
  virtual ~Module() = default;
  virtual std::shared_ptr<Kernel> kernel(const std::string& name) = 0;  // null: there is none
};

std::unique_ptr<Module> load_library(const std::string& image);  // null where it is none of hiprtc's

// Machine code of AMD GPUs, to be interpreted; null, and a line on stderr that says why, where it cannot be.
std::unique_ptr<Module> load_code(const std::string& image);

}  // namespace standin
