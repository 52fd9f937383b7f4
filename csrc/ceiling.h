// What this machine gives at the moment: a kernel set's matrix products with operands in L1 and
// nothing around them. End-to-end figures are shares of these.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels.h"

namespace zen {

struct Ceiling {
  std::string isa, name;
  double macs;                    // of one product
  std::function<void()> product;  // a copy works on operands of its own thread
};

// "fp32", "int8" with plain weights, and int8 where their spread lets the sums be deeper or not.
std::vector<Ceiling> ceilings(const Kernels& kernels);

// GMAC/s of all threads together while `num_threads` run the same product for some milliseconds.
double measure(const Ceiling& ceiling, int num_threads);

}  // namespace zen
