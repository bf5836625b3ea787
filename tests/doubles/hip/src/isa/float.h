// Formats of floating point: what is not a number, and the way from and to a half.
#pragma once
#include <cmath>
#include <limits>

#include "lanes.h"

namespace standin::isa {

// The bits that an operation gives which has no result: positive here, negative on this machine's processor.
template <class T>
constexpr auto not_a_number() {
  if constexpr (sizeof(T) == 8) return uint64_t{0x7ff8000000000000};
  else return uint32_t{0x7fc00000};
}
inline bool quiet(float value) { return cast<uint32_t>(value) >> 22 & 1; }
inline bool quiet(double value) { return cast<uint64_t>(value) >> 51 & 1; }
inline float quieted(float value) { return cast<float>(cast<uint32_t>(value) | 1u << 22); }
inline double quieted(double value) { return cast<double>(cast<uint64_t>(value) | uint64_t{1} << 51); }

// A result as the device has it: where it is no number it is the first source that is none, made quiet.
template <class T, class... A>
T arithmetic(T result, A... sources) {
  if (!std::isnan(result)) return result;
  bool found = false;
  T made = cast<T>(not_a_number<T>());
  ((!found && std::isnan(sources) ? (found = true, made = quieted(static_cast<T>(sources))) : made), ...);
  return made;
}

template <class T, class From>
T lower(From value) {
  if constexpr (std::is_same_v<T, Half>) return to_half(value);
  else return value;
}

}  // namespace standin::isa
