// The kernels for floating-point types, in one instruction set.

#include "half.h"
#include "lookups.h"
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

// Of a type narrower than its accumulator, whose largest magnitude is the code `largest`.
template <class Type, int largest, int nan>
ReduceFn narrow_kernel_for(Op op) {
  using Code = Plain<std::make_signed_t<typename Type::Stored>>;
  switch (op) {
    case Op::kMin:
      return reduce<Code, MinCodes<largest, nan>>;
    case Op::kMax:
      return reduce<Code, MaxCodes<largest, nan>>;
    default:
      return kernel_for<Type, float>(op);
  }
}

#if defined(HAL_KERNELS_FP16)

ReduceFn pair_kernel(DType dtype, Op op) {
  if (dtype == DType::kFloat16) {
    if (op == Op::kSum) return reduce_pairs<Float16, Sum, Float16InHalf, Sum>;
    if (op == Op::kProd) return reduce_pairs<Float16, Prod, Float16InHalf, Prod>;
  } else if (dtype == DType::kFloat8E4M3) {
    if (op == Op::kSum) return reduce_pairs<Float8E4M3, Sum, Float8E4M3InHalf, Sum>;
    if (op == Op::kProd) return reduce_pairs<Float8E4M3, Prod, Float8E4M3InHalf, ScaledProd>;
    if (op == Op::kAvg) return average_pairs<Float8E4M3, Float8E4M3InHalf, Sum, Mean>;
  } else if (dtype == DType::kFloat8E5M2) {
    if (op == Op::kSum) return reduce_pairs<Float8E5M2, Sum, Float8E5M2InHalf, Sum>;
    if (op == Op::kProd) return reduce_pairs<Float8E5M2, Prod, Float8E5M2InHalf, Prod>;
    if (op == Op::kAvg) return average_pairs<Float8E5M2, Float8E5M2InHalf, Sum, Mean>;
  }
  return nullptr;
}

#elif defined(HAL_KERNELS_LOOKUPS)

template <class Format>
ReduceFn lookup_kernel(Op op) {
  using Wide = typename Format::Wide;
  using Code = Plain<uint8_t>;
  if (op == Op::kSum) return reduce_pairs<Wide, Sum, Code, LookedUpSum<Format, 0>>;
  if (op == Op::kProd) return reduce_pairs<Wide, Prod, Code, LookedUpProduct<Format>>;
  if (op == Op::kAvg) return average_pairs<Wide, Code, LookedUpSum<Format, 0>, LookedUpSum<Format, 1>>;
  return nullptr;
}

ReduceFn pair_kernel(DType dtype, Op op) {
  if (dtype == DType::kFloat8E4M3) return lookup_kernel<E4M3>(op);
  if (dtype == DType::kFloat8E5M2) return lookup_kernel<E5M2>(op);
  return nullptr;
}

#else

ReduceFn pair_kernel(DType, Op) { return nullptr; }

#endif

}  // namespace

ReduceFn float_kernel(DType dtype, Op op) {
  // what is quicker for two operands, in some instruction sets
  if (const ReduceFn found = pair_kernel(dtype, op); found != nullptr) return found;
  switch (dtype) {
    case DType::kFloat16:
      return narrow_kernel_for<Float16, 0x7c00, 0x7e00>(op);
    case DType::kBfloat16:
      return narrow_kernel_for<Bfloat16, 0x7f80, 0x7fc0>(op);
    case DType::kFloat32:
      return kernel_for<Plain<float>, float>(op);
    case DType::kFloat64:
      return kernel_for<Plain<double>, double>(op);
    case DType::kFloat8E4M3:
      return narrow_kernel_for<Float8E4M3, 0x7e, 0x7f>(op);
    case DType::kFloat8E5M2:
      return narrow_kernel_for<Float8E5M2, 0x7c, 0x7e>(op);
    default:
      return nullptr;
  }
}

}  // namespace hal::kernels::HAL_KERNELS_ISA
