// Sixteen fp32 lanes: AVX-512 (F, BW, DQ, VL, VNNI).
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

// Numbers of 32 bits, rounded, to shorts: those beyond to the nearest that there is.
inline void store_shorts(Vec x, int16_t* p, int lanes) {
  const __m256i shorts = _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x.v));
  _mm256_mask_storeu_epi16(p, Vec::lane_mask(lanes), shorts);
}
inline void store_shorts(Vec low, Vec high, int16_t* p) {
  const __m512i packed = _mm512_packs_epi32(_mm512_cvtps_epi32(low.v), _mm512_cvtps_epi32(high.v));
  // Packing works in each quarter.
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi64(order, packed));
}
// The same of numbers that shorts hold, two to a lane, whose bits are not a float's.
inline Vec short_pairs(Vec low, Vec high) {
  const __m512i shifted = _mm512_slli_epi32(_mm512_cvtps_epi32(high.v), 16);
  const __m512i pairs = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_cvtps_epi32(low.v), shifted);
  return {_mm512_castsi512_ps(pairs)};
}

struct PairSums {
  __m512i v;
  static PairSums zero() { return {_mm512_setzero_si512()}; }
};
inline void stay_in_register(PairSums& x) { asm("" : "+v"(x.v)); }
// Both products of each lane's shorts are added to its sum.
inline PairSums add_products(PairSums sums, Vec a, Vec b) {
  return {_mm512_dpwssd_epi32(sums.v, _mm512_castps_si512(a.v), _mm512_castps_si512(b.v))};
}
inline Vec to_floats(PairSums x) { return {_mm512_cvtepi32_ps(x.v)}; }

// The largest magnitude seen in each lane, as the bits of a float: as whole numbers these are in
// order, with infinity and then NaN at the end.
struct Magnitudes {
  __m512i v;
  static Magnitudes zero() { return {_mm512_setzero_si512()}; }
};
inline Magnitudes larger_of(Magnitudes seen, Vec x) {
  const __m512i bits = _mm512_castps_si512(_mm512_abs_ps(x.v));
  return {_mm512_max_epi32(seen.v, bits)};
}
inline float largest_of(Magnitudes x) {
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(x.v))));
}

}  // namespace zen::avx512_vnni
