// 8-bit matrix product with a fused epilogue: c = activation(step * scale * (a · Bᵀ) + bias) +
// residual, where each row of `a` has its own step and zero and each row of B its own scale.
//
// The inner loop is the instruction set's own: quantized_tile_<isa>.h packs the panels and
// multiplies a tile, and leaves exact integer sums, converted to fp32, in C. Meanwhile it asks
// prefetch_shares(k) times for a share of the next panel.
#pragma once

#include "gemm.h"
#include "kernels.h"
#include "vec_math.h"

namespace zen::ZEN_ISA {

inline void quantized_gemm(const QuantizedGemmArgs& args, int first_panel, int last_panel) {
  const bool has_epilogue = args.activation != Activation::kNone || args.residual.data != nullptr;
  const int num_tiles = (args.m + kQuantizedTileRows - 1) / kQuantizedTileRows;
  for (int p = first_panel; p < last_panel; ++p) {
    const uint8_t* panel = args.packed + args.panel_starts[p];
    const int column = p * kQuantizedPanelWidth;
    const int columns = smaller(kQuantizedPanelWidth, args.n - column);
    // The next panel is about as long as this one.
    const size_t bytes = p + 1 < last_panel ? args.panel_starts[p + 1] - args.panel_starts[p] : 0;
    Prefetch next_panel(panel + bytes, bytes, num_tiles * prefetch_shares(args.k));
    for (int row = 0, num_rows = 0; row < args.m; row += num_rows) {
      num_rows = next_tile_rows(args.m - row, kQuantizedTileRows);
      const MatrixView a{args.a.row(row), args.a.ld};
      const MutableMatrixView c{args.c.row(row) + column, args.c.ld};
      if (columns == kQuantizedPanelWidth) {
        tile_of<QuantizedTile, kQuantizedTileRows>(num_rows)(a, panel, args.k, next_panel, c);
      } else {
        float tile[kQuantizedTileRows * kQuantizedPanelWidth];
        const MutableMatrixView whole{tile, kQuantizedPanelWidth};
        tile_of<QuantizedTile, kQuantizedTileRows>(num_rows)(a, panel, args.k, next_panel, whole);
        copy_tile({tile, kQuantizedPanelWidth}, c, num_rows, columns);
      }
      if (has_epilogue) {
        MatrixView residual = args.residual;
        if (residual.data != nullptr) residual.data = residual.row(row) + column;
        finish_tile(c, num_rows, columns, args.activation, residual);
      }
    }
  }
}

}  // namespace zen::ZEN_ISA
