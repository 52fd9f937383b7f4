// What the tiles of every matrix product share.
#pragma once

#include <cstddef>
#include <cstdint>
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

// Rows of the next tile: `most`, but what is left for the last two is shared, since a tile of few
// rows takes as long as one of several.
inline int next_tile_rows(int left, int most) {
  if (left >= 2 * most) return most;
  return left > most ? (left + 1) / 2 : left;
}

// Asks for memory that is needed soon, a share at a time: the weights of all layers fill more than
// an L2, and waiting for each panel to come took a twentieth of a product. Shares are small: loads
// queue behind those that are asked for.
class Prefetch {
 public:
  Prefetch(const uint8_t* begin, size_t bytes, int num_shares)
      : next_(begin),
        end_(begin + bytes),
        share_((bytes / kLineBytes / static_cast<size_t>(num_shares > 0 ? num_shares : 1) + 1) *
               kLineBytes) {}

  void share() {
    constexpr int kToRead = 0, kIntoL2 = 2;
    const uint8_t* stop = next_ + share_ < end_ ? next_ + share_ : end_;
    for (; next_ < stop; next_ += kLineBytes) __builtin_prefetch(next_, kToRead, kIntoL2);
  }

 private:
  static constexpr size_t kLineBytes = 64;
  const uint8_t* next_;
  const uint8_t* end_;
  size_t share_;
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
