// What one instruction set's compilation of the kernels provides to the dispatcher.
//
// The same sources are compiled once for each instruction set, each time into a namespace of its own. They must not
// use inline functions of the standard library: the linker keeps one copy of those, perhaps the one for the wrong CPU.
#pragma once

#include "kernels.h"

#define HAL_KERNELS_DECLARE(isa)                                          \
  namespace hal::kernels::isa {                                           \
  ReduceFn integer_kernel(DType dtype, Op op);                            \
  ReduceFn float_kernel(DType dtype, Op op);                              \
  void copy(void* dst, const void* src, size_t nbytes, bool streaming);   \
  void copy_unfenced(void* dst, const void* src, size_t nbytes);          \
  void store_fence();                                                     \
  }

HAL_KERNELS_DECLARE(baseline)
#if defined(__x86_64__)
HAL_KERNELS_DECLARE(avx2)
HAL_KERNELS_DECLARE(avx512)
HAL_KERNELS_DECLARE(avx512vbmi)  // here and below, the functions for integers are those of avx512
HAL_KERNELS_DECLARE(avx512fp16)
#endif

#undef HAL_KERNELS_DECLARE
