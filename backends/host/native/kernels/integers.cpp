// The kernels for integer types, in one instruction set.

#include "reduce.h"

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

// Two's complement: sums, products and bits are the same for both kinds, and only unsigned ones wrap around in C++.
// An average is summed as T too, which in vectors wraps as well (see -fwrapv in CMakeLists.txt).
template <class T, class Unsigned>
ReduceFn kernel_for(Op op) {
  switch (op) {
    case Op::kSum:
      return reduce<Plain<Unsigned>, Sum>;
    case Op::kProd:
      return reduce<Plain<Unsigned>, Prod>;
    case Op::kMin:
      return reduce<Plain<T>, Min>;
    case Op::kMax:
      return reduce<Plain<T>, Max>;
    case Op::kAvg:
      return average<Plain<T>, Plain<Unsigned>, DivideInteger<T>>;
    case Op::kBand:
      return reduce<Plain<Unsigned>, Band>;
    case Op::kBor:
      return reduce<Plain<Unsigned>, Bor>;
    case Op::kBxor:
      return reduce<Plain<Unsigned>, Bxor>;
  }
  return nullptr;
}

}  // namespace

ReduceFn integer_kernel(DType dtype, Op op) {
  switch (dtype) {
    case DType::kInt8:
      return kernel_for<int8_t, uint8_t>(op);
    case DType::kUint8:
      return kernel_for<uint8_t, uint8_t>(op);
    case DType::kInt16:
      return kernel_for<int16_t, uint16_t>(op);
    case DType::kUint16:
      return kernel_for<uint16_t, uint16_t>(op);
    case DType::kInt32:
      return kernel_for<int32_t, uint32_t>(op);
    case DType::kUint32:
      return kernel_for<uint32_t, uint32_t>(op);
    case DType::kInt64:
      return kernel_for<int64_t, uint64_t>(op);
    case DType::kUint64:
      return kernel_for<uint64_t, uint64_t>(op);
    default:
      return nullptr;
  }
}

}  // namespace hal::kernels::HAL_KERNELS_ISA
