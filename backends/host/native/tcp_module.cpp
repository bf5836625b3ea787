// What Python sees of TCP connections.
#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "tcp.h"
#include "tcp_module.h"

namespace nb = nanobind;
using namespace nb::literals;

void bind_tcp(nb::module_& m) {
  nb::class_<hal::Regions>(m, "Regions")
      .def(nb::init<>())
      .def("add", &hal::Regions::add, "address"_a, "nbytes"_a)
      .def("withdraw", &hal::Regions::withdraw, "handle"_a, nb::call_guard<nb::gil_scoped_release>());
  nb::class_<hal::TcpConnection>(m, "TcpConnection")
      .def("__init__",
           [](hal::TcpConnection* self, std::shared_ptr<hal::Regions> regions, int fd) {
             new (self) hal::TcpConnection(std::move(regions), fd);
           },
           "regions"_a, "fd"_a)
      .def_prop_ro("address",
                   [](hal::TcpConnection& c) { return reinterpret_cast<uint64_t>(static_cast<hal_connection*>(&c)); })
      .def("put",
           [](hal::TcpConnection& c, uint64_t rh, uint64_t ro, uint64_t lh, uint64_t lo, uint64_t n) {
             return static_cast<hal_connection&>(c).put(&c, rh, ro, lh, lo, n);
           },
           "remote"_a, "remote_offset"_a, "local"_a, "offset"_a, "nbytes"_a)
      .def("get",
           [](hal::TcpConnection& c, uint64_t rh, uint64_t ro, uint64_t lh, uint64_t lo, uint64_t n) {
             return static_cast<hal_connection&>(c).get(&c, rh, ro, lh, lo, n);
           },
           "remote"_a, "remote_offset"_a, "local"_a, "offset"_a, "nbytes"_a)
      .def("atomic_add",
           [](hal::TcpConnection& c, uint64_t rh, uint64_t ro, uint64_t value) {
             return static_cast<hal_connection&>(c).atomic_add(&c, rh, ro, value);
           },
           "remote"_a, "remote_offset"_a, "value"_a)
      .def("flush", &hal::TcpConnection::flush, "timeout_ns"_a, nb::call_guard<nb::gil_scoped_release>())
      .def("close", &hal::TcpConnection::close, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("failure", &hal::TcpConnection::failure);
}
