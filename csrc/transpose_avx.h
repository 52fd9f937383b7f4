// Turning squares of a matrix in registers, for every instruction set that has AVX's shuffles.
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace zen::ZEN_ISA {

constexpr int kSquare = 8;

// out[column * stride + row] = rows[row][column] for a square of floats.
inline void transpose_square(const float* const* rows, float* out, ptrdiff_t stride) {
  // Each holds four floats of two rows, whose halves then go to different outputs.
  const auto load = [rows](int low_row, int column) {
    const __m256 low = _mm256_castps128_ps256(_mm_loadu_ps(rows[low_row] + column));
    return _mm256_insertf128_ps(low, _mm_loadu_ps(rows[low_row + 4] + column), 1);
  };
  for (int column = 0; column < kSquare; column += 4) {
    const __m256 a = load(0, column), b = load(1, column);
    const __m256 c = load(2, column), d = load(3, column);
    const __m256 ab_low = _mm256_unpacklo_ps(a, b), ab_high = _mm256_unpackhi_ps(a, b);
    const __m256 cd_low = _mm256_unpacklo_ps(c, d), cd_high = _mm256_unpackhi_ps(c, d);
    float* next = out + column * stride;
    _mm256_storeu_ps(next, _mm256_shuffle_ps(ab_low, cd_low, 0x44));
    _mm256_storeu_ps(next + stride, _mm256_shuffle_ps(ab_low, cd_low, 0xee));
    _mm256_storeu_ps(next + 2 * stride, _mm256_shuffle_ps(ab_high, cd_high, 0x44));
    _mm256_storeu_ps(next + 3 * stride, _mm256_shuffle_ps(ab_high, cd_high, 0xee));
  }
}

}  // namespace zen::ZEN_ISA
