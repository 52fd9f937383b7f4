// What the packed panels of every instruction set have in common.
#pragma once

#include <cstring>
#include <new>

#include "kernels.h"

namespace zen::ZEN_ISA {

// Activations that one 32-bit broadcast carries: a step of the inner loop.
constexpr int kStepBytes = 4;

inline int num_steps(int k) { return quantized_row_bytes(k) / kStepBytes; }

struct QuantizedRow {
  const uint8_t* values;
  float step, zero;
};

inline QuantizedRow quantized_row(MatrixView a, int row, int k) {
  const float* data = a.row(row);
  const float* scaling = data + quantized_row_bytes(k) / 4;
  return {reinterpret_cast<const uint8_t*>(data), scaling[0], scaling[1]};
}

template <int kWidth>
struct alignas(64) PanelHeader {
  float scales[kWidth];
  float biases[kWidth];
  float sums[kWidth];  // of a row's values: what the activations' zero point has to take back

  PanelHeader(const QuantizedMatrix& b, const float* bias, int panel) {
    for (int column = 0; column < kWidth; ++column) {
      const int row = panel * kWidth + column;
      scales[column] = row < b.n ? b.scales[row] : 0.0f;
      biases[column] = row < b.n && bias != nullptr ? bias[row] : 0.0f;
      int sum = 0;
      for (int i = 0; row < b.n && i < b.k; ++i) sum += b.values[ptrdiff_t{row} * b.k + i];
      sums[column] = static_cast<float>(sum);
    }
  }
};

// Writes a vector of sums of quantized values, each `value - midpoint`, as the numbers they stand
// for.
template <int kWidth>
inline void store_dequantized(Vec sums, float midpoint, const QuantizedRow& row,
                              const PanelHeader<kWidth>& header, int column, float* out) {
  const Vec shift = Vec::broadcast(midpoint - row.zero);
  const Vec shifted = fma(shift, Vec::load(header.sums + column), sums);
  const Vec scale = Vec::broadcast(row.step) * Vec::load(header.scales + column);
  fma(shifted, scale, Vec::load(header.biases + column)).store(out + column);
}

// Writes the values of one step, a column's four beside the next column's, zeros in the padding.
template <int kWidth>
inline void pack_step(const QuantizedMatrix& b, int panel, int step, int8_t* out) {
  const int first = step * kStepBytes, count = b.k - first;
  for (int column = 0; column < kWidth; ++column, out += kStepBytes) {
    const int row = panel * kWidth + column;
    const int8_t* values = b.values + ptrdiff_t{row} * b.k + first;
    if (row < b.n && count >= kStepBytes) {
      std::memcpy(out, values, kStepBytes);
    } else {
      for (int i = 0; i < kStepBytes; ++i) out[i] = row < b.n && i < count ? values[i] : int8_t{0};
    }
  }
}

// A panel whose steps simply follow each other: what an instruction set without overflow needs.
template <int kWidth>
inline size_t plain_panel_size(int k) {
  const size_t values = static_cast<size_t>(num_steps(k)) * kWidth * kStepBytes;
  return (sizeof(PanelHeader<kWidth>) + values + 63) / 64 * 64;
}

template <int kWidth>
inline size_t pack_plain_panel(const QuantizedMatrix& b, const float* bias, int panel,
                               uint8_t* out) {
  new (out) PanelHeader<kWidth>(b, bias, panel);
  int8_t* values = reinterpret_cast<int8_t*>(out + sizeof(PanelHeader<kWidth>));
  for (int step = 0; step < num_steps(b.k); ++step, values += kWidth * kStepBytes) {
    pack_step<kWidth>(b, panel, step, values);
  }
  return plain_panel_size<kWidth>(b.k);
}

}  // namespace zen::ZEN_ISA
