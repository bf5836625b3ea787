// The hot path of a call from Python: one look-up by what the arrays are, and the run of what was found.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <unordered_map>

#include "lane.h"

namespace hal {

// Calls of one collective that were made before, by the shape of their arguments. Used with the GIL held.
class FastCalls {
 public:
  FastCalls() = default;
  ~FastCalls() { clear(); }
  FastCalls(const FastCalls&) = delete;
  FastCalls& operator=(const FastCalls&) = delete;

  // Once in a process, before any other use; false where a Python error says why not.
  static bool prepare();

  // Run the call remembered for arguments like these; false where there is none, and nothing was done. `source` and
  // `target` are arrays or None. Errors of the call are raised by the Python executable's `fail`.
  bool run(PyObject* source, PyObject* target, PyObject* op, int64_t root);
  // Remember what serves such arguments: the Python executable and its native part, which it keeps alive.
  void remember(PyObject* source, PyObject* target, PyObject* op, int64_t root, PyObject* executable,
                Executable* native, int64_t timeout_ns);
  void clear();

  bool enabled = true;  // off while asynchronous calls are pending, which come first

 private:
  struct Key {
    int64_t source_bytes, target_bytes;
    int64_t distance;  // from source to target where they overlap
    PyObject* op;
    int64_t root;
    uint32_t format;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const;
  };
  struct Entry {
    PyObject* executable;
    Executable* native;
    int64_t timeout_ns;
  };
  class Operand;
  class Arguments;
  std::unordered_map<Key, Entry, Hash> entries_;
  const std::pair<const Key, Entry>* last_ = nullptr;  // what the last call found: the next one is often like it
};

// Run with the GIL held; it is released when the call must wait or takes long.
Status run_with_gil(Executable& executable, void* source, uint64_t source_bytes, void* target, uint64_t target_bytes,
                    int64_t timeout_ns);

// Have `executable`, a Python object with a method `fail`, raise what a status stands for; whether one was raised.
bool raise_status(PyObject* executable, Status status);

}  // namespace hal
