// fp32 matrix product with a fused epilogue: c = activation(a · Bᵀ + bias) + residual.
//
// B is packed once into panels of kPanelWidth of its rows, k-major, so that the inner loop streams
// it. A is read in place: one broadcast per row and step. Blocks of kDepthBlock continue one sum
// through C, so an element's additions come in the same order whatever tile or thread it falls to.
#pragma once

#include "activations.h"
#include "kernels.h"
#include "tiles.h"
#include "vec_math.h"

namespace zen::ZEN_ISA {

// The accumulators of a tile stay in registers. AVX2: 6 x 2 of 16 registers, leaving 2 for B and 1
// for the broadcast; 12 independent chains cover 4 cycles of latency at 2 FMA a cycle. AVX-512: 12
// x 2 of 32.
constexpr int kTileVectors = Vec::kLanes == 1 ? 4 : 2;
constexpr int kTileRows = Vec::kLanes == 1 ? 4 : Vec::kLanes == 8 ? 6 : 12;
constexpr int kPanelWidth = kTileVectors * Vec::kLanes;

// A panel of this depth (24 KiB with AVX2) stays in a 32 KiB L1 while the rows of A pass by.
constexpr int kDepthBlock = 384;

inline size_t packed_size(int n, int k) {
  const size_t num_panels = static_cast<size_t>((n + kPanelWidth - 1) / kPanelWidth);
  return num_panels * kPanelWidth * static_cast<size_t>(k);
}

// packed[i * kPanelWidth + r] = row_at(r)[i] for kSquare rows.
template <typename Row>
inline void pack_square_rows(Row row_at, int k, float* packed) {
  const float* rows[kSquare];
  for (int r = 0; r < kSquare; ++r) rows[r] = row_at(r);
  int i = 0;
  for (; i + kSquare <= k; i += kSquare, packed += kSquare * kPanelWidth) {
    transpose_square(rows, packed, kPanelWidth);
    for (int r = 0; r < kSquare; ++r) rows[r] += kSquare;
  }
  for (int r = 0; r < kSquare; ++r) {
    for (int rest = 0; i + rest < k; ++rest) packed[rest * kPanelWidth + r] = rows[r][rest];
  }
}

// row_at(i) points at row i of B.
template <typename Row>
inline void pack_rows(Row row_at, int n, int k, float* packed) {
  for (int first = 0; first < n; first += kPanelWidth, packed += ptrdiff_t{kPanelWidth} * k) {
    const int rows = smaller(kPanelWidth, n - first);
    int row = 0;
    for (; row + kSquare <= rows; row += kSquare) {
      pack_square_rows([&](int r) { return row_at(first + row + r); }, k, packed + row);
    }
    for (; row < kPanelWidth; ++row) {
      const float* source = row < rows ? row_at(first + row) : nullptr;
      for (int i = 0; i < k; ++i) {
        packed[ptrdiff_t{i} * kPanelWidth + row] = source != nullptr ? source[i] : 0.0f;
      }
    }
  }
}

inline void pack_gemm(MatrixView b, int n, int k, float* packed) {
  pack_rows([&](int row) { return b.row(row); }, n, k, packed);
}

inline void prefetch_panel_row(const float* row) {
#pragma GCC unroll 4
  for (int v = 0; v < kTileVectors; ++v) __builtin_prefetch(row + v * Vec::kLanes);
}

struct FloatTile {
  // c[0:kRows, 0:kPanelWidth] = (accumulate ? c : bias) + a · panel over `depth` steps.
  template <int kRows>
  static void multiply(MatrixView a, const float* panel, int depth, const float* bias,
                       bool accumulate, MutableMatrixView c) {
    Vec sum[kRows][kTileVectors];
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) {
        const int column = v * Vec::kLanes;
        if (accumulate) {
          sum[r][v] = Vec::load(c.row(r) + column);
        } else {
          sum[r][v] = bias != nullptr ? Vec::load(bias + column) : Vec::zero();
        }
      }
    }
    TileRows<float, kRows> rows(a.data, a.ld);
#pragma GCC unroll 4
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
          sum[r][v] = fma(x, b[v], sum[r][v]);
          stay_in_register(sum[r][v]);
        }
      }
      rows.advance(1);
    }
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) sum[r][v].store(c.row(r) + v * Vec::kLanes);
    }
  }
};

template <typename Activate>
inline void finish_row(float* c, int columns, Activate activate, const float* residual) {
  for_each_vector(columns, [&](int column, int lanes) {
    Vec x = activate(load_lanes(c + column, lanes));
    if (residual != nullptr) x = x + load_lanes(residual + column, lanes);
    store_lanes(x, c + column, lanes);
  });
}

// Applies activation and residual to a finished tile while it is in L1.
inline void finish_tile(MutableMatrixView c, int rows, int columns, Activation activation,
                        MatrixView residual) {
  constexpr int kRowsAhead = 12;  // a tile or more
  with_activation(activation, [&](auto activate) {
    for (int r = 0; r < rows; ++r) {
      const float* added = residual.data != nullptr ? residual.row(r) : nullptr;
      if (columns < kPanelWidth) {
        finish_row(c.row(r), columns, activate, added);
        continue;
      }
      // Last read before the ops in between: it lies in the far half of L2, or behind it.
      if (added != nullptr) prefetch_panel_row(residual.row(r + kRowsAhead));
      finish_row(c.row(r), kPanelWidth, activate, added);
    }
  });
}

inline void copy_tile(MatrixView from, MutableMatrixView to, int rows, int columns) {
  for (int r = 0; r < rows; ++r) {
    for (int column = 0; column < columns; ++column) to.row(r)[column] = from.row(r)[column];
  }
}

// The last panel of a matrix whose width is no multiple of kPanelWidth goes through a full tile.
inline void multiply_partial_tile(MatrixView a, int rows, const float* panel, int depth,
                                  const float* bias, bool accumulate, MutableMatrixView c,
                                  int columns) {
  alignas(64) float tile[kTileRows * kPanelWidth] = {};
  const MutableMatrixView tile_view{tile, kPanelWidth};
  if (accumulate) {
    copy_tile({c.data, c.ld}, tile_view, rows, columns);
  } else if (bias != nullptr) {
    copy_tile({bias, 0}, tile_view, rows, columns);
  }
  tile_of<FloatTile, kTileRows>(rows)(a, panel, depth, nullptr, true, tile_view);
  copy_tile({tile, kPanelWidth}, c, rows, columns);
}

inline void gemm(const GemmArgs& args, int first_panel, int last_panel) {
  const int num_blocks = larger(1, (args.k + kDepthBlock - 1) / kDepthBlock);
  const int block_depth = (args.k + num_blocks - 1) / num_blocks;
  const bool has_epilogue = args.activation != Activation::kNone || args.residual.data != nullptr;
  // Depth outermost: a block of A's columns (tokens x kDepthBlock) stays in L2 for all panels.
  for (int block = 0; block < num_blocks; ++block) {
    const int start = block * block_depth;
    const int depth = smaller(block_depth, args.k - start);
    for (int p = first_panel; p < last_panel; ++p) {
      const float* panel = args.packed + p * args.panel_stride + ptrdiff_t{start} * kPanelWidth;
      const int column = p * kPanelWidth;
      const int columns = smaller(kPanelWidth, args.n - column);
      const float* bias = args.bias != nullptr ? args.bias + column : nullptr;
      for (int row = 0; row < args.m; row += kTileRows) {
        const int rows = smaller(kTileRows, args.m - row);
        const MatrixView a{args.a.row(row) + start, args.a.ld};
        const MutableMatrixView c{args.c.row(row) + column, args.c.ld};
        if (columns == kPanelWidth) {
          tile_of<FloatTile, kTileRows>(rows)(a, panel, depth, bias, block > 0, c);
        } else {
          multiply_partial_tile(a, rows, panel, depth, bias, block > 0, c, columns);
        }
        if (has_epilogue && block == num_blocks - 1) {
          MatrixView residual = args.residual;
          if (residual.data != nullptr) residual.data = residual.row(row) + column;
          finish_tile(c, rows, columns, args.activation, residual);
        }
      }
    }
  }
}

}  // namespace zen::ZEN_ISA
