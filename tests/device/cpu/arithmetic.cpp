// Reductions without an executor: reads words (dtype, op, divisor, sources, elements, then the sources' data) and writes
// the result twice, computed pack by pack and element by element.
#include <hal/device/arithmetic.h>

#include <cstdio>
#include <cstring>
#include <vector>

namespace {

using namespace hal::device;

struct Case {
  i64 divisor;
  size_t sources, elements;
  std::vector<u8> data;
};

// `elements` fill whole packs.
template <int dtype, int op>
void compute(const Case& c) {
  using Stored = typename Element<dtype>::Stored;
  size_t bytes = c.elements * sizeof(Stored);
  std::vector<u8> packs(bytes), elements(bytes);
  for (size_t at = 0; at < bytes; at += 16) {
    Accumulator<dtype, op, 4> sum;
    for (size_t s = 0; s < c.sources; s++) {
      Pack<4> pack;
      std::memcpy(&pack, &c.data[s * bytes + at], 16);
      s == 0 ? sum.begin(pack) : sum.add(pack);
    }
    Pack<4> result = sum.result(c.divisor);
    std::memcpy(&packs[at], &result, 16);
  }
  for (size_t at = 0; at < bytes; at += sizeof(Stored)) {
    ElementAccumulator<dtype, op> sum;
    for (size_t s = 0; s < c.sources; s++) {
      Stored element;
      std::memcpy(&element, &c.data[s * bytes + at], sizeof element);
      s == 0 ? sum.begin(element) : sum.add(element);
    }
    Stored result = sum.result(c.divisor);
    std::memcpy(&elements[at], &result, sizeof result);
  }
  std::fwrite(packs.data(), 1, bytes, stdout);
  std::fwrite(elements.data(), 1, bytes, stdout);
}

template <int dtype, int op = 0>
void by_op(int wanted, const Case& c) {
  if constexpr (op < 8) {
    if constexpr (is_defined<dtype, op>()) {
      if (wanted == op) return compute<dtype, op>(c);
    }
    by_op<dtype, op + 1>(wanted, c);
  }
}

template <int dtype = 0>
void by_dtype(int wanted, int op, const Case& c) {
  if constexpr (dtype < 14) {
    if (wanted == dtype) return by_op<dtype>(op, c);
    by_dtype<dtype + 1>(wanted, op, c);
  }
}

}  // namespace

int main() {
  u64 head[6];  // the last: bytes of the data
  while (std::fread(head, sizeof head, 1, stdin) == 1) {
    Case c{static_cast<i64>(head[2]), head[3], head[4], std::vector<u8>(head[5])};
    if (std::fread(c.data.data(), 1, c.data.size(), stdin) != c.data.size()) return 1;
    by_dtype(static_cast<int>(head[0]), static_cast<int>(head[1]), c);
  }
  return 0;
}
