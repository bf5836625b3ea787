// An opened device: its limits, a protection domain, and registrations in it.
#pragma once
#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>

#include "library.h"

namespace hal_ib {

[[noreturn]] inline void fail(const std::string& what, int code) {
  throw std::system_error(code, std::generic_category(), what);
}

class Adapter {
 public:
  Adapter(const std::string& name, uint8_t port) : port(port), verbs(Library::get()) {
    context = open(name);
    try {
      if (int code = verbs.query_device(context, &device)) fail("querying " + name, code);
      if (int code = verbs.query_port(context, port, &attributes)) fail("querying port of " + name, code);
      pd = verbs.alloc_pd(context);
      if (pd == nullptr) fail("a protection domain on " + name, errno);
    } catch (...) {
      verbs.close_device(context);
      throw;
    }
  }
  Adapter(const Adapter&) = delete;
  ~Adapter() {
    verbs.dealloc_pd(pd);
    verbs.close_device(context);
  }

  // reads and atomics in flight on one connection
  uint8_t depth_of_reads() const {
    int depth = std::min({device.max_qp_rd_atom, device.max_qp_init_rd_atom, 16});
    return static_cast<uint8_t>(std::max(depth, 1));
  }

  const uint8_t port;
  const Library& verbs;
  abi::Context* context;
  abi::Pd* pd = nullptr;
  abi::DeviceAttributes device{};
  abi::PortAttributes attributes{};

 private:
  abi::Context* open(const std::string& name) {
    int count = 0;
    abi::Device** list = verbs.get_device_list(&count);
    if (list == nullptr) fail("listing RDMA devices", errno);
    abi::Context* found = nullptr;
    int code = ENODEV;
    for (int i = 0; i < count; i++) {
      if (name != verbs.get_device_name(list[i])) continue;
      found = verbs.open_device(list[i]);
      code = errno;
    }
    verbs.free_device_list(list);
    if (found == nullptr) fail("opening " + name, code);
    return found;
  }
};

constexpr int kRemoteAccess = abi::kLocalWrite | abi::kRemoteWrite | abi::kRemoteRead | abi::kRemoteAtomic;

// Registered memory.
class Region {
 public:
  Region(Adapter& adapter, uint64_t address, uint64_t nbytes) : verbs_(adapter.verbs) {
    mr_ = verbs_.reg_mr(adapter.pd, reinterpret_cast<void*>(address), nbytes, access(adapter));
    if (mr_ == nullptr) fail("registering memory", errno);
  }
  // Memory of another device, by a dma-buf; peers name it by `address`.
  Region(Adapter& adapter, int fd, uint64_t offset, uint64_t nbytes, uint64_t address) : verbs_(adapter.verbs) {
    if (verbs_.reg_dmabuf_mr == nullptr) fail("this libibverbs registers no dma-buf", EOPNOTSUPP);
    mr_ = verbs_.reg_dmabuf_mr(adapter.pd, offset, nbytes, address, fd, access(adapter));
    if (mr_ == nullptr) fail("registering a dma-buf", errno);
  }
  Region(const Region&) = delete;
  ~Region() { close(); }

  void close() {
    if (mr_ != nullptr) verbs_.dereg_mr(mr_);
    mr_ = nullptr;
  }
  uint32_t lkey() const { return mr_ != nullptr ? mr_->lkey : 0; }
  uint32_t rkey() const { return mr_ != nullptr ? mr_->rkey : 0; }

 private:
  static int access(const Adapter& adapter) {
    return adapter.device.atomic_cap ? kRemoteAccess : kRemoteAccess & ~abi::kRemoteAtomic;
  }
  const Library& verbs_;
  abi::Mr* mr_;
};

}  // namespace hal_ib
