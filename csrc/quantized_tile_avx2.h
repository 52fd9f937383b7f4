// 8-bit tile for AVX2: sums in 16 bits as deep as the weights allow without overflow.
//
// vpmaddubsw multiplies unsigned activations with signed weights and adds pairs into 16 bits; to
// widen each of its results costs as much again, so several are added in 16 bits first. Added to
// -128 times its weights, a group's sum is that of (activation - 128) * weight, and stays within 16
// bits if the weights' absolute values add up to 255 at most, whatever the activations are. The
// packer proves this for each group and takes the deepest that holds, mostly 4 to 6 steps. Weights
// within +-63 let two steps pass always, and no pair saturates: 255 * (63 + 63) < 32768.
#pragma once

#include <immintrin.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "quantized_panel.h"
#include "tiles.h"
#include "vec_math.h"

namespace zen::avx2 {

constexpr int kVectorColumns = 8;
constexpr int kQuantizedTileVectors = 2;
constexpr int kQuantizedPanelWidth = kVectorColumns * kQuantizedTileVectors;
// 3 x 2 sums of 32 bits, as many of 16, 2 vectors of weights, 1 of activations: 15 of 16 registers.
constexpr int kQuantizedTileRows = 3;

constexpr int kMidpoint = 128;
constexpr int kMaxGroupWeight = 32767 / kMidpoint;

// Depths of a group in steps.
constexpr int kNumDepths = 7;
constexpr int kGroupDepths[kNumDepths] = {8, 6, 5, 4, 3, 2, 1};
// Two steps are always safe; only a panel's last group may have fewer.
inline int most_groups(int k) { return (num_steps(k) + 1) / 2; }

constexpr int kVectorBytes = 32;
constexpr int kStepSize = kQuantizedTileVectors * kVectorBytes;

// Then follow the groups, the deepest first: where each begins in a row of activations, and for
// each its 16-bit offsets and its steps' values.
struct Header : PanelHeader<kQuantizedPanelWidth> {
  using PanelHeader::PanelHeader;
  int32_t num_groups[kNumDepths] = {};
};

inline size_t places_size(int num_groups) {
  return (static_cast<size_t>(num_groups) * sizeof(int32_t) + 63) / 64 * 64;
}

// Also room, behind the longest panel, for the packer's list of groups.
inline size_t quantized_panel_bound(int k) {
  return sizeof(Header) + 2 * places_size(most_groups(k)) +
         static_cast<size_t>(most_groups(k) + num_steps(k)) * kStepSize;
}

// The deepest group that may begin at `step`.
inline int deepest_safe(const QuantizedMatrix& b, int panel, int step) {
  constexpr int kLanes = kStepSize / 2;
  const int most = smaller(kGroupDepths[0], num_steps(b.k) - step);
  int weight[kLanes] = {}, safe = 0;
  for (bool fits = true; safe < most; ++safe) {
    int8_t values[kStepSize];
    pack_step<kQuantizedPanelWidth>(b, panel, step + safe, values);
    for (int lane = 0; lane < kLanes; ++lane) {
      weight[lane] += std::abs(values[2 * lane]) + std::abs(values[2 * lane + 1]);
      fits &= weight[lane] <= kMaxGroupWeight;
    }
    if (!fits) break;
  }
  int choice = 0;
  while (kGroupDepths[choice] > safe) ++choice;
  return choice;
}

// Writes a group's offsets and values; returns where the next one goes.
inline uint8_t* pack_group(const QuantizedMatrix& b, int panel, int first_step, int depth,
                           uint8_t* out) {
  int8_t* values = reinterpret_cast<int8_t*>(out + kStepSize);
  for (int i = 0; i < depth; ++i) {
    pack_step<kQuantizedPanelWidth>(b, panel, first_step + i, values + i * kStepSize);
  }
  for (int lane = 0; lane < kStepSize / 2; ++lane) {
    int sum = 0;
    for (int i = 0; i < depth; ++i) {
      sum += values[i * kStepSize + 2 * lane] + values[i * kStepSize + 2 * lane + 1];
    }
    const int16_t offset = static_cast<int16_t>(-kMidpoint * sum);
    std::memcpy(out + lane * sizeof offset, &offset, sizeof offset);
  }
  return out + (depth + 1) * kStepSize;
}

inline size_t pack_quantized_panel(const QuantizedMatrix& b, const float* bias, int panel,
                                   uint8_t* out) {
  Header& header = *new (out) Header(b, bias, panel);
  uint8_t* choices = out + quantized_panel_bound(b.k) - places_size(most_groups(b.k));
  int total = 0;
  for (int step = 0; step < num_steps(b.k); ++total) {
    const int choice = deepest_safe(b, panel, step);
    choices[total] = static_cast<uint8_t>(choice);
    ++header.num_groups[choice];
    step += kGroupDepths[choice];
  }
  int32_t* places = reinterpret_cast<int32_t*>(out + sizeof(Header));
  uint8_t* next = out + sizeof(Header) + places_size(total);
  for (int choice = 0; choice < kNumDepths; ++choice) {
    for (int group = 0, step = 0; group < total; step += kGroupDepths[choices[group++]]) {
      if (choices[group] != choice) continue;
      *places++ = step * kStepBytes;
      next = pack_group(b, panel, step, kGroupDepths[choice], next);
    }
  }
  return static_cast<size_t>(next - out);
}

inline __m256i load_vector(const uint8_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

inline __m256i broadcast_step(const uint8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof four);
  return _mm256_set1_epi32(four);
}

template <int kRows>
using TileSums = __m256i[kRows][kQuantizedTileVectors];

// Adds the groups of one depth; returns where the next depth's begin.
template <int kDepth, int kRows>
[[gnu::always_inline]] inline const uint8_t* add_groups(const QuantizedRow* rows,
                                                        const int32_t* places, int count,
                                                        const uint8_t* group,
                                                        TileSums<kRows>& sums) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int g = 0; g < count; ++g) {
    const ptrdiff_t place = places[g];
    __m256i offsets[kQuantizedTileVectors];
    for (int v = 0; v < kQuantizedTileVectors; ++v) {
      offsets[v] = load_vector(group + v * kVectorBytes);
    }
    group += kStepSize;
    __m256i partial[kRows][kQuantizedTileVectors];
#pragma GCC unroll 8
    for (int step = 0; step < kDepth; ++step) {
      __m256i weights[kQuantizedTileVectors];
      for (int v = 0; v < kQuantizedTileVectors; ++v) {
        weights[v] = load_vector(group + v * kVectorBytes);
      }
      group += kStepSize;
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m256i x = broadcast_step(rows[r].values + place + step * kStepBytes);
#pragma GCC unroll 2
        for (int v = 0; v < kQuantizedTileVectors; ++v) {
          const __m256i pairs = _mm256_maddubs_epi16(x, weights[v]);
          partial[r][v] = _mm256_add_epi16(step == 0 ? offsets[v] : partial[r][v], pairs);
          // Integer sums may be reassociated, and gcc then runs out of registers.
          asm("" : "+x"(partial[r][v]));
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kQuantizedTileVectors; ++v) {
        sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(partial[r][v], ones));
      }
    }
  }
  return group;
}

template <int kRows, size_t... kChoices>
[[gnu::always_inline]] inline void add_all_groups(const QuantizedRow* rows, const uint8_t* panel,
                                                  TileSums<kRows>& sums,
                                                  std::index_sequence<kChoices...>) {
  const Header& header = *reinterpret_cast<const Header*>(panel);
  const int32_t* places = reinterpret_cast<const int32_t*>(panel + sizeof(Header));
  const int total = (header.num_groups[kChoices] + ...);
  const uint8_t* groups = panel + sizeof(Header) + places_size(total);
  ((groups = add_groups<kGroupDepths[kChoices], kRows>(rows, places, header.num_groups[kChoices],
                                                       groups, sums),
    places += header.num_groups[kChoices]),
   ...);
}

inline int prefetch_shares(int /*k*/) { return 1; }

struct QuantizedTile {
  template <int kRows>
  static void multiply(MatrixView a, const uint8_t* panel, int k, Prefetch& next_panel,
                       MutableMatrixView c) {
    next_panel.share();
    QuantizedRow rows[kRows];
    for (int r = 0; r < kRows; ++r) rows[r] = quantized_row(a, r, k);
    TileSums<kRows> sums;
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kQuantizedTileVectors; ++v) sums[r][v] = _mm256_setzero_si256();
    }
    add_all_groups<kRows>(rows, panel, sums, std::make_index_sequence<kNumDepths>());

    const Header& header = *reinterpret_cast<const Header*>(panel);
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kQuantizedTileVectors; ++v) {
        store_dequantized({_mm256_cvtepi32_ps(sums[r][v])}, kMidpoint, rows[r], header,
                          v * kVectorColumns, c.row(r));
      }
    }
  }
};

}  // namespace zen::avx2
