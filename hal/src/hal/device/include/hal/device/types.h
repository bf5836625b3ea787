// Integers of fixed width and small vectors of them, without any standard header: some device compilers have none.
#pragma once

// Memory is read and written as whatever its alignment allows, not as the type of its elements.
#ifndef HAL_MAY_ALIAS
#define HAL_MAY_ALIAS __attribute__((__may_alias__))
#endif

namespace hal::device {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i8 = signed char;
using i16 = short;
using i32 = int;
using i64 = long long;

static_assert(sizeof(u8) == 1 && sizeof(u16) == 2 && sizeof(u32) == 4 && sizeof(u64) == 8);
static_assert(sizeof(void*) == 8);

// 4 * `kWords` bytes, moved by one instruction where memory is aligned to as much.
template <int kWords>
struct HAL_MAY_ALIAS Pack {
  alignas(4 * kWords) u32 word[kWords];
};

template <class T>
struct Alias {
  typedef T HAL_MAY_ALIAS type;
};

}  // namespace hal::device
