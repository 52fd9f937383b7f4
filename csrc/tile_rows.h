// The rows of a tile, walked along together.
#pragma once

#include <cstddef>

namespace zen::ZEN_ISA {

// Twelve pointers are more than x86 has registers for: one serves three rows, which an address
// reaches by adding the stride once or twice.
template <typename Value, int kRows>
class TileRows {
 public:
  TileRows(const Value* first, ptrdiff_t stride) : stride_(stride) {
#pragma GCC unroll 4
    for (int base = 0; base < kBases; ++base) bases_[base] = first + kRowsOfBase * base * stride;
  }

  const Value* at(int row) const { return bases_[row / kRowsOfBase] + row % kRowsOfBase * stride_; }

  void advance(int count) {
#pragma GCC unroll 4
    for (int base = 0; base < kBases; ++base) {
      bases_[base] += count;
      // Or gcc keeps what at() adds in registers of its own, which it does not have.
      asm("" : "+r"(bases_[base]));
    }
  }

 private:
  static constexpr int kRowsOfBase = 3;
  static constexpr int kBases = (kRows + kRowsOfBase - 1) / kRowsOfBase;
  const Value* bases_[kBases];
  ptrdiff_t stride_;
};

}  // namespace zen::ZEN_ISA
