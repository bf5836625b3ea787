#include "bound.h"

#include <cstddef>
#include <structmember.h>

namespace hal {
namespace {

struct Bound {
  PyObject_HEAD
  vectorcallfunc vectorcall;
  Binding binding;
};

PyObject* call(PyObject* self, PyObject* const*, size_t arguments, PyObject* names) {
  if (PyVectorcall_NARGS(arguments) != 0 || (names != nullptr && PyTuple_GET_SIZE(names) != 0)) {
    PyErr_SetString(PyExc_TypeError, "a prepared call takes no arguments");
    return nullptr;
  }
  const Binding& b = reinterpret_cast<Bound*>(self)->binding;
  if (b.calls->enabled) {
    try {
      Status status = run_with_gil(*b.native, b.source, b.source_bytes, b.target, b.target_bytes, b.timeout_ns);
      if (status != Status::kOk) {
        raise_status(b.executable, status);
        return nullptr;
      }
      Py_INCREF(b.result);
      return b.result;
    } catch (const Refused&) {  // the slow path says why
    }
  }
  return PyObject_CallNoArgs(b.slow);
}

// Calls refer to their communicator, which may in turn be referred to by what refers to them.
int traverse(PyObject* self, visitproc visit, void* arg) {
  const Binding& b = reinterpret_cast<Bound*>(self)->binding;
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(b.table);
  Py_VISIT(b.executable);
  Py_VISIT(b.result);
  Py_VISIT(b.slow);
  return 0;
}

void destroy(PyObject* self) {
  PyObject_GC_UnTrack(self);
  PyTypeObject* type = Py_TYPE(self);
  const Binding& b = reinterpret_cast<Bound*>(self)->binding;
  Py_DECREF(b.slow);
  Py_DECREF(b.result);
  Py_DECREF(b.executable);
  Py_DECREF(b.table);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Bound, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_dealloc, reinterpret_cast<void*>(destroy)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_members, members},
    {0, nullptr},
};

PyType_Spec spec{"hal_host._native.BoundCall", sizeof(Bound), 0,
                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                 slots};

}  // namespace

PyObject* bind_call(const Binding& binding) {
  static PyObject* type = PyType_FromSpec(&spec);
  if (type == nullptr) return nullptr;
  auto* self = PyObject_GC_New(Bound, reinterpret_cast<PyTypeObject*>(type));
  if (self == nullptr) return nullptr;
  self->vectorcall = call;
  self->binding = binding;
  Py_INCREF(binding.table);
  Py_INCREF(binding.executable);
  Py_INCREF(binding.result);
  Py_INCREF(binding.slow);
  PyObject_GC_Track(reinterpret_cast<PyObject*>(self));
  return reinterpret_cast<PyObject*>(self);
}

}  // namespace hal
