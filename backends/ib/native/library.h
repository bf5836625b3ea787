// libibverbs, loaded when it is first needed: the package works without it until an adapter is opened.
#pragma once
#include <dlfcn.h>

#include <stdexcept>
#include <string>

#include "verbs_abi.h"

namespace hal_ib {

struct Library {
  abi::Device** (*get_device_list)(int*);
  void (*free_device_list)(abi::Device**);
  const char* (*get_device_name)(abi::Device*);
  abi::Context* (*open_device)(abi::Device*);
  int (*close_device)(abi::Context*);
  int (*query_device)(abi::Context*, abi::DeviceAttributes*);
  int (*query_port)(abi::Context*, uint8_t, abi::PortAttributes*);
  abi::Pd* (*alloc_pd)(abi::Context*);
  int (*dealloc_pd)(abi::Pd*);
  abi::Mr* (*reg_mr)(abi::Pd*, void*, size_t, int);
  // since libibverbs 34; null where it is older
  abi::Mr* (*reg_dmabuf_mr)(abi::Pd*, uint64_t, size_t, uint64_t, int, int);
  int (*dereg_mr)(abi::Mr*);
  abi::Cq* (*create_cq)(abi::Context*, int, void*, void*, int);
  int (*destroy_cq)(abi::Cq*);
  abi::Qp* (*create_qp)(abi::Pd*, abi::QpInitAttributes*);
  int (*modify_qp)(abi::Qp*, abi::QpAttributes*, int);
  int (*destroy_qp)(abi::Qp*);
  const char* (*wc_status_str)(int);

  // Loaded once; throws where it cannot be.
  static const Library& get() {
    static const Library library;
    return library;
  }

 private:
  Library() {
    void* handle = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) throw std::runtime_error(dlerror());
    auto find = [&](auto& function, const char* name, bool needed = true) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(handle, name));
      if (needed && function == nullptr) throw std::runtime_error(std::string("libibverbs.so.1 has no ") + name);
    };
    find(get_device_list, "ibv_get_device_list");
    find(free_device_list, "ibv_free_device_list");
    find(get_device_name, "ibv_get_device_name");
    find(open_device, "ibv_open_device");
    find(close_device, "ibv_close_device");
    find(query_device, "ibv_query_device");
    find(query_port, "ibv_query_port");
    find(alloc_pd, "ibv_alloc_pd");
    find(dealloc_pd, "ibv_dealloc_pd");
    find(reg_mr, "ibv_reg_mr");
    find(reg_dmabuf_mr, "ibv_reg_dmabuf_mr", false);
    find(dereg_mr, "ibv_dereg_mr");
    find(create_cq, "ibv_create_cq");
    find(destroy_cq, "ibv_destroy_cq");
    find(create_qp, "ibv_create_qp");
    find(modify_qp, "ibv_modify_qp");
    find(destroy_qp, "ibv_destroy_qp");
    find(wc_status_str, "ibv_wc_status_str");
  }
};

}  // namespace hal_ib
