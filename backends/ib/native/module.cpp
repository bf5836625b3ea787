// The Python module hal_ib._native: adapters, regions and links, with addresses as integers and times in seconds.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "door.h"
#include "link.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

int64_t ns(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

void arrange(hal_ib::Link& link, nb::bytes gid, int gid_index, bool global, int lid, int mtu,
             const std::vector<uint32_t>& numbers, uint32_t own_psn, uint32_t peer_psn) {
  hal_ib::Address to{{}, static_cast<uint8_t>(gid_index), global, static_cast<uint16_t>(lid), mtu};
  if (gid.size() != to.gid.size()) throw std::invalid_argument("a GID has 16 bytes");
  std::copy_n(reinterpret_cast<const uint8_t*>(gid.c_str()), to.gid.size(), to.gid.begin());
  link.arrange(to, numbers, own_psn, peer_psn);
}

}  // namespace

NB_MODULE(_native, m) {
  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const std::system_error& e) {
      errno = e.code().value();
      PyErr_SetFromErrnoWithFilename(PyExc_OSError, e.what());
    }
  });

  m.def("load", [] { hal_ib::Library::get(); }, "RuntimeError, with the loader's words, where libibverbs cannot be loaded.");
  m.def("status_text", [](int status) { return std::string(hal_ib::Library::get().wc_status_str(status)); });

  nb::class_<hal_ib::Adapter>(m, "Adapter")
      .def(nb::init<const std::string&, uint8_t>(), "device"_a, "port"_a)
      .def_prop_ro("atomic", [](const hal_ib::Adapter& a) { return a.device.atomic_cap != 0; })
      .def_prop_ro("mtu", [](const hal_ib::Adapter& a) { return a.attributes.active_mtu; })
      .def_prop_ro("lid", [](const hal_ib::Adapter& a) { return a.attributes.lid; });

  nb::class_<hal_ib::Region>(m, "Region")
      .def(nb::init<hal_ib::Adapter&, uint64_t, uint64_t>(), "adapter"_a, "address"_a, "nbytes"_a, nb::keep_alive<1, 2>())
      .def(nb::init<hal_ib::Adapter&, int, uint64_t, uint64_t, uint64_t>(), "adapter"_a, "fd"_a, "offset"_a, "nbytes"_a,
           "address"_a, nb::keep_alive<1, 2>())
      .def("close", &hal_ib::Region::close, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("lkey", &hal_ib::Region::lkey)
      .def_prop_ro("rkey", &hal_ib::Region::rkey);

  using nb::gil_scoped_release;
  using hal_ib::Link;
  nb::class_<Link>(m, "Link")
      .def("__init__",
           [](Link* self, hal_ib::Adapter& adapter, int queues, uint32_t depth, uint32_t inline_bytes, uint64_t stripe,
              int ack_timeout, int retries, int rnr_retries) {
             new (self) Link(adapter, {queues, depth, inline_bytes, stripe, static_cast<uint8_t>(ack_timeout),
                                       static_cast<uint8_t>(retries), static_cast<uint8_t>(rnr_retries)});
           },
           "adapter"_a, "queues"_a, "depth"_a, "inline_bytes"_a, "stripe"_a, "ack_timeout"_a, "retries"_a,
           "rnr_retries"_a, nb::keep_alive<1, 2>())
      .def("numbers", &Link::numbers)
      .def("arrange", &arrange, "gid"_a, "gid_index"_a, "is_global"_a, "lid"_a, "mtu"_a, "numbers"_a, "own_psn"_a,
           "peer_psn"_a)
      .def("knock", [](Link& l, double t) { return int(l.knock(ns(t))); }, "timeout"_a,
           nb::call_guard<gil_scoped_release>())
      .def("put",
           [](Link& l, uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes, double patience) {
             return int(l.put(remote, rkey, local, lkey, nbytes, ns(patience)));
           },
           nb::call_guard<gil_scoped_release>())
      .def("get",
           [](Link& l, uint64_t remote, uint32_t rkey, uint64_t local, uint32_t lkey, uint64_t nbytes, double patience) {
             return int(l.get(remote, rkey, local, lkey, nbytes, ns(patience)));
           },
           nb::call_guard<gil_scoped_release>())
      .def("add",
           [](Link& l, uint64_t remote, uint32_t rkey, uint64_t value, double patience) {
             return int(l.add(remote, rkey, value, ns(patience)));
           },
           nb::call_guard<gil_scoped_release>())
      .def("flush", [](Link& l, double t) { return int(l.flush(ns(t))); }, "timeout"_a,
           nb::call_guard<gil_scoped_release>())
      .def("break_it", &Link::break_it)
      .def_ro("reported", &Link::reported)
      .def_prop_ro("failure", [](const Link& l) { return nb::make_tuple(l.failure.status, l.failure.vendor); });

  using hal_ib::Door;
  nb::class_<Door>(m, "Door")
      .def(nb::init<Link&>(), "link"_a)
      .def_prop_ro("address", [](Door& d) { return reinterpret_cast<uint64_t>(static_cast<hal_connection*>(&d)); })
      .def("resolve",
           [](Door& d, uint64_t address, uint64_t nbytes, uint32_t rkey) { return d.resolve({address, nbytes, rkey}); },
           "address"_a, "nbytes"_a, "rkey"_a)
      .def("close", &Door::close, nb::call_guard<gil_scoped_release>());
  m.def("add_local", [](uint64_t address, uint64_t nbytes, uint32_t lkey) {
    return hal_ib::Locals::get().add({address, nbytes, lkey});
  }, "address"_a, "nbytes"_a, "lkey"_a);
  m.def("remove_local", [](uint64_t handle) { hal_ib::Locals::get().remove(handle); }, "handle"_a);
}
