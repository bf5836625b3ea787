#include "fast.h"

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

namespace hal {
namespace {

constexpr uint64_t kReleaseBytes = 64 << 10;  // from here on, work without the GIL from the start
constexpr size_t kRemembered = 4096;
constexpr int64_t kApart = INT64_MIN;

// Without the GIL from the moment it must wait, or from the start of long work.
class GilGuard {
 public:
  explicit GilGuard(bool at_once) {
    if (at_once) release(this);
  }
  ~GilGuard() {
    if (state_ != nullptr) PyEval_RestoreThread(state_);
  }
  GilGuard(const GilGuard&) = delete;
  GilGuard& operator=(const GilGuard&) = delete;
  Hooks hooks() { return {release, interrupted, this}; }

 private:
  static void release(void* self) {
    auto* guard = static_cast<GilGuard*>(self);
    if (guard->state_ == nullptr) guard->state_ = PyEval_SaveThread();
  }
  // Run Python's handlers of signals that came meanwhile; whether one raised (KeyboardInterrupt).
  static bool interrupted(void* self) {
    auto* guard = static_cast<GilGuard*>(self);
    PyEval_RestoreThread(guard->state_);
    bool raised = PyErr_CheckSignals() != 0;
    guard->state_ = PyEval_SaveThread();
    return raised;
  }
  PyThreadState* state_ = nullptr;
};

}  // namespace

Status run_with_gil(Executable& executable, void* source, uint64_t source_bytes, void* target, uint64_t target_bytes,
                    int64_t timeout_ns) {
  Lane& lane = executable.lane;
  if (const char* why = lane.unusable(); why != nullptr) throw Refused(why);
  if (lane.running) throw Refused("this communicator is in use by another thread");
  struct Running {
    explicit Running(bool& flag) : flag(flag) { flag = true; }
    ~Running() { flag = false; }
    bool& flag;
  } running(lane.running);
  GilGuard guard(source_bytes + target_bytes >= kReleaseBytes);  // taken back before the mark is removed
  return executable.run(source, source_bytes, target, target_bytes, timeout_ns, guard.hooks());
}

bool raise_status(PyObject* executable, Status status) {
  if (status == Status::kOk) return false;
  if (status == Status::kInterrupted) return true;  // the signal's handler has raised
  PyObject* none = PyObject_CallMethod(executable, "fail", "i", static_cast<int>(status));
  if (none != nullptr) PyErr_SetString(PyExc_RuntimeError, "a failed call raised no error");
  Py_XDECREF(none);
  return true;
}

// An array of a call, or None, held while the call runs. NumPy is asked for what its arrays are without the buffer
// protocol, which takes it longer than all else that a small call does here.
class FastCalls::Operand {
 public:
  Operand() { view_.obj = nullptr; }  // to clear all of it would take longer than the rest
  ~Operand() {
    if (view_.obj != nullptr) PyBuffer_Release(&view_);
  }
  Operand(const Operand&) = delete;
  Operand& operator=(const Operand&) = delete;

  // False where it is nothing that the hot path takes; no Python error is left then.
  bool take(PyObject* object, bool writable) {
    if (object == Py_None) return true;
    return PyArray_CheckExact(object) ? take_array(reinterpret_cast<PyArrayObject*>(object), writable)
                                      : take_buffer(object, writable);
  }

  void* data = nullptr;
  int64_t bytes = -1;    // of None
  uint32_t format = 0;  // what its elements are: equal for what may go together

 private:
  static constexpr uint32_t kNumbered = 1 << 30;

  bool take_array(PyArrayObject* array, bool writable) {
    const int wanted = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | (writable ? NPY_ARRAY_WRITEABLE : 0);
    if ((PyArray_FLAGS(array) & wanted) != wanted) return false;
    if (!PyArray_ISNOTSWAPPED(array)) return false;
    data = PyArray_DATA(array);
    bytes = PyArray_NBYTES(array);
    format = kNumbered + static_cast<uint32_t>(PyArray_TYPE(array));
    return true;
  }

  bool take_buffer(PyObject* object, bool writable) {
    if (PyObject_GetBuffer(object, &view_, PyBUF_ND | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) != 0) {
      PyErr_Clear();
      view_.obj = nullptr;
      return false;
    }
    if (view_.format == nullptr || (view_.format[0] != 0 && view_.format[1] != 0)) return false;
    data = view_.buf;
    bytes = view_.len;
    format = static_cast<uint32_t>(view_.format[0]);
    return true;
  }

  Py_buffer view_;
};

// The operands of a call, and the key that they make.
class FastCalls::Arguments {
 public:
  bool take(PyObject* source, PyObject* target, PyObject* op, int64_t root) {
    if (!target_.take(target, true)) return false;
    in_place_ = source == target;
    if (!in_place_ && !source_.take(source, false)) return false;
    if (source_.bytes >= 0 && target_.bytes >= 0) {
      if (source_.format != target_.format) return false;
      auto a = reinterpret_cast<intptr_t>(source_.data), b = reinterpret_cast<intptr_t>(target_.data);
      if (a < b + target_.bytes && b < a + source_.bytes) key.distance = b - a;
    }
    key.target_bytes = target_.bytes;
    key.source_bytes = in_place_ ? target_.bytes : source_.bytes;
    if (in_place_ && target_.bytes >= 0) key.distance = 0;
    key.op = op;
    key.root = root;
    key.format = source_.bytes >= 0 ? source_.format : target_.format;
    return true;
  }
  void* source() const { return in_place_ ? target_.data : source_.data; }
  void* target() const { return target_.data; }
  Key key{-1, -1, kApart, nullptr, 0, 0};

 private:
  Operand source_, target_;
  bool in_place_ = false;
};

size_t FastCalls::Hash::operator()(const Key& key) const {
  auto mix = [](uint64_t h, uint64_t v) { return (h ^ v) * 0x9e3779b97f4a7c15ULL; };
  uint64_t h = mix(0, static_cast<uint64_t>(key.source_bytes));
  h = mix(h, static_cast<uint64_t>(key.target_bytes));
  h = mix(h, reinterpret_cast<uint64_t>(key.op) ^ static_cast<uint64_t>(key.root) << 48);
  return mix(h, static_cast<uint64_t>(key.distance) ^ key.format) >> 7;
}

bool FastCalls::prepare() { return _import_array() == 0; }

bool FastCalls::run(PyObject* source, PyObject* target, PyObject* op, int64_t root) {
  if (!enabled) return false;
  Arguments arguments;
  if (!arguments.take(source, target, op, root)) return false;
  const Key& key = arguments.key;
  if (last_ == nullptr || !(last_->first == key)) {
    auto found = entries_.find(key);
    if (found == entries_.end()) return false;
    last_ = &*found;
  }
  Entry entry = last_->second;
  auto bytes = [](int64_t n) { return n > 0 ? static_cast<uint64_t>(n) : 0; };
  // the call may give up the GIL, and another thread close the communicator and clear the table
  Py_INCREF(entry.executable);
  Status status;
  try {
    status = run_with_gil(*entry.native, arguments.source(), bytes(key.source_bytes), arguments.target(),
                          bytes(key.target_bytes), entry.timeout_ns);
  } catch (const Refused&) {
    Py_DECREF(entry.executable);
    return false;  // the slow path says why
  }
  raise_status(entry.executable, status);
  Py_DECREF(entry.executable);
  return true;
}

void FastCalls::remember(PyObject* source, PyObject* target, PyObject* op, int64_t root, PyObject* executable,
                         Executable* native, int64_t timeout_ns) {
  Arguments arguments;
  if (!arguments.take(source, target, op, root)) return;
  if (entries_.size() >= kRemembered) clear();
  // the key names `op` by its address, so that the object must live as long
  auto [at, added] = entries_.try_emplace(arguments.key, Entry{executable, native, timeout_ns});
  if (!added) return;
  Py_INCREF(executable);
  Py_INCREF(op);
}

void FastCalls::clear() {
  last_ = nullptr;
  auto entries = std::move(entries_);
  entries_.clear();
  for (auto& [key, entry] : entries) {
    Py_DECREF(entry.executable);
    Py_DECREF(key.op);
  }
}

}  // namespace hal
