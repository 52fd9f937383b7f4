// 8-bit tile, one product at a time: the oracle.
#pragma once

#include "quantized_panel.h"
#include "tiles.h"

namespace zen::scalar {

constexpr int kQuantizedPanelWidth = 4;
constexpr int kQuantizedTileRows = 1;

using Header = PanelHeader<kQuantizedPanelWidth>;
constexpr int kStepSize = kQuantizedPanelWidth * kStepBytes;

inline size_t quantized_panel_bound(int k) { return plain_panel_size<kQuantizedPanelWidth>(k); }

inline size_t pack_quantized_panel(const QuantizedMatrix& b, const float* bias, int panel,
                                   uint8_t* out) {
  return pack_plain_panel<kQuantizedPanelWidth>(b, bias, panel, out);
}

inline int prefetch_shares(int /*k*/) { return 1; }

struct QuantizedTile {
  template <int kRows>
  static void multiply(MatrixView a, const uint8_t* panel, int k, Prefetch& next_panel,
                       MutableMatrixView c) {
    next_panel.share();
    const Header& header = *reinterpret_cast<const Header*>(panel);
    const int8_t* values = reinterpret_cast<const int8_t*>(panel + sizeof(Header));
    for (int r = 0; r < kRows; ++r) {
      const QuantizedRow row = quantized_row(a, r, k);
      for (int column = 0; column < kQuantizedPanelWidth; ++column) {
        int32_t sum = -static_cast<int32_t>(row.zero) * static_cast<int32_t>(header.sums[column]);
        for (int i = 0; i < k; ++i) {
          const int place = i / kStepBytes * kStepSize + column * kStepBytes + i % kStepBytes;
          sum += row.values[i] * values[place];
        }
        const float scale = row.step * header.scales[column];
        c.row(r)[column] = static_cast<float>(sum) * scale + header.biases[column];
      }
    }
  }
};

}  // namespace zen::scalar
