// The kernels for floating-point types, in one instruction set.

#include "reduce.h"

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

// `Scalar` is the accumulator's type.
template <class Type, class Scalar>
ReduceFn kernel_for(Op op) {
  switch (op) {
    case Op::kSum:
      return reduce<Type, Sum>;
    case Op::kProd:
      return reduce<Type, Prod>;
    case Op::kMin:
      return reduce<Type, Min>;
    case Op::kMax:
      return reduce<Type, Max>;
    case Op::kAvg:
      return average<Type, Type, DivideFloat<Scalar>>;
    default:
      return nullptr;
  }
}

}  // namespace

ReduceFn float_kernel(DType dtype, Op op) {
  switch (dtype) {
    case DType::kFloat16:
      return kernel_for<Float16, float>(op);
    case DType::kBfloat16:
      return kernel_for<Bfloat16, float>(op);
    case DType::kFloat32:
      return kernel_for<Plain<float>, float>(op);
    case DType::kFloat64:
      return kernel_for<Plain<double>, double>(op);
    case DType::kFloat8E4M3:
      return kernel_for<Float8E4M3, float>(op);
    case DType::kFloat8E5M2:
      return kernel_for<Float8E5M2, float>(op);
    default:
      return nullptr;
  }
}

}  // namespace hal::kernels::HAL_KERNELS_ISA
