// A collective as Python calls it: arguments are sorted and a remembered call is run here, all else is passed on.
#pragma once
#include <string>
#include <vector>

#include "fast.h"

namespace hal {

struct Shape {
  int64_t rank;
  std::vector<std::string> parameters;  // those that may be given by position: x, out, op; root, dst or src
  bool in_place, source_at_root, target_at_root;
};

// A callable in front of `slow`; `table` is the Python object of `calls`. A new reference, or null with a Python error.
PyObject* make_front(PyObject* table, FastCalls* calls, PyObject* slow, const Shape& shape);

}  // namespace hal
