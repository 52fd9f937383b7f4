// 8-bit tile for AVX512-VNNI: vpdpbusd adds four products into 32 bits at once.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "quantized_panel.h"
#include "tiles.h"

namespace zen::avx512_vnni {

constexpr int kVectorColumns = 16;
constexpr int kQuantizedTileVectors = 2;
constexpr int kQuantizedPanelWidth = kVectorColumns * kQuantizedTileVectors;
// 12 x 2 sums, 2 vectors of weights, 1 of activations: 27 of 32 registers.
constexpr int kQuantizedTileRows = 12;

constexpr int kVectorBytes = 64;
constexpr int kStepSize = kQuantizedTileVectors * kVectorBytes;

// A row has whole multiples of them: see quantized_row_bytes.
constexpr int kUnrolledSteps = 2;

using Header = PanelHeader<kQuantizedPanelWidth>;

inline size_t quantized_panel_bound(int k) { return plain_panel_size<kQuantizedPanelWidth>(k); }

inline size_t pack_quantized_panel(const QuantizedMatrix& b, const float* bias, int panel,
                                   uint8_t* out) {
  return pack_plain_panel<kQuantizedPanelWidth>(b, bias, panel, out);
}

// A share of the next panel is asked for with every cache line of a row of activations.
constexpr int kStepsPerShare = 16;
inline int prefetch_shares(int k) { return (num_steps(k) + kStepsPerShare - 1) / kStepsPerShare; }

struct QuantizedTile {
  template <int kRows>
  static void multiply(MatrixView a, const uint8_t* panel, int k, Prefetch& next_panel,
                       MutableMatrixView c) {
    const Header& header = *reinterpret_cast<const Header*>(panel);
    const uint8_t* values = panel + sizeof(Header);
    __m512i sums[kRows][kQuantizedTileVectors];
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kQuantizedTileVectors; ++v) sums[r][v] = _mm512_setzero_si512();
    }
    TileRows<uint8_t, kRows> rows(reinterpret_cast<const uint8_t*>(a.data),
                                  a.ld * static_cast<ptrdiff_t>(sizeof(float)));
    const int steps = num_steps(k);
    for (int begin = 0; begin < steps; begin += kStepsPerShare) {
      next_panel.share();
      const int end = begin + kStepsPerShare < steps ? begin + kStepsPerShare : steps;
      for (int step = begin; step < end; step += kUnrolledSteps) {
#pragma GCC unroll 2
        for (int i = 0; i < kUnrolledSteps; ++i) {
          __m512i weights[kQuantizedTileVectors];
#pragma GCC unroll 2
          for (int v = 0; v < kQuantizedTileVectors; ++v) {
            weights[v] = _mm512_load_si512(values + v * kVectorBytes);
          }
          values += kStepSize;
#pragma GCC unroll 12
          for (int r = 0; r < kRows; ++r) {
            int32_t four;
            std::memcpy(&four, rows.at(r) + i * kStepBytes, sizeof four);
            const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 2
            for (int v = 0; v < kQuantizedTileVectors; ++v) {
              sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], x, weights[v]);
              // Or gcc copies each sum to another register and to the stack, at half the speed.
              asm("" : "+v"(sums[r][v]));
            }
          }
        }
        rows.advance(kUnrolledSteps * kStepBytes);
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const QuantizedRow row = quantized_row(a, r, k);
#pragma GCC unroll 2
      for (int v = 0; v < kQuantizedTileVectors; ++v) {
        store_dequantized({_mm512_cvtepi32_ps(sums[r][v])}, 0.0f, row, header, v * kVectorColumns,
                          c.row(r));
      }
    }
  }
};

}  // namespace zen::avx512_vnni
