// What kernels compiled for this machine call: both sides include this.
#pragma once

namespace standin {

struct Dimensions {
  unsigned x, y, z;
};
struct Place {
  Dimensions thread, block, block_size, grid_size;
};
struct Table {
  Place* (*place)();
  void (*barrier)();
  void (*pause)();
  unsigned long long (*vote)(int);  // the lanes of a wavefront of 64 that say yes
};

}  // namespace standin
