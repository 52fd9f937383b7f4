// 8-bit matrix product with a fused epilogue: c = activation(step * scale * (a · Bᵀ) + bias) +
// residual, where each row of `a` has its own step and zero and each row of B its own scale.
//
// The inner loop is the instruction set's own: quantized_tile_<isa>.h packs the panels and
// multiplies a tile, and leaves exact integer sums, converted to fp32, in C.
#pragma once

#include "gemm.h"
#include "kernels.h"
#include "vec_math.h"

namespace zen::ZEN_ISA {

constexpr int kMaxQuantized = 255;

// Rows that span less are all zeros: 255 over the span would be infinite.
constexpr float kSmallestRange = 1e-36f, kLargestRange = 3e38f;

// Every row's range includes 0, so that its zero point is one of the 256 values. A row with an
// infinity or a NaN gets a step that is not finite, and so do all results made from it.
inline void quantize_rows(MatrixView x, const float* input_scales, MutableMatrixView out, int width,
                          int first, int last) {
  const auto load_scaled = [&](const float* row, int column, int lanes) {
    const Vec values = load_lanes(row + column, lanes);
    return input_scales == nullptr ? values : values * load_lanes(input_scales + column, lanes);
  };
  for (int row = first; row < last; ++row) {
    const float* x_row = x.row(row);
    Vec low = Vec::zero(), high = Vec::zero(), poison = Vec::zero();
    for_each_vector(width, [&](int column, int lanes) {
      const Vec values = load_scaled(x_row, column, lanes);
      low = min(low, values);
      high = max(high, values);
      poison = fma(values, Vec::zero(), poison);  // 0, or NaN where a value is not finite
    });
    const float smallest = -reduce_max(Vec::zero() - low);
    const float range = reduce_max(high) - smallest;
    const bool usable = range > kSmallestRange && range < kLargestRange;  // neither with a NaN
    const float inverse = usable ? kMaxQuantized / range : 0.0f;
    const int zero_point = usable ? static_cast<int>(0.5f - smallest * inverse) : 0;
    const float zero = static_cast<float>(zero_point);
    uint8_t* values_out = reinterpret_cast<uint8_t*>(out.row(row));
    for_each_vector(width, [&](int column, int lanes) {
      const Vec scaled = load_scaled(x_row, column, lanes) * Vec::broadcast(inverse);
      store_bytes(round(scaled) + Vec::broadcast(zero), values_out + column, lanes);
    });
    const int padded = quantized_row_bytes(width);
    for (int column = width; column < padded; ++column) values_out[column] = 0;
    float* scaling = out.row(row) + padded / 4;
    const bool too_wide = range >= kLargestRange;
    scaling[0] = (too_wide ? range * kMaxQuantized : range / kMaxQuantized) + reduce_add(poison);
    scaling[1] = zero;
  }
}

inline void quantized_gemm(const QuantizedGemmArgs& args, int first_panel, int last_panel) {
  const bool has_epilogue = args.activation != Activation::kNone || args.residual.data != nullptr;
  for (int p = first_panel; p < last_panel; ++p) {
    const uint8_t* panel = args.packed + args.panel_starts[p];
    const int column = p * kQuantizedPanelWidth;
    const int columns = smaller(kQuantizedPanelWidth, args.n - column);
    for (int row = 0; row < args.m; row += kQuantizedTileRows) {
      const int num_rows = smaller(kQuantizedTileRows, args.m - row);
      const MatrixView a{args.a.row(row), args.a.ld};
      const MutableMatrixView c{args.c.row(row) + column, args.c.ld};
      if (columns == kQuantizedPanelWidth) {
        tile_of<QuantizedTile, kQuantizedTileRows>(num_rows)(a, panel, args.k, c);
      } else {
        float tile[kQuantizedTileRows * kQuantizedPanelWidth];
        const MutableMatrixView whole{tile, kQuantizedPanelWidth};
        tile_of<QuantizedTile, kQuantizedTileRows>(num_rows)(a, panel, args.k, whole);
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
