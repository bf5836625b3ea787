// Reductions and copies over host memory: the arithmetic every `move` of the host executor is made of.
//
// The bits of a result depend on the operands and their order alone, not on the instruction set in use, the length,
// the alignment or the position of an element. They equal NumPy's, evaluated one operation at a time in the
// accumulator's type and rounded once; a NaN that was computed is always the positive quiet NaN without payload.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace hal::kernels {

/// Element types; the codes are those of `hal.interface.dtypes.DType`.
enum class DType : uint8_t {
  kInt8 = 0,
  kUint8 = 1,
  kInt16 = 2,
  kUint16 = 3,
  kInt32 = 4,
  kUint32 = 5,
  kInt64 = 6,
  kUint64 = 7,
  kFloat16 = 8,
  kBfloat16 = 9,
  kFloat32 = 10,
  kFloat64 = 11,
  kFloat8E4M3 = 12,  // finite: no infinity, NaN is 0x7f and 0xff, overflow becomes NaN
  kFloat8E5M2 = 13,  // as IEEE: overflow becomes infinity
};
inline constexpr int kDTypes = 14;

/// Reduction operations; the codes are those of `hal.interface.dtypes.ReduceOp`.
enum class Op : uint8_t { kSum = 0, kProd = 1, kMin = 2, kMax = 3, kAvg = 4, kBand = 5, kBor = 6, kBxor = 7 };
inline constexpr int kOps = 8;

/// The bytes one element takes.
constexpr size_t size_of(DType dtype) {
  constexpr uint8_t bytes[kDTypes] = {1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 1, 1};
  return bytes[static_cast<uint8_t>(dtype)];
}

/// `dst[j][i] = src[0][i] op src[1][i] op … op src[nsrc - 1][i]`, left to right, for every `j < ndst`, `i < count`.
///
/// `divisor`    for `kAvg` the accumulator is divided by it before it is rounded (integers: truncated towards zero);
///              0 and 1 divide nothing. Ignored by the other operations. At most 2^31 - 1.
/// `src`, `dst` `nsrc >= 1` and `ndst >= 1` addresses, of any alignment. A destination may be the very address of a
///              source; it must not overlap one in any other way, nor another destination.
/// `count`      elements, not bytes; may be 0.
/// `streaming`  write past the caches: right for large destinations that are not read again soon. The stores are
///              ordered (as by a store fence) when the call returns. A hint: the result is the same either way.
///
/// One source and nothing to divide is a copy: the bytes are left as they are, NaNs too.
using ReduceFn = void (*)(uint64_t divisor, const void* const* src, int nsrc, void* const* dst, int ndst, size_t count,
                          bool streaming);

/// The kernel for `op` on `dtype` in the instruction set in use; nullptr where the operation is not defined on the
/// type (bitwise operations on floats) or a code is unknown. Look it up once and keep it: it stays valid for ever.
ReduceFn lookup(DType dtype, Op op);

/// Look up and call. Throws std::invalid_argument where `lookup` finds nothing.
void reduce(DType dtype, Op op, uint64_t divisor, const void* const* src, int nsrc, void* const* dst, int ndst,
            size_t count, bool streaming);

/// Copy `nbytes` from `src` to `dst`, which are the same address or do not overlap. `streaming` as in `ReduceFn`.
void copy(void* dst, const void* src, size_t nbytes, bool streaming);

/// Take the cache lines of `src` from whoever has them, by writing a byte of each back as it was; nobody else may use
/// these bytes meanwhile. Right for what its owner writes next: it waits less for a line that one cache alone holds.
void claim(const void* src, size_t nbytes);

/// The instruction sets this CPU can run of those compiled in, the slowest first: of "baseline", "avx2", "avx512",
/// "avx512vbmi", "avx512fp16".
std::vector<std::string_view> available_isas();

/// The instruction set in use: at first the last of `available_isas()`.
std::string_view isa();

/// Use the named instruction set from now on; false, and no change, where it is not among `available_isas()`.
/// What `lookup` returned earlier is not affected. Safe to call while kernels run.
bool set_isa(std::string_view name);

}  // namespace hal::kernels
