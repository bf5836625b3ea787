#include "front.h"

#include <structmember.h>

#include <cstddef>

namespace hal {
namespace {

enum Role { kSource, kTarget, kOp, kOther, kRoles };

struct Front {
  PyObject_HEAD
  vectorcallfunc vectorcall;
  PyObject* table;
  FastCalls* calls;
  PyObject* slow;
  PyObject* names[kRoles];  // interned, of the parameters in their order
  Role roles[kRoles];
  int parameters;
  PyObject* no_op;  // what `op` is where it is not given
  int64_t rank;
  bool in_place, source_at_root, target_at_root;
};

// Sort the arguments by role; false where there is anything but these parameters.
bool sort(const Front& front, PyObject* const* arguments, Py_ssize_t count, PyObject* names, PyObject** sorted) {
  if (count > front.parameters) return false;
  for (Py_ssize_t i = 0; i < count; i++) sorted[front.roles[i]] = arguments[i];
  Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t k = 0; k < named; k++) {
    PyObject* name = PyTuple_GET_ITEM(names, k);
    Py_ssize_t i = count;
    while (i < front.parameters && front.names[i] != name) i++;
    if (i == front.parameters) return false;
    sorted[front.roles[i]] = arguments[count + k];
  }
  return true;
}

PyObject* call(PyObject* self, PyObject* const* arguments, size_t flags, PyObject* names) {
  const Front& front = *reinterpret_cast<Front*>(self);
  PyObject* sorted[kRoles] = {Py_None, Py_None, front.no_op, nullptr};
  int64_t other = 0;
  bool plain = sort(front, arguments, PyVectorcall_NARGS(flags), names, sorted);
  if (plain && sorted[kOther] != nullptr) {
    plain = PyLong_CheckExact(sorted[kOther]);
    if (plain) other = PyLong_AsLongLong(sorted[kOther]);
    if (other == -1) PyErr_Clear();  // no rank in any case
  }
  if (plain) {
    PyObject* source = front.source_at_root && other != front.rank ? Py_None : sorted[kSource];
    PyObject* target = front.in_place && sorted[kTarget] == Py_None ? sorted[kSource] : sorted[kTarget];
    if (front.target_at_root && other != front.rank) target = Py_None;
    if (front.calls->run(source, target, sorted[kOp], other)) {
      if (PyErr_Occurred()) return nullptr;
      Py_INCREF(target);
      return target;
    }
  }
  return PyObject_Vectorcall(front.slow, arguments, flags & ~PY_VECTORCALL_ARGUMENTS_OFFSET, names);
}

PyObject* attribute(PyObject* self, PyObject* name) {
  PyObject* found = PyObject_GenericGetAttr(self, name);
  if (found != nullptr || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
  PyErr_Clear();
  return PyObject_GetAttr(reinterpret_cast<Front*>(self)->slow, name);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  auto* front = reinterpret_cast<Front*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(front->table);
  Py_VISIT(front->slow);
  return 0;
}

void destroy(PyObject* self) {
  PyObject_GC_UnTrack(self);
  PyTypeObject* type = Py_TYPE(self);
  auto* front = reinterpret_cast<Front*>(self);
  Py_DECREF(front->slow);
  Py_DECREF(front->table);
  Py_DECREF(front->no_op);
  for (int i = 0; i < front->parameters; i++) Py_DECREF(front->names[i]);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Front, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)}, {Py_tp_dealloc, reinterpret_cast<void*>(destroy)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},      {Py_tp_getattro, reinterpret_cast<void*>(attribute)},
    {Py_tp_members, members},                                 {0, nullptr},
};

PyType_Spec spec{"hal_host._native.CollectiveCall", sizeof(Front), 0,
                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                 slots};

Role role(const std::string& name) {
  return name == "x" ? kSource : name == "out" ? kTarget : name == "op" ? kOp : kOther;
}

}  // namespace

PyObject* make_front(PyObject* table, FastCalls* calls, PyObject* slow, const Shape& shape) {
  static PyObject* type = PyType_FromSpec(&spec);
  if (type == nullptr) return nullptr;
  if (shape.parameters.size() > kRoles) {
    PyErr_SetString(PyExc_ValueError, "a collective has four positional parameters at most");
    return nullptr;
  }
  auto* front = PyObject_GC_New(Front, reinterpret_cast<PyTypeObject*>(type));
  if (front == nullptr) return nullptr;
  front->vectorcall = call;
  front->table = table;
  front->calls = calls;
  front->slow = slow;
  front->parameters = 0;
  bool reduces = false;
  for (const std::string& name : shape.parameters) {
    front->names[front->parameters] = PyUnicode_InternFromString(name.c_str());
    front->roles[front->parameters++] = role(name);
    reduces = reduces || role(name) == kOp;
  }
  // a remembered call is told by the object that its `op` is, and both are the only ones of their kind
  front->no_op = PyUnicode_InternFromString(reduces ? "sum" : "");
  front->rank = shape.rank;
  front->in_place = shape.in_place;
  front->source_at_root = shape.source_at_root;
  front->target_at_root = shape.target_at_root;
  Py_INCREF(table);
  Py_INCREF(slow);
  PyObject_GC_Track(reinterpret_cast<PyObject*>(front));
  return reinterpret_cast<PyObject*>(front);
}

}  // namespace hal
