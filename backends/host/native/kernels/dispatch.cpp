// Chooses among the instruction sets that the kernels are compiled for.

#include <atomic>
#include <stdexcept>
#include <string>

#include "isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace hal::kernels {
namespace {

constexpr size_t kLineBytes = 64;

struct Isa {
  std::string_view name;
  ReduceFn (*integer_kernel)(DType, Op);
  ReduceFn (*float_kernel)(DType, Op);
  void (*copy)(void*, const void*, size_t, bool);
  bool (*supported)();
};

#if defined(__x86_64__)
bool has_avx2() {
  unsigned a, b, c, d;
  return __builtin_cpu_supports("avx2") && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

// The slowest first.
constexpr Isa kIsas[] = {
    {"baseline", baseline::integer_kernel, baseline::float_kernel, baseline::copy, [] { return true; }},
#if defined(__x86_64__)
    {"avx2", avx2::integer_kernel, avx2::float_kernel, avx2::copy, has_avx2},
    {"avx512", avx512::integer_kernel, avx512::float_kernel, avx512::copy, has_avx512},
    {"avx512vbmi", avx512::integer_kernel, avx512vbmi::float_kernel, avx512vbmi::copy,
     [] { return has_avx512() && __builtin_cpu_supports("avx512vbmi") > 0; }},
#endif
#if defined(HAL_KERNELS_COMPILED_FP16)
    {"avx512fp16", avx512::integer_kernel, avx512fp16::float_kernel, avx512fp16::copy,
     [] { return has_avx512() && __builtin_cpu_supports("avx512fp16") > 0; }},
#endif
};

const Isa* best() {
  const Isa* found = nullptr;
  for (const Isa& isa : kIsas) {
    if (isa.supported()) found = &isa;
  }
  return found;
}

std::atomic<const Isa*>& in_use() {
  static std::atomic<const Isa*> isa{best()};
  return isa;
}

}  // namespace

ReduceFn lookup(DType dtype, Op op) {
  const Isa* isa = in_use().load(std::memory_order_relaxed);
  const ReduceFn found = isa->integer_kernel(dtype, op);
  return found != nullptr ? found : isa->float_kernel(dtype, op);
}

void reduce(DType dtype, Op op, uint64_t divisor, const void* const* src, int nsrc, void* const* dst, int ndst,
            size_t count, bool streaming) {
  const ReduceFn kernel = lookup(dtype, op);
  if (kernel == nullptr) {
    throw std::invalid_argument("no reduction kernel for dtype code " + std::to_string(static_cast<int>(dtype)) +
                                " and operation code " + std::to_string(static_cast<int>(op)));
  }
  kernel(divisor, src, nsrc, dst, ndst, count, streaming);
}

void copy(void* dst, const void* src, size_t nbytes, bool streaming) {
  in_use().load(std::memory_order_relaxed)->copy(dst, src, nbytes, streaming);
}

void claim(const void* src, size_t nbytes) {
  auto* at = static_cast<volatile uint8_t*>(const_cast<void*>(src));
  for (size_t i = 0; i < nbytes; i += kLineBytes) at[i] = at[i];
}

std::vector<std::string_view> available_isas() {
  std::vector<std::string_view> names;
  for (const Isa& isa : kIsas) {
    if (isa.supported()) names.push_back(isa.name);
  }
  return names;
}

std::string_view isa() { return in_use().load(std::memory_order_relaxed)->name; }

bool set_isa(std::string_view name) {
  for (const Isa& isa : kIsas) {
    if (isa.name == name && isa.supported()) {
      in_use().store(&isa, std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

}  // namespace hal::kernels
