// What the tiles of every matrix product share.
#pragma once

#include <cstddef>
#include <utility>

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

template <typename Tile, typename Counts>
struct TileTable;

template <typename Tile, int... kCounts>
struct TileTable<Tile, std::integer_sequence<int, kCounts...>> {
  static constexpr decltype(&Tile::template multiply<1>) kByRows[] = {
      Tile::template multiply<kCounts + 1>...};
};

// Tile::multiply<rows> for 1 <= rows <= kMost.
template <typename Tile, int kMost>
constexpr auto tile_of(int rows) {
  return TileTable<Tile, std::make_integer_sequence<int, kMost>>::kByRows[rows - 1];
}

}  // namespace zen::ZEN_ISA
