// Matrix products of 16-bit whole numbers: half of fp32's steps, and sums that are exact.
//
// Two neighbours along the depth share the 32 bits of a float and go through a matrix as one, so
// that rows are packed and broadcast as those of the fp32 gemm are.
#pragma once

#include <cstring>

#include "gemm.h"
#include "kernels.h"
#include "tiles.h"
#include "vec_math.h"

namespace zen::ZEN_ISA {

constexpr int kLargestShort = 32767;
constexpr int kLargestSum = 2147483647;

constexpr int num_pairs(int depth) { return (depth + 1) / 2; }

// A number that the compiler knows.
template <int kValue>
struct Fixed {
  constexpr operator int() const { return kValue; }
};

// Calls body(width): in loops of their own for the widths that most heads have, whose rows are so
// short that to go through one of unknown width takes longer than what is done with it.
template <typename Body>
inline void with_head_width(int width, Body body) {
  if (width == 32) return body(Fixed<32>{});
  if (width == 64) return body(Fixed<64>{});
  body(width);
}

// x ~ step * short; short = x * inverse, rounded.
struct ShortGrid {
  float step, inverse;
};

// The grid on which the largest of some rows is `largest`. An infinity or a NaN in a row makes the
// step one that is not finite, and so all results.
template <typename Row, typename Width>
inline ShortGrid short_grid(Row row_at, int num_rows, Width width, int largest) {
  constexpr float kSmallestRange = 1e-30f;  // rows that span less are zeros
  Magnitudes magnitudes = Magnitudes::zero();
  for (int r = 0; r < num_rows; ++r) {
    const float* row = row_at(r);
    for_each_vector(width, [&](int column, int lanes) {
      magnitudes = larger_of(magnitudes, load_lanes(row + column, lanes));
    });
  }
  const float range = largest_of(magnitudes);
  const bool usable = range > kSmallestRange && range <= __FLT_MAX__;
  return {range / static_cast<float>(largest), usable ? static_cast<float>(largest) / range : 0.0f};
}

// out (num_pairs(width)): a row times `inverse`, as shorts; one more, a zero, where width is odd.
// It may be the row itself: what is read is ahead of what is written.
template <typename Width>
inline void write_shorts(const float* row, Width width, Vec inverse, float* out) {
  int16_t* shorts = reinterpret_cast<int16_t*>(out);
  int first = 0;
  for (; first + 2 * Vec::kLanes <= width; first += 2 * Vec::kLanes) {
    const Vec next = Vec::load(row + first + Vec::kLanes);
    store_shorts(Vec::load(row + first) * inverse, next * inverse, shorts + first);
  }
  for_each_vector(width - first, [&](int column, int lanes) {
    store_shorts(load_lanes(row + first + column, lanes) * inverse, shorts + first + column, lanes);
  });
  if (width % 2 != 0) std::memset(shorts + width, 0, sizeof *shorts);
}

// Packs rows (length, width), read as their transpose, for short_gemm: two rows make one step.
template <typename Row, typename Width>
inline void pack_transposed_shorts(Row row_at, int length, Width width, float inverse,
                                   float* packed) {
  const Vec factor = Vec::broadcast(inverse);
  for (int column = 0; column < width; column += kPanelWidth) {
    const int columns = smaller(kPanelWidth, width - column);
    for (int row = 0; row < length; row += 2, packed += kPanelWidth) {
      const float* low = row_at(row) + column;
      const float* high = row + 1 < length ? row_at(row + 1) + column : nullptr;
      for_each_vector(columns, [&](int c, int lanes) {
        const Vec next = high != nullptr ? load_lanes(high + c, lanes) * factor : Vec::zero();
        store_lanes(short_pairs(load_lanes(low + c, lanes) * factor, next), packed + c, lanes);
      });
      for (int c = columns; c < kPanelWidth; ++c) packed[c] = 0.0f;
    }
  }
}

struct ShortTile {
  // c[0:kRows, 0:kPanelWidth] = factors[row] * (a · panel) over `depth` pairs.
  template <int kRows>
  static void multiply(MatrixView a, const float* panel, int depth, const float* factors,
                       MutableMatrixView c) {
    PairSums sums[kRows][kTileVectors];
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) sums[r][v] = PairSums::zero();
    }
    TileRows<float, kRows> rows(a.data, a.ld);
#pragma GCC unroll 1  // more and gcc keeps sums on the stack
    for (int i = 0; i < depth; ++i) {
      Vec b[kTileVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) b[v] = Vec::load(panel + v * Vec::kLanes);
      panel += kPanelWidth;
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) {
        const Vec x = Vec::broadcast(*rows.at(r));
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) {
          sums[r][v] = add_products(sums[r][v], x, b[v]);
          stay_in_register(sums[r][v]);
        }
      }
      rows.advance(1);
    }
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const Vec factor = Vec::broadcast(factors[r]);
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) {
        (to_floats(sums[r][v]) * factor).store(c.row(r) + v * Vec::kLanes);
      }
    }
  }
};

// c = factors[row] * (a · B) over `depth` pairs; no sum of products may exceed kLargestSum.
inline void short_gemm(MatrixView a, int m, int depth, const float* packed, ptrdiff_t panel_stride,
                       const float* factors, MutableMatrixView c, int n, int first_panel,
                       int last_panel) {
  for (int p = first_panel; p < last_panel; ++p) {
    const float* panel = packed + p * panel_stride;
    const int column = p * kPanelWidth, columns = smaller(kPanelWidth, n - column);
    for (int row = 0; row < m; row += kTileRows) {
      const int rows = smaller(kTileRows, m - row);
      const auto multiply = tile_of<ShortTile, kTileRows>(rows);
      const MatrixView a_tile{a.row(row), a.ld};
      const MutableMatrixView c_tile{c.row(row) + column, c.ld};
      if (columns == kPanelWidth) {
        multiply(a_tile, panel, depth, factors + row, c_tile);
        continue;
      }
      alignas(64) float tile[kTileRows * kPanelWidth];
      multiply(a_tile, panel, depth, factors + row, {tile, kPanelWidth});
      copy_tile({tile, kPanelWidth}, c_tile, rows, columns);
    }
  }
}

}  // namespace zen::ZEN_ISA
