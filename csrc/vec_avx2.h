// Eight fp32 lanes: AVX2 with FMA and F16C.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace zen::avx2 {

struct Vec {
  static constexpr int kLanes = 8;
  __m256 v;

  static Vec zero() { return {_mm256_setzero_ps()}; }
  static Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vec load_partial(const float* p, int n) { return {_mm256_maskload_ps(p, lane_mask(n))}; }
  static Vec load_partial(const float* p, int n, Vec rest) {
    const __m256 mask = _mm256_castsi256_ps(lane_mask(n));
    return {_mm256_blendv_ps(rest.v, load_partial(p, n).v, mask)};
  }
  static Vec load_half(const uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static Vec load_half_partial(const uint16_t* p, int n) {
    alignas(16) uint16_t halves[kLanes] = {};
    for (int lane = 0; lane < n; ++lane) halves[lane] = p[lane];
    return load_half(halves);
  }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store_partial(float* p, int n) const { _mm256_maskstore_ps(p, lane_mask(n), v); }

  static __m256i lane_mask(int n) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes);
  }
};

// Or gcc copies a loop's sums from one register to another, and to the stack.
inline void stay_in_register(Vec& x) { asm("" : "+x"(x.v)); }
inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vec quotient(Vec a, Vec b) { return a / b; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
// max(bound, x) and min(bound, x) return x where x is NaN: the instruction yields its second
// operand.
inline Vec max(Vec bound, Vec x) { return {_mm256_max_ps(bound.v, x.v)}; }
inline Vec min(Vec bound, Vec x) { return {_mm256_min_ps(bound.v, x.v)}; }
inline Vec round(Vec x) {
  return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// x * 2^n for a whole number n, where both x and the result are normal numbers, or x is NaN.
inline Vec scale_by_power_of_two(Vec x, Vec n) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n.v), 23);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.v), exponent))};
}
inline float reduce_add(Vec x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float reduce_max(Vec x) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// Numbers, rounded, to bytes: those outside [0, 255] to the nearer bound, NaN to 0.
constexpr int kByteVectors = 4;
inline void store_bytes(const Vec (&x)[kByteVectors], uint8_t* p) {
  const auto shorts = [&x](int low, int high) {
    return _mm256_packs_epi32(_mm256_cvtps_epi32(x[low].v), _mm256_cvtps_epi32(x[high].v));
  };
  // Packing works in each half: four bytes of every vector, then the next four of each.
  const __m256i mixed = _mm256_packus_epi16(shorts(0, 1), shorts(2, 3));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(mixed, order));
}

// Numbers of 32 bits, rounded, to shorts: those beyond to the nearest that there is.
inline void store_shorts(Vec x, int16_t* p, int lanes) {
  const __m256i whole = _mm256_cvtps_epi32(x.v);
  const __m128i shorts =
      _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  if (lanes == Vec::kLanes) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), shorts);
  } else {
    alignas(16) int16_t all[Vec::kLanes];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), shorts);
    std::memcpy(p, all, sizeof *p * static_cast<size_t>(lanes));
  }
}
inline void store_shorts(Vec low, Vec high, int16_t* p) {
  const __m256i packed = _mm256_packs_epi32(_mm256_cvtps_epi32(low.v), _mm256_cvtps_epi32(high.v));
  // Packing works in each half.
  const __m256i shorts = _mm256_permute4x64_epi64(packed, 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), shorts);
}
// The same of numbers that shorts hold, two to a lane, whose bits are not a float's.
inline Vec short_pairs(Vec low, Vec high) {
  const __m256i shifted = _mm256_slli_epi32(_mm256_cvtps_epi32(high.v), 16);
  return {_mm256_castsi256_ps(_mm256_blend_epi16(_mm256_cvtps_epi32(low.v), shifted, 0xaa))};
}

struct PairSums {
  __m256i v;
  static PairSums zero() { return {_mm256_setzero_si256()}; }
};
inline void stay_in_register(PairSums& x) { asm("" : "+x"(x.v)); }
// Both products of each lane's shorts are added to its sum.
inline PairSums add_products(PairSums sums, Vec a, Vec b) {
  const __m256i both = _mm256_madd_epi16(_mm256_castps_si256(a.v), _mm256_castps_si256(b.v));
  return {_mm256_add_epi32(sums.v, both)};
}
inline Vec to_floats(PairSums x) { return {_mm256_cvtepi32_ps(x.v)}; }

// The largest magnitude seen in each lane, as the bits of a float: as whole numbers these are in
// order, with infinity and then NaN at the end.
struct Magnitudes {
  __m256i v;
  static Magnitudes zero() { return {_mm256_setzero_si256()}; }
};
inline Magnitudes larger_of(Magnitudes seen, Vec x) {
  const __m256i bits = _mm256_and_si256(_mm256_castps_si256(x.v), _mm256_set1_epi32(0x7fffffff));
  return {_mm256_max_epi32(seen.v, bits)};
}
inline float largest_of(Magnitudes x) {
  __m128i s = _mm_max_epi32(_mm256_castsi256_si128(x.v), _mm256_extracti128_si256(x.v, 1));
  s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(s, _mm_shuffle_epi32(s, 0xb1))));
}

}  // namespace zen::avx2
