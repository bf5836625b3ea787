// The loop over elements, sources and destinations: one piece of code for any type, operation and number of either.
#pragma once

#include <type_traits>

#include "isa.h"
#include "ops.h"
#include "types.h"

namespace hal::kernels::HAL_KERNELS_ISA {
namespace {

// Streaming goes through a tile that stays in the first-level cache, so that stores past the caches, and the alignment
// they need, concern the copy alone. A multiple of every vector; small beside the cache, large beside its overheads.
inline constexpr size_t kTileBytes = 4096;
// One source that goes to several destinations is copied in pieces that are still cached when they are read again.
inline constexpr size_t kFanOutBytes = 16384;

// The operands of one call, less their lengths.
struct Operands {
  const void* const* src;
  int nsrc;
  void* const* dst;
  int ndst;
};

// An operation of many steps brings a function that takes them for all vectors in turn, so that they hide each other's
// latency.
template <class Op, size_t vectors, class Acc>
[[gnu::always_inline]] inline void combine_each(Acc (&acc)[vectors], const Acc (&next)[vectors]) {
  if constexpr (requires { Op::template apply_each<vectors>(acc, next); }) {
    Op::template apply_each<vectors>(acc, next);
  } else {
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; ++v) acc[v].template combine<Op>(next[v]);
  }
}

// `sources`: how many there are, or 0 for any number.
template <class Type, class Op, class Finish, int sources = 0>
struct Reduction {
  using Stored = typename Type::Stored;
  using Raw = typename Type::Raw;
  using Acc = typename Type::Acc;
  static constexpr size_t kLanes = kVectorBytes / sizeof(Stored);
  // Four accumulators in flight: enough to hide the latency of a chain of operations, few enough for registers.
  static constexpr size_t kUnroll = 4 / Acc::kParts;

  // Combines `vectors` vectors of elements: those of the sources from index `s` on into those of the destinations
  // from `d` on. Everything is read before anything is written, so a destination may be a source.
  template <size_t vectors, class Load, class Store>
  [[gnu::always_inline]] static inline void block(const Finish& finish, const Operands& o, size_t s, size_t d,
                                                  const Load& load, const Store& store) {
    Acc acc[vectors];
    const Stored* from = static_cast<const Stored*>(o.src[0]) + s;
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; ++v) acc[v] = Type::widen(load(from + v * kLanes));
    const int nsrc = sources > 0 ? sources : o.nsrc;
    for (int k = 1; k < nsrc; ++k) {
      from = static_cast<const Stored*>(o.src[k]) + s;
      Acc next[vectors];
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; ++v) next[v] = Type::widen(load(from + v * kLanes));
      combine_each<Op>(acc, next);
    }
    Raw result[vectors];
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; ++v) {
      acc[v].template finish<Op>(finish);
      result[v] = Type::round(acc[v]);
    }
    for (int j = 0; j < o.ndst; ++j) {
      Stored* to = static_cast<Stored*>(o.dst[j]) + d;
#pragma GCC unroll 4
      for (size_t v = 0; v < vectors; ++v) store(to + v * kLanes, result[v]);
    }
  }

  [[gnu::noinline]] static void cached(const Finish& finish, const Operands& o, size_t s, size_t d, size_t count) {
    const auto load_all = [](const Stored* from) { return load<Raw>(from); };
    const auto store_all = [](Stored* to, Raw v) { store(to, v); };
    size_t i = 0;
    for (; count - i >= kUnroll * kLanes; i += kUnroll * kLanes) {
      block<kUnroll>(finish, o, s + i, d + i, load_all, store_all);
    }
    if constexpr (kUnroll > 1) {
      for (; count - i >= kLanes; i += kLanes) block<1>(finish, o, s + i, d + i, load_all, store_all);
    }
    if (i == count) return;
    const size_t nbytes = (count - i) * sizeof(Stored);
    block<1>(
        finish, o, s + i, d + i, [=](const Stored* from) { return load_some<Raw>(from, nbytes); },
        [=](Stored* to, Raw v) { store_some(to, v, nbytes); });
  }

  static void streamed(const Finish& finish, const Operands& o, size_t count) {
    alignas(64) Stored tile[kTileBytes / sizeof(Stored)];
    void* const to_tile[] = {tile};
    const Operands through{o.src, o.nsrc, to_tile, 1};
    // A first piece that leaves the first destination on a cache line keeps all later pieces whole lines.
    size_t n = (kTileBytes - reinterpret_cast<uintptr_t>(o.dst[0]) % 64) / sizeof(Stored);
    for (size_t i = 0; i < count; i += n, n = kTileBytes / sizeof(Stored)) {
      if (n > count - i) n = count - i;
      cached(finish, through, i, 0, n);
      for (int j = 0; j < o.ndst; ++j) copy_unfenced(static_cast<Stored*>(o.dst[j]) + i, tile, n * sizeof(Stored));
    }
    store_fence();
  }

  static void run(uint64_t divisor, const Operands& o, size_t count, bool streaming) {
    const Finish finish(divisor);
    if (streaming) {
      streamed(finish, o, count);
    } else {
      cached(finish, o, 0, 0, count);
    }
  }
};

// One source, unchanged.
inline void fan_out(const Operands& o, size_t nbytes, bool streaming) {
  const size_t piece = o.ndst == 1 ? nbytes : kFanOutBytes;
  for (size_t i = 0; i < nbytes; i += piece) {
    const size_t n = piece < nbytes - i ? piece : nbytes - i;
    const char* from = static_cast<const char*>(o.src[0]) + i;
    for (int j = 0; j < o.ndst; ++j) {
      char* to = static_cast<char*>(o.dst[j]) + i;
      if (to != from) copy(to, from, n, streaming);
    }
  }
}

// A `ReduceFn` for operations that leave a single operand as it is.
template <class Type, class Op>
void reduce(uint64_t, const void* const* src, int nsrc, void* const* dst, int ndst, size_t count, bool streaming) {
  const Operands o{src, nsrc, dst, ndst};
  if (nsrc == 1) {
    fan_out(o, count * sizeof(typename Type::Stored), streaming);
  } else {
    Reduction<Type, Op, Keep>::run(1, o, count, streaming);
  }
}

// A `ReduceFn` for `Op::kAvg`. `SumType` is what its sum is computed as when there is nothing to divide.
template <class Type, class SumType, class Divide>
void average(uint64_t divisor, const void* const* src, int nsrc, void* const* dst, int ndst, size_t count,
             bool streaming) {
  if (divisor <= 1) {
    reduce<SumType, Sum>(divisor, src, nsrc, dst, ndst, count, streaming);
  } else {
    Reduction<Type, Sum, Divide>::run(divisor, Operands{src, nsrc, dst, ndst}, count, streaming);
  }
}

// A `ReduceFn` that combines two operands as `Pair` with `PairOp`, any other number as `Type` with `Op`.
template <class Type, class Op, class Pair, class PairOp>
void reduce_pairs(uint64_t divisor, const void* const* src, int nsrc, void* const* dst, int ndst, size_t count,
                  bool streaming) {
  if (nsrc == 2) {
    Reduction<Pair, PairOp, Keep, 2>::run(1, Operands{src, nsrc, dst, ndst}, count, streaming);
  } else {
    reduce<Type, Op>(divisor, src, nsrc, dst, ndst, count, streaming);
  }
}

// The same for averages.
template <class Type, class Pair, class PairSum, class PairMean>
void average_pairs(uint64_t divisor, const void* const* src, int nsrc, void* const* dst, int ndst, size_t count,
                   bool streaming) {
  if (nsrc == 2 && divisor == 2) {
    Reduction<Pair, PairMean, Keep, 2>::run(1, Operands{src, nsrc, dst, ndst}, count, streaming);
  } else if (divisor <= 1) {
    reduce_pairs<Type, Sum, Pair, PairSum>(divisor, src, nsrc, dst, ndst, count, streaming);
  } else {
    average<Type, Type, DivideFloat<float>>(divisor, src, nsrc, dst, ndst, count, streaming);
  }
}

}  // namespace
}  // namespace hal::kernels::HAL_KERNELS_ISA
