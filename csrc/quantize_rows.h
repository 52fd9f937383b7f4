// Rows of fp32 activations to 8 bits, each row by itself.
#pragma once

#include "kernels.h"
#include "vec_math.h"

namespace zen::ZEN_ISA {

constexpr int kMaxQuantized = 255;

// Rows that span less are all zeros: 255 over the span would be infinite.
constexpr float kSmallestRange = 1e-36f, kLargestRange = 3e38f;

// A row times its input's scales (or null).
struct ScaledRow {
  const float* values;
  const float* scales;

  Vec load(int column, int lanes) const {
    const Vec x = load_lanes(values + column, lanes);
    return scales == nullptr ? x : x * load_lanes(scales + column, lanes);
  }
};

// x ~ step * (value - zero); value = x * inverse + zero.
struct RowGrid {
  float step, inverse, zero;
};

// What has been seen of a row; two take turns, because one would wait for its own latency.
constexpr int kRangeChains = 2;

struct RowRange {
  Vec low = Vec::zero(), high = Vec::zero();
  Vec poison = Vec::zero();  // 0, or NaN where a value is not finite

  void take(Vec values) {
    stay_in_register(values);  // or gcc loads them three times
    low = min(low, values);
    high = max(high, values);
    poison = fma(values, Vec::zero(), poison);
  }
};

// The row's range includes 0, so that its zero is one of the 256 values. A row with an infinity or
// a NaN gets a step that is not finite, and so do all results made from it.
inline RowGrid grid_of(ScaledRow row, int width) {
  RowRange chains[kRangeChains];
  int column = 0;
  for (; column + kRangeChains * Vec::kLanes <= width; column += kRangeChains * Vec::kLanes) {
#pragma GCC unroll 2
    for (int i = 0; i < kRangeChains; ++i) {
      chains[i].take(row.load(column + i * Vec::kLanes, Vec::kLanes));
    }
  }
  for_each_vector(width - column,
                  [&](int rest, int lanes) { chains[0].take(row.load(column + rest, lanes)); });
  const Vec low = min(chains[0].low, chains[1].low);
  const Vec high = max(chains[0].high, chains[1].high);
  const Vec poison = chains[0].poison + chains[1].poison;
  const float smallest = -reduce_max(Vec::zero() - low);
  const float range = reduce_max(high) - smallest;
  const bool usable = range > kSmallestRange && range < kLargestRange;  // neither with a NaN
  const float inverse = usable ? kMaxQuantized / range : 0.0f;
  const int zero = usable ? static_cast<int>(0.5f - smallest * inverse) : 0;
  const bool too_wide = range >= kLargestRange;
  const float step = too_wide ? range * kMaxQuantized : range / kMaxQuantized;
  return {step + reduce_add(poison), inverse, static_cast<float>(zero)};
}

inline void write_quantized(ScaledRow row, RowGrid grid, int width, float* out) {
  constexpr int kBlock = kByteVectors * Vec::kLanes;
  const Vec inverse = Vec::broadcast(grid.inverse), zero = Vec::broadcast(grid.zero);
  uint8_t* bytes = reinterpret_cast<uint8_t*>(out);
  int column = 0;
  for (; column + kBlock <= width; column += kBlock) {
    Vec block[kByteVectors];
    for (int v = 0; v < kByteVectors; ++v) {
      block[v] = fma(row.load(column + v * Vec::kLanes, Vec::kLanes), inverse, zero);
    }
    store_bytes(block, bytes + column);
  }
  if (column < width) {
    Vec block[kByteVectors] = {};
    for_each_vector(width - column, [&](int c, int lanes) {
      block[c / Vec::kLanes] = fma(row.load(column + c, lanes), inverse, zero);
    });
    uint8_t rest[kBlock];
    store_bytes(block, rest);
    for (int c = column; c < width; ++c) bytes[c] = rest[c - column];
  }
  const int padded = quantized_row_bytes(width);
  for (int c = width; c < padded; ++c) bytes[c] = 0;
  out[padded / 4] = grid.step;
  out[padded / 4 + 1] = grid.zero;
}

inline void quantize_rows(MatrixView x, const float* input_scales, MutableMatrixView out, int width,
                          int first, int last) {
  for (int begin = first; begin < last; begin += kRowsAtOnce) {
    const int rows = smaller(kRowsAtOnce, last - begin);
    RowGrid grids[kRowsAtOnce];
    for (int r = 0; r < rows; ++r) grids[r] = grid_of({x.row(begin + r), input_scales}, width);
    for (int r = 0; r < rows; ++r) {
      write_quantized({x.row(begin + r), input_scales}, grids[r], width, out.row(begin + r));
    }
  }
}

}  // namespace zen::ZEN_ISA
