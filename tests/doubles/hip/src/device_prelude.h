// HIP's language and the compiler's builtins for AMD GPUs, for the C++ compiler of this machine. hiprtc of the stand-in
// includes this before a program.
#pragma once
#include <time.h>

#include <cstddef>
#include <type_traits>
#include <utility>

#include "device_table.h"

static standin::Table* hip_standin_table;
extern "C" void hip_standin_bind(standin::Table* table) { hip_standin_table = table; }

#define __global__
#define __device__
#define __host__
#define __shared__ static thread_local  // a block is a thread
#define amdgpu_flat_work_group_size(least, most) unused
#define __GFX9__ 1
#define __HIP_STANDIN__ 1

#define __HIP_MEMORY_SCOPE_AGENT 4
#define __HIP_MEMORY_SCOPE_SYSTEM 5
#define __hip_atomic_load(at, order, scope) __atomic_load_n(at, order)
#define __hip_atomic_store(at, value, order, scope) __atomic_store_n(at, value, order)
#define __hip_atomic_fetch_add(at, value, order, scope) __atomic_fetch_add(at, value, order)
#define __builtin_amdgcn_fence(order, scope) __atomic_thread_fence(order)

inline unsigned __builtin_amdgcn_workgroup_id_x() { return hip_standin_table->place()->block.x; }
inline unsigned __builtin_amdgcn_workitem_id_x() { return hip_standin_table->place()->thread.x; }
inline unsigned __builtin_amdgcn_workgroup_size_x() { return hip_standin_table->place()->block_size.x; }
inline void __builtin_amdgcn_s_barrier() { hip_standin_table->barrier(); }
inline void __builtin_amdgcn_s_sleep(int) { hip_standin_table->pause(); }
inline unsigned long long __builtin_amdgcn_uicmp(unsigned a, unsigned b, int) { return hip_standin_table->vote(a != b); }
inline unsigned long long __builtin_amdgcn_s_memrealtime() {  // 100 MHz
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<unsigned long long>(now.tv_sec) * 100000000 + static_cast<unsigned long long>(now.tv_nsec) / 10;
}

// A kernel as the runtime calls it: its arguments by address, their sizes and alignments.
template <class Function>
struct HipStandinKernel;
template <class... Arguments>
struct HipStandinKernel<void (*)(Arguments...)> {
  template <size_t... I>
  static void call(void (*kernel)(Arguments...), void** values, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<Arguments>*>(values[I])...);
  }
  static int layout(unsigned* sizes, unsigned* alignments) {
    ((*sizes++ = sizeof(Arguments), *alignments++ = alignof(Arguments)), ...);
    return sizeof...(Arguments);
  }
  static constexpr std::make_index_sequence<sizeof...(Arguments)> kAll{};
};
#define HIP_STANDIN_EXPORT(kernel)                                                      \
  extern "C" void hip_standin_call_##kernel(void** values) {                            \
    using Form = HipStandinKernel<decltype(&kernel)>;                                   \
    Form::call(&kernel, values, Form::kAll);                                            \
  }                                                                                     \
  extern "C" int hip_standin_layout_##kernel(unsigned* sizes, unsigned* alignments) {   \
    return HipStandinKernel<decltype(&kernel)>::layout(sizes, alignments);              \
  }
