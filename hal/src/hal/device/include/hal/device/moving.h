// Which of the moves an instruction is: by operation, by whether there is anything to compute, by the form of operands.
#pragma once
#include <hal/device/move_packets.h>

namespace hal::device {

template <int dtype, int op>
HAL_DEVICE void reduce(MoveWords move, const BlockMemory& memory, const Window& window, const PacketMove* packets) {
  if (packets != nullptr) {
    packets->reduce<dtype, op>();
  } else {
    reduce_plain<dtype, op>(memory, move, window);
  }
}

// `ops` are the operations that the kernel is made for, a bit for each code; the host launches no other on it.
template <int dtype, u32 ops, int op = 0>
HAL_DEVICE void reduce_by(MoveWords move, const BlockMemory& memory, const Window& window, const PacketMove* packets) {
  if constexpr ((ops >> op & 1) != 0 && is_defined<dtype, op>()) {
    if (move.op() == op) return reduce<dtype, op>(move, memory, window, packets);
  }
  if constexpr (ops >> op > 1) reduce_by<dtype, ops, op + 1>(move, memory, window, packets);
}

// Where packets do not come in time the watch has stopped, and `stand` says which.
template <int dtype, u32 ops>
HAL_DEVICE void run_move(MoveWords move, const BlockMemory& memory, const Window& window, u32 flag, Watch& watch,
                         Stand& stand) {
  bool packets = false;
  for (int i = 0; i < move.sources() + move.targets(); i++) packets = packets || move.source(i).packet();
  bool computes = move.sources() > 1 || move.divisor() != 1;
  PacketMove by_packets{memory, move, window, flag, watch, stand};
  if (computes) {
    reduce_by<dtype, ops>(move, memory, window, packets ? &by_packets : nullptr);
  } else if (packets) {
    by_packets.copy();
  } else {
    copy_plain(memory, move, window);
  }
}

}  // namespace hal::device
