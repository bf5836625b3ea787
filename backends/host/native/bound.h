// A call bound to its buffers: a Python object that is called without arguments.
#pragma once
#include "fast.h"

namespace hal {

struct Binding {
  PyObject* table;  // the Python object of `calls`, kept alive as all of these are
  const FastCalls* calls;
  PyObject* executable;
  Executable* native;
  void* source;
  uint64_t source_bytes;
  void* target;
  uint64_t target_bytes;
  int64_t timeout_ns;
  PyObject* result;
  PyObject* slow;  // called where `calls` is not enabled or the call is refused
};

// A new reference, or null with a Python error. Takes references of its own.
PyObject* bind_call(const Binding& binding);

}  // namespace hal
