// The Python module hal_host._native: arenas, lanes, executables and kernels, with addresses as integers.
#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <memory>
#include <system_error>

#include "arena.h"
#include "bound.h"
#include "clock.h"
#include "fast.h"
#include "front.h"
#include "lane.h"
#include "launch.h"
#include "tcp_module.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

uint64_t counters_offset() { return round_up(sizeof(hal::Control), 128); }

uint64_t departed_offset(uint64_t members) {
  return counters_offset() + members * hal::kChannelSlots * sizeof(hal::Counter);
}

uint64_t scratch_offset(uint64_t members) {
  return round_up(departed_offset(members) + members * sizeof(hal::Departed), 4096);
}

uint64_t lane_bytes(uint64_t members, uint64_t scratch) { return scratch_offset(members) + 4 * scratch; }

// (address of the member's part of the lane, base of its arena, pid)
using MemberTuple = std::tuple<uint64_t, uint64_t, int>;

// For each member its link, or null where its memory is mapped; an empty list where all is.
using Links = std::vector<std::shared_ptr<hal::Link>>;

std::vector<hal::Member> read_members(const std::vector<MemberTuple>& members, const Links& links) {
  if (!links.empty() && links.size() != members.size()) throw std::invalid_argument("each member needs a link or none");
  std::vector<hal::Member> result;
  for (const auto& [address, arena, pid] : members) {
    auto* at = reinterpret_cast<uint8_t*>(address);
    result.push_back({reinterpret_cast<hal::Control*>(at), reinterpret_cast<hal::Counter*>(at + counters_offset()),
                      reinterpret_cast<hal::Departed*>(at + departed_offset(members.size())),
                      at + scratch_offset(members.size()), reinterpret_cast<uint8_t*>(arena), pid,
                      links.empty() ? nullptr : links[result.size()]});
  }
  return result;
}

std::unique_ptr<hal::Lane> make_lane(int rank, const std::vector<MemberTuple>& members, uint64_t arena_bytes,
                                     uint64_t scratch, uint64_t first_launch, int spin, int yields,
                                     const Links& links, bool roams) {
  return std::make_unique<hal::Lane>(rank, read_members(members, links), arena_bytes, scratch, first_launch,
                                     hal::LaneOptions{spin, yields, roams});
}

std::unique_ptr<hal::Lane> make_child(hal::Lane& parent, const std::vector<int>& in_parent, int rank,
                                      const std::vector<MemberTuple>& members, uint64_t scratch, const Links& links) {
  return std::make_unique<hal::Lane>(rank, read_members(members, links), parent.arena_bytes, scratch, parent, in_parent);
}

int run(hal::Executable& executable, uint64_t input, uint64_t input_bytes, uint64_t output, uint64_t output_bytes,
        int64_t timeout_ns) {
  hal::Status status = hal::run_with_gil(executable, reinterpret_cast<void*>(input), input_bytes,
                                         reinterpret_cast<void*>(output), output_bytes, timeout_ns);
  if (status == hal::Status::kInterrupted) nb::raise_python_error();
  return static_cast<int>(status);
}

// Nanoseconds a call of `count` calls made without Python, for what Python adds.
double repeat(hal::Executable& executable, uint64_t input, uint64_t input_bytes, uint64_t output,
              uint64_t output_bytes, int64_t timeout_ns, int count) {
  int64_t start = hal::now();
  for (int i = 0; i < count; i++) {
    hal::Status status = executable.run(reinterpret_cast<void*>(input), input_bytes, reinterpret_cast<void*>(output),
                                        output_bytes, timeout_ns, {});
    if (status != hal::Status::kOk) throw std::runtime_error("a call failed");
  }
  return static_cast<double>(hal::now() - start) / count;
}

hal::Program make_program(const hal::Lane& lane, const std::vector<std::vector<int64_t>>& blocks,
                          const std::vector<int32_t>& semaphores, int dtype, int slots, bool maps_input,
                          bool maps_output, bool in_place, uint64_t scratch_reach,
                          const std::vector<std::vector<int32_t>>& claims, bool roams, bool goes_on) {
  // no header of a member elsewhere is scratch
  if (!lane.links.empty()) scratch_reach = lane.scratch_bytes;
  return hal::Program(blocks, semaphores, dtype, slots, maps_input, maps_output, in_place, scratch_reach, lane.rank, lane.size,
                      lane.scratch_bytes, roams && lane.options.roams, claims, goes_on);
}

// For each member, what it announced for this launch: (collective, dtype, op, root, count, plan), or None.
nb::list calls(const hal::Lane& lane, uint64_t launch) {
  nb::list result;
  for (const hal::Member& member : lane.members) {
    const hal::Header& header = member.control->header[launch % hal::kHeaders];
    if (header.phase.load(std::memory_order_acquire) >> hal::kPhaseBits != launch) {
      result.append(nb::none());
      continue;
    }
    const hal::CallKey& key = header.key;
    result.append(nb::make_tuple(key.collective, key.dtype, key.op, key.root, key.count, key.plan));
  }
  return result;
}

// For each member of a failed launch: (state, entries), the state 'stands', 'absent', 'silent', 'lost' (its connection
// has failed) or 'dead'; an entry is
// (waiting, block, instruction, channel, peer, expected, seen).
nb::list reports(const hal::Lane& lane, uint64_t launch) {
  nb::list result;
  for (int m = 0; m < lane.size; m++) {
    const hal::Control& control = *lane.members[m].control;
    nb::list entries;
    const char* state = "silent";
    if (lane.members[m].link == nullptr && lane.died(m)) {
      state = "dead";
    } else if (control.report.launch.load(std::memory_order_acquire) == launch) {
      state = "stands";
      for (int i = 0; i < control.report.entries; i++) {
        const hal::ReportEntry& e = control.report.entry[i];
        entries.append(nb::make_tuple(static_cast<int>(e.waiting), e.block, e.instruction, e.channel, e.peer,
                                      e.expected, e.seen));
      }
    } else if (control.header[launch % hal::kHeaders].phase.load(std::memory_order_acquire) >> hal::kPhaseBits != launch) {
      state = "absent";
    }
    if (lane.members[m].link != nullptr && std::strcmp(state, "stands") != 0 && lane.died(m)) state = "lost";
    result.append(nb::make_tuple(state, entries));
  }
  return result;
}

void reduce(int dtype, int op, uint64_t divisor, const std::vector<uint64_t>& sources,
            const std::vector<uint64_t>& targets, uint64_t count, bool streaming) {
  std::vector<const void*> src;
  std::vector<void*> dst;
  for (uint64_t address : sources) src.push_back(reinterpret_cast<const void*>(address));
  for (uint64_t address : targets) dst.push_back(reinterpret_cast<void*>(address));
  hal::kernels::reduce(static_cast<hal::kernels::DType>(dtype), static_cast<hal::kernels::Op>(op), divisor, src.data(),
                       static_cast<int>(src.size()), dst.data(), static_cast<int>(dst.size()), count, streaming);
}

}  // namespace

NB_MODULE(_native, m) {
  if (!hal::FastCalls::prepare()) nb::raise_python_error();
  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const std::system_error& e) {
      errno = e.code().value();
      PyErr_SetFromErrnoWithFilename(PyExc_OSError, e.what());
    }
  });

  nb::class_<hal::Arena>(m, "Arena")
      .def(nb::init<uint64_t>(), "nbytes"_a)
      .def(nb::init<int, int, uint64_t, uint64_t>(), "pid"_a, "fd"_a, "inode"_a, "nbytes"_a)
      .def("discard", &hal::Arena::discard, "offset"_a, "nbytes"_a)
      .def_prop_ro("base", [](const hal::Arena& a) { return reinterpret_cast<uint64_t>(a.base); })
      .def_ro("nbytes", &hal::Arena::bytes)
      .def_ro("inode", &hal::Arena::inode)
      .def_ro("fd", &hal::Arena::fd);

  nb::class_<hal::Recorder>(m, "Recorder")
      .def(nb::init<uint64_t>(), "capacity"_a)
      .def("take",
           [](hal::Recorder& recorder) {
             uint64_t dropped = 0;
             std::vector<hal::Record> records = recorder.take(dropped);
             return std::make_tuple(nb::bytes(records.data(), records.size() * sizeof(hal::Record)), dropped);
           });

  nb::class_<hal::Program>(m, "Program")
      .def("__init__",
           [](hal::Program* self, const hal::Lane& lane, const std::vector<std::vector<int64_t>>& blocks,
              const std::vector<int32_t>& semaphores, int dtype, int slots, bool maps_input, bool maps_output,
              bool in_place, uint64_t scratch_reach, const std::vector<std::vector<int32_t>>& claims, bool roams, bool goes_on) {
             new (self) hal::Program(make_program(lane, blocks, semaphores, dtype, slots, maps_input, maps_output,
                                                  in_place, scratch_reach, claims, roams, goes_on));
           },
           "lane"_a, "blocks"_a, "semaphores"_a, "dtype"_a, "slots"_a, "maps_input"_a, "maps_output"_a,
           "in_place"_a, "scratch_reach"_a, "claims"_a = std::vector<std::vector<int32_t>>{},
           "roams"_a = true, "goes_on"_a = false);

  nb::class_<hal::Link>(m, "Link")
      .def("__init__",
           [](hal::Link* self, uint64_t connection, nb::handle, uint64_t own, uint64_t own_handle,
              uint64_t mirror, uint64_t mirror_handle, uint64_t peer_block, uint64_t peer_mirror) {
             new (self) hal::Link(reinterpret_cast<hal_connection*>(connection),
                                  {own, own_handle, mirror, mirror_handle, peer_block, peer_mirror});
           },
           "connection"_a, "owner"_a, "own"_a, "own_handle"_a, "mirror"_a, "mirror_handle"_a,
           "peer_block"_a, "peer_mirror"_a, nb::keep_alive<1, 3>())
      .def("detach", &hal::Link::detach, nb::call_guard<nb::gil_scoped_release>());

  nb::class_<hal::Lane>(m, "Lane")
      .def(nb::new_(&make_lane), "rank"_a, "members"_a, "arena_bytes"_a, "scratch_bytes"_a, "first_launch"_a, "spin"_a,
           "yields"_a, "links"_a = Links{}, "roams"_a = true)
      .def("child", &make_child, "in_parent"_a, "rank"_a, "members"_a, "scratch_bytes"_a, "links"_a = Links{},
           nb::keep_alive<0, 1>())
      .def_ro("rank", &hal::Lane::rank)
      .def_ro("size", &hal::Lane::size)
      .def_ro("scratch_bytes", &hal::Lane::scratch_bytes)
      .def_ro("launch", &hal::Lane::launch)
      .def_prop_ro("roams", [](const hal::Lane& lane) { return lane.options.roams; })
      .def_ro("running", &hal::Lane::running)
      .def_ro("sleeps", &hal::Lane::sleeps)
      .def_ro("yields", &hal::Lane::yielded)
      .def("record", [](hal::Lane& lane, std::shared_ptr<hal::Recorder> recorder) { lane.recorder = std::move(recorder); },
           "recorder"_a)
      .def("fail",
           [](hal::Lane& lane, int failure, int member) {
             if (lane.unusable() != nullptr) return;
             lane.fail(static_cast<hal::Failure>(failure), member);
             lane.wake_all();
           },
           "failure"_a, "member"_a)
      .def("leave", &hal::Lane::leave)
      .def_prop_ro("unusable", [](const hal::Lane& lane) { return lane.unusable(); })
      .def("settled", &hal::Lane::settled)
      .def_prop_ro("linked", [](const hal::Lane& lane) { return !lane.links.empty(); })
      .def("deserted", [](const hal::Lane& lane) { return !lane.running && lane.deserted(); })
      .def("failure",
           [](const hal::Lane& lane) {
             uint64_t word = lane.common().failure.load();
             return std::make_tuple(static_cast<int>(word & ((1 << hal::kFailureBits) - 1)),
                                    static_cast<int>(word >> hal::kFailureBits & 0xffff), word >> hal::kPhaseBits);
           })
      .def("calls", &calls, "launch"_a)
      .def("reports", &reports, "launch"_a);

  nb::class_<hal::Executable>(m, "Executable")
      .def("__init__",
           [](hal::Executable* self, hal::Lane& lane, int collective, int dtype, int op, int root, uint64_t count,
              uint64_t plan, const hal::Program& any, const hal::Program* mapped, bool single_copy, bool in_place) {
             hal::CallKey key{static_cast<uint8_t>(collective), static_cast<uint8_t>(dtype), static_cast<uint8_t>(op),
                              0, root, count, plan};
             std::vector<hal::Program> variant;
             if (mapped != nullptr) variant.push_back(*mapped);
             new (self) hal::Executable(lane, key, {any}, std::move(variant), single_copy, in_place);
           },
           "lane"_a, "collective"_a, "dtype"_a, "op"_a, "root"_a, "count"_a, "plan"_a, "any"_a,
           "mapped"_a = nb::none(), "single_copy"_a = false, "in_place"_a = false, nb::keep_alive<1, 2>())
      .def_ro("ran_mapped", &hal::Executable::ran_mapped)
      .def_ro("ran_plain", &hal::Executable::ran_plain)
      .def_rw("number", &hal::Executable::number)
      .def("run", &run, "input"_a, "input_bytes"_a, "output"_a, "output_bytes"_a, "timeout_ns"_a)
      .def("repeat", &repeat, "input"_a, "input_bytes"_a, "output"_a, "output_bytes"_a, "timeout_ns"_a, "count"_a,
           nb::call_guard<nb::gil_scoped_release>());

  nb::class_<hal::FastCalls>(m, "FastCalls")
      .def(nb::init<>())
      .def_rw("enabled", &hal::FastCalls::enabled)
      .def("front",
           [](nb::handle self, nb::handle slow, int64_t rank, const std::vector<std::string>& parameters, bool in_place,
              bool source_at_root, bool target_at_root) {
             hal::Shape shape{rank, parameters, in_place, source_at_root, target_at_root};
             PyObject* front = hal::make_front(self.ptr(), nb::cast<hal::FastCalls*>(self), slow.ptr(), shape);
             if (front == nullptr) nb::raise_python_error();
             return nb::steal(front);
           },
           "slow"_a, "rank"_a, "parameters"_a, "in_place"_a, "source_at_root"_a, "target_at_root"_a)
      .def("remember",
           [](hal::FastCalls& calls, nb::handle source, nb::handle target, nb::handle op, int64_t root,
              nb::handle executable, hal::Executable& native, int64_t timeout_ns) {
             calls.remember(source.ptr(), target.ptr(), op.ptr(), root, executable.ptr(), &native, timeout_ns);
           },
           "source"_a.none(), "target"_a.none(), "op"_a, "root"_a, "executable"_a, "native"_a, "timeout_ns"_a)
      .def("bind",
           [](nb::handle self, nb::handle executable, hal::Executable& native, uint64_t input, uint64_t input_bytes,
              uint64_t output, uint64_t output_bytes, int64_t timeout_ns, nb::handle result, nb::handle slow) {
             PyObject* bound = hal::bind_call({self.ptr(), nb::cast<hal::FastCalls*>(self), executable.ptr(), &native,
                                               reinterpret_cast<void*>(input), input_bytes,
                                               reinterpret_cast<void*>(output), output_bytes, timeout_ns, result.ptr(),
                                               slow.ptr()});
             if (bound == nullptr) nb::raise_python_error();
             return nb::steal(bound);
           },
           "executable"_a, "native"_a, "input"_a, "input_bytes"_a, "output"_a, "output_bytes"_a, "timeout_ns"_a,
           "result"_a.none(), "slow"_a)
      .def("clear", &hal::FastCalls::clear);

  bind_tcp(m);

  m.def("readable", &hal::readable, "pid"_a, "address"_a);
  m.def("lane_bytes", &lane_bytes, "members"_a, "scratch_bytes"_a);
  m.def("reduce", &reduce, "dtype"_a, "op"_a, "divisor"_a, "srcs"_a, "dsts"_a, "count"_a, "streaming"_a);
  m.def("copy",
        [](uint64_t dst, uint64_t src, uint64_t nbytes, bool streaming) {
          hal::kernels::copy(reinterpret_cast<void*>(dst), reinterpret_cast<const void*>(src), nbytes, streaming);
        },
        "dst"_a, "src"_a, "nbytes"_a, "streaming"_a);
  m.def("fill", [](uint64_t dst, int value, uint64_t nbytes) { std::memset(reinterpret_cast<void*>(dst), value, nbytes); },
        "dst"_a, "value"_a, "nbytes"_a);
  m.def("kernel_isa", &hal::kernels::isa);
  m.def("kernel_isas", &hal::kernels::available_isas);
  m.def("set_kernel_isa", [](std::string_view name) {
    if (!hal::kernels::set_isa(name)) throw std::invalid_argument("this CPU has no instruction set " + std::string(name));
  });
}
