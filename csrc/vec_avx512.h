// Sixteen fp32 lanes: AVX-512 (F, BW, DQ, VL).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace zen::avx512_vnni {

struct Vec {
  static constexpr int kLanes = 16;
  __m512 v;

  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load_partial(const float* p, int n) {
    return {_mm512_maskz_loadu_ps(lane_mask(n), p)};
  }
  static Vec load_partial(const float* p, int n, Vec rest) {
    return {_mm512_mask_loadu_ps(rest.v, lane_mask(n), p)};
  }
  static Vec load_half(const uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static Vec load_half_partial(const uint16_t* p, int n) {
    return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lane_mask(n), p))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_partial(float* p, int n) const { _mm512_mask_storeu_ps(p, lane_mask(n), v); }

  // Of the first n lanes, 0 <= n <= kLanes.
  static __mmask16 lane_mask(int n) { return static_cast<__mmask16>((1u << n) - 1); }
};

// Or gcc copies a loop's sums from one register to another, and to the stack.
inline void stay_in_register(Vec& x) { asm("" : "+v"(x.v)); }
inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
// a / b for a normal b, to 2 units in the last place, in less than half of a division's time.
inline Vec quotient(Vec a, Vec b) {
  const __m512 guess = _mm512_rcp14_ps(b.v);  // then one step of Newton's method
  const __m512 error = _mm512_fnmadd_ps(b.v, guess, _mm512_set1_ps(1.0f));
  return {_mm512_mul_ps(a.v, _mm512_fmadd_ps(guess, error, guess))};
}
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// max(bound, x) and min(bound, x) return x where x is NaN: the instruction yields its second
// operand.
inline Vec max(Vec bound, Vec x) { return {_mm512_max_ps(bound.v, x.v)}; }
inline Vec min(Vec bound, Vec x) { return {_mm512_min_ps(bound.v, x.v)}; }
inline Vec round(Vec x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// x * 2^n for a whole number n in [-126, 127].
inline Vec scale_by_power_of_two(Vec x, Vec n) { return {_mm512_scalef_ps(x.v, n.v)}; }
inline float reduce_add(Vec x) { return _mm512_reduce_add_ps(x.v); }
inline float reduce_max(Vec x) { return _mm512_reduce_max_ps(x.v); }

// Numbers, rounded, to bytes: those outside [0, 255] to the nearer bound, NaN to 0.
constexpr int kByteVectors = 4;
inline void store_bytes(const Vec (&x)[kByteVectors], uint8_t* p) {
  const auto shorts = [&x](int low, int high) {
    return _mm512_packs_epi32(_mm512_cvtps_epi32(x[low].v), _mm512_cvtps_epi32(x[high].v));
  };
  // Packing works in each quarter: four bytes of every vector, then the next four of each.
  const __m512i mixed = _mm512_packus_epi16(shorts(0, 1), shorts(2, 3));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, mixed));
}

}  // namespace zen::avx512_vnni
