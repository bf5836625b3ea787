// Operations on each lane of a wavefront: from a function of values to an instruction.
#pragma once
#include <cmath>
#include <tuple>
#include <type_traits>
#include <utility>

#include "state.h"

namespace standin::isa {

// A lane's bit of a scalar mask, as an argument. As a result: a mask of the lanes that execute.
struct Bit {
  bool on;
};
// A value, and a bit of a mask which is the second operand.
template <class T>
struct Carried {
  T value;
  bool carry;
};
struct Half {  // the bits of a binary16
  uint16_t bits;
};

template <class T>
constexpr bool kIsFloat = std::is_same_v<T, float> || std::is_same_v<T, double>;

template <class To, class From>
To cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

float to_float(Half half);
Half to_half(float value);

// The bits of an operand that is the same for all lanes, for a source of type T.
template <class T>
uint64_t uniform(const Wave& wave, const Operand& operand) {
  switch (operand.kind) {
    case Operand::kScalar: return sizeof(T) == 8 ? wave.pair(operand.index) : wave.s[operand.index];
    case Operand::kInteger: return static_cast<uint64_t>(operand.value);
    case Operand::kLiteral: {
      uint64_t bits = static_cast<uint32_t>(operand.value);
      return std::is_same_v<T, double> ? bits << 32 : bits;
    }
    case Operand::kAperture: return static_cast<uint64_t>(operand.value) << 32;
    case Operand::kFloat:
      if (sizeof(T) == 8) return cast<uint64_t>(operand.real);
      if (sizeof(T) == 2) return to_half(static_cast<float>(operand.real)).bits;
      return cast<uint32_t>(static_cast<float>(operand.real));
    default: throw Stop("an operand has no value");
  }
}

inline uint32_t selected(uint32_t value, Select select, bool extend) {
  switch (select) {
    case Select::kDword: return value;
    case Select::kWord0:
    case Select::kWord1: {
      uint32_t part = value >> (select == Select::kWord1 ? 16 : 0);
      return extend ? static_cast<uint32_t>(static_cast<int16_t>(part)) : part & 0xffff;
    }
    default: {
      uint32_t part = value >> (8 * (static_cast<int>(select) - static_cast<int>(Select::kByte0)));
      return extend ? static_cast<uint32_t>(static_cast<int8_t>(part)) : part & 0xff;
    }
  }
}

template <class T>
T signed_as(T value, const Operand& operand) {
  if constexpr (kIsFloat<T>) {
    if (operand.absolute) value = std::fabs(value);
    if (operand.negate) value = -value;
  } else if constexpr (std::is_same_v<T, Half>) {
    if (operand.absolute) value.bits &= 0x7fff;
    if (operand.negate) value.bits ^= 0x8000;
  } else if (operand.absolute || operand.negate) {
    throw Stop("a sign before an integer");
  }
  return value;
}

// The values of a source in all lanes.
template <class T>
void fetch(const Wave& wave, const Instruction& instruction, size_t number, T (&values)[kLanes]) {
  const Operand& operand = instruction.operands.at(number);
  if constexpr (std::is_same_v<T, Bit>) {
    uint64_t mask = uniform<uint64_t>(wave, operand);
    for (int i = 0; i < kLanes; i++) values[i].on = mask >> i & 1;
    return;
  } else {
    bool plain = !operand.negate && !operand.absolute && operand.select == Select::kDword && !operand.extend;
    bool high = sizeof(T) == 2 && instruction.op_sel >> (number - 1) & 1;
    if (operand.kind != Operand::kVector) {
      uint64_t bits = uniform<T>(wave, operand);
      if (high) bits >>= 16;
      if (operand.select != Select::kDword || operand.extend) {
        bits = selected(static_cast<uint32_t>(bits), operand.select, operand.extend);
      }
      T value;
      std::memcpy(&value, &bits, sizeof value);
      value = plain ? value : signed_as(value, operand);
      for (T& each : values) each = value;
      return;
    }
    const uint32_t* low = wave.v[operand.index];
    if constexpr (sizeof(T) == 8) {
      const uint32_t* upper = wave.v[operand.index + 1];
      for (int i = 0; i < kLanes; i++) values[i] = cast<T>(low[i] | static_cast<uint64_t>(upper[i]) << 32);
    } else {
      for (int i = 0; i < kLanes; i++) {
        uint32_t bits = plain ? low[i] : selected(low[i], operand.select, operand.extend);
        if (high) bits >>= 16;
        std::memcpy(&values[i], &bits, sizeof(T));
      }
    }
    if (!plain) {
      for (T& each : values) each = signed_as(each, operand);
    }
  }
}

// SDWA's destination: a part of the register, the rest of it zero or kept.
inline uint32_t placed(uint32_t old, uint32_t value, const Instruction& instruction) {
  if (instruction.select == Select::kDword) return value;
  bool word = instruction.select >= Select::kWord0;
  int part = static_cast<int>(instruction.select) - static_cast<int>(word ? Select::kWord0 : Select::kByte0);
  int shift = part * (word ? 16 : 8);
  uint32_t mask = (word ? 0xffffu : 0xffu) << shift;
  return (value << shift & mask) | (instruction.preserves ? old & ~mask : 0);
}

inline void store_mask(Wave& wave, const Operand& operand, uint64_t mask) {
  wave.set_pair(operand.index, mask & wave.exec());
}

// Results into the destination of the lanes that execute.
template <class T>
void store(Wave& wave, const Instruction& instruction, const T (&values)[kLanes]) {
  const Operand& operand = instruction.operands.at(0);
  uint64_t exec = wave.exec();
  if (operand.kind != Operand::kVector) throw Stop("a destination is no vector register");
  uint32_t* low = wave.v[operand.index];
  if constexpr (sizeof(T) == 8) {
    uint32_t* upper = wave.v[operand.index + 1];
    for (int i = 0; i < kLanes; i++) {
      auto bits = cast<uint64_t>(values[i]);
      if (exec >> i & 1) low[i] = static_cast<uint32_t>(bits), upper[i] = static_cast<uint32_t>(bits >> 32);
    }
  } else {
    for (int i = 0; i < kLanes; i++) {
      uint32_t bits = 0;  // results of 16 bits clear the upper ones (LLVM, SISubtarget::zeroesHigh16BitsOfDest)
      std::memcpy(&bits, &values[i], sizeof(T));
      if (exec >> i & 1) low[i] = placed(low[i], bits, instruction);
    }
  }
}

template <class T>
T clamped(T value) {
  if constexpr (kIsFloat<T>) return value > 0 ? (value < 1 ? value : T{1}) : T{0};  // not a number gives 0
  throw Stop("clamp of an integer");
}

template <class T>
struct Values {
  T of[kLanes];
};

template <class R, bool kAccumulates, class F, class... A, size_t... I>
Handler build(F function, std::index_sequence<I...>) {
  return [function](Wave& wave, const Instruction& instruction) {
    if (instruction.op_sel >> sizeof...(A)) throw Stop("the upper half of a destination");
    std::tuple<Values<A>...> sources;
    // what accumulates has the destination as its last source
    constexpr size_t kLast = kAccumulates ? sizeof...(A) - 1 : sizeof...(A);
    (fetch(wave, instruction, I == kLast ? 0 : 1 + I, std::get<I>(sources).of), ...);
    if constexpr (std::is_same_v<R, Bit>) {
      uint64_t mask = 0;
      for (int i = 0; i < kLanes; i++) mask |= uint64_t{function(std::get<I>(sources).of[i]...).on} << i;
      store_mask(wave, instruction.operands.at(0), mask);
    } else {
      R results[kLanes];
      for (int i = 0; i < kLanes; i++) results[i] = function(std::get<I>(sources).of[i]...);
      if (instruction.modifiers & kClamp) {
        for (R& each : results) each = clamped(each);
      }
      store(wave, instruction, results);
    }
  };
}
template <class F, class R, class... A>
Handler build(F function, R (F::*)(A...) const, bool) {
  return build<R, false, F, A...>(function, std::index_sequence_for<A...>{});
}
template <class F, class T, class... A>
Handler build(F function, Carried<T> (F::*)(A...) const, bool) {
  return [function](Wave& wave, const Instruction& instruction) {
    uint64_t mask = 0;
    auto remember = [&, i = 0](auto... values) mutable {
      auto made = function(values...);
      mask |= uint64_t{made.carry} << i++;
      return made.value;
    };
    std::tuple<Values<A>...> sources;
    size_t at = 2;
    std::apply([&](auto&... source) { (fetch(wave, instruction, at++, source.of), ...); }, sources);
    T results[kLanes];
    for (int i = 0; i < kLanes; i++) {
      results[i] = std::apply([&](auto&... source) { return remember(source.of[i]...); }, sources);
    }
    store(wave, instruction, results);
    store_mask(wave, instruction.operands[1], mask);
  };
}

// An instruction whose lanes each do `function`: operands are the destination, a mask where it carries, the sources.
template <class F>
Handler lanes(F function) {
  return build(function, &F::operator(), true);
}

// As `lanes`; the destination is one more source, the last.
template <class F, class R, class... A>
Handler accumulating(F function, R (F::*)(A...) const) {
  return build<R, true, F, A...>(function, std::index_sequence_for<A...>{});
}
template <class F>
Handler accumulate(F function) {
  return accumulating(function, &F::operator());
}

}  // namespace standin::isa
