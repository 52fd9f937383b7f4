// One-lane "vector": the oracle that every other instruction set is tested against.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace zen::scalar {

struct Vec {
  static constexpr int kLanes = 1;
  float v;

  static Vec zero() { return {0.0f}; }
  static Vec broadcast(float x) { return {x}; }
  static Vec load(const float* p) { return {*p}; }
  static Vec load_partial(const float* p, int n) { return {n > 0 ? *p : 0.0f}; }
  static Vec load_partial(const float* p, int n, Vec rest) { return {n > 0 ? *p : rest.v}; }
  static Vec load_half(const uint16_t* p);
  static Vec load_half_partial(const uint16_t* p, int n) { return n > 0 ? load_half(p) : zero(); }
  void store(float* p) const { *p = v; }
  void store_partial(float* p, int n) const {
    if (n > 0) *p = v;
  }
};

// IEEE half to single: exact, subnormals and infinities included.
inline Vec Vec::load_half(const uint16_t* p) {
  const uint32_t half = *p;
  const uint32_t sign = (half & 0x8000u) << 16, exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return {sign ? -magnitude : magnitude};
  }
  const uint32_t wide_exponent = exponent == 31 ? 255u : exponent + 112u;
  const uint32_t bits = sign | (wide_exponent << 23) | (mantissa << 13);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return {value};
}

constexpr int kSquare = 1;
inline void transpose_square(const float* const* rows, float* out, ptrdiff_t) { *out = **rows; }

inline void stay_in_register(Vec&) {}
inline Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
inline Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
inline Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
inline Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
inline Vec quotient(Vec a, Vec b) { return a / b; }
inline Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
// max(bound, x) and min(bound, x) return x where x is NaN.
inline Vec max(Vec bound, Vec x) { return {bound.v > x.v ? bound.v : x.v}; }
inline Vec min(Vec bound, Vec x) { return {bound.v < x.v ? bound.v : x.v}; }
inline Vec round(Vec x) { return {std::nearbyint(x.v)}; }
// x * 2^n for a whole number n in [-126, 127].
inline Vec scale_by_power_of_two(Vec x, Vec n) {
  const int exponent = n.v == n.v ? static_cast<int>(n.v) : 0;
  return {std::ldexp(x.v, exponent)};
}
inline float reduce_add(Vec x) { return x.v; }
inline float reduce_max(Vec x) { return x.v; }

// Numbers, rounded, to bytes: those outside [0, 255] to the nearer bound, NaN to 0.
constexpr int kByteVectors = 4;
inline void store_bytes(const Vec (&x)[kByteVectors], uint8_t* p) {
  for (int i = 0; i < kByteVectors; ++i) {
    const float whole = round(x[i]).v;
    p[i] = whole > 0.0f ? static_cast<uint8_t>(whole < 255.0f ? whole : 255.0f) : uint8_t{0};
  }
}

// Numbers, rounded, to shorts: those beyond to the nearest that there is, NaN to the least.
inline int16_t to_short(float x) {
  const float whole = round({x}).v;
  return whole > -32768.0f ? static_cast<int16_t>(whole < 32767.0f ? whole : 32767.0f)
                           : int16_t{-32768};
}
inline void store_shorts(Vec x, int16_t* p, int lanes) {
  const int16_t whole = to_short(x.v);
  if (lanes > 0) std::memcpy(p, &whole, sizeof whole);
}
inline void store_shorts(Vec low, Vec high, int16_t* p) {
  store_shorts(low, p, 1);
  store_shorts(high, p + 1, 1);
}
// The same, two to a lane, whose bits are not a float's.
inline Vec short_pairs(Vec low, Vec high) {
  const int16_t pair[] = {to_short(low.v), to_short(high.v)};
  Vec pairs;
  std::memcpy(&pairs.v, pair, sizeof pair);
  return pairs;
}

struct PairSums {
  uint32_t v;  // wraps around, as the vectors' sums do
  static PairSums zero() { return {0}; }
};
inline void stay_in_register(PairSums&) {}
// Both products of each lane's shorts are added to its sum.
inline PairSums add_products(PairSums sums, Vec a, Vec b) {
  int16_t x[2], y[2];
  std::memcpy(x, &a.v, sizeof x);
  std::memcpy(y, &b.v, sizeof y);
  return {sums.v + static_cast<uint32_t>(x[0] * y[0]) + static_cast<uint32_t>(x[1] * y[1])};
}
inline Vec to_floats(PairSums x) { return {static_cast<float>(static_cast<int32_t>(x.v))}; }

// The largest magnitude seen in each lane; an infinity or a NaN stays.
struct Magnitudes {
  float v;
  static Magnitudes zero() { return {0.0f}; }
};
inline Magnitudes larger_of(Magnitudes seen, Vec x) {
  const float magnitude = std::fabs(x.v);
  return {magnitude <= seen.v || seen.v != seen.v ? seen.v : magnitude};
}
inline float largest_of(Magnitudes x) { return x.v; }

}  // namespace zen::scalar
