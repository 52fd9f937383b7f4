// Elementary functions over Vec. Errors are against the true value, measured over the whole range.
#pragma once

#include "kernels.h"

namespace zen::ZEN_ISA {

inline int smaller(int a, int b) { return a < b ? a : b; }
inline int larger(int a, int b) { return a > b ? a : b; }

// c0 + x * (c1 + x * (c2 + ...)).
template <int kCount>
inline Vec polynomial(Vec x, const float (&coefficients)[kCount]) {
  Vec sum = Vec::broadcast(coefficients[kCount - 1]);
  for (int i = kCount - 2; i >= 0; --i) sum = fma(sum, x, Vec::broadcast(coefficients[i]));
  return sum;
}

// e^x; relative error below 2e-7. Below -87.3 the result stays at the smallest normal number.
inline Vec exp(Vec x) {
  // Minimax fit of (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2, relative to e^r.
  constexpr float kTail[] = {0.49999993f, 0.16666515f, 0.041668457f, 0.0083694190f, 0.0013813142f};
  x = min(Vec::broadcast(88.0f), max(Vec::broadcast(-87.3f), x));
  const Vec n = round(x * Vec::broadcast(1.44269504f));
  // ln(2) in two parts, the first with trailing zeros, so that n * ln(2) loses no bits.
  Vec r = fma(n, Vec::broadcast(-0.693359375f), x);
  r = fma(n, Vec::broadcast(2.12194440e-4f), r);
  const Vec power = fma(polynomial(r, kTail), r * r, r + Vec::broadcast(1.0f));
  return scale_by_power_of_two(power, n);
}

// 2^x for x <= 127; relative error below 2e-7. Below -125.5 the result stays at 2^-125.5.
inline Vec exp2(Vec x) {
  // Minimax fit of (2^r - 1) / r for |r| <= 1/2, relative to 2^r.
  constexpr float kTail[] = {0.693146978f, 0.240222421f, 0.0555073374f, 0.00967151281f,
                             0.00132647272f};
  x = max(Vec::broadcast(-125.5f), x);
  const Vec n = round(x), r = x - n;
  return scale_by_power_of_two(fma(polynomial(r, kTail), r, Vec::broadcast(1.0f)), n);
}

// tanh(x); absolute error below 2e-7.
inline Vec tanh(Vec x) {
  const Vec one = Vec::broadcast(1.0f), two = Vec::broadcast(2.0f);
  return one - two / (exp(two * x) + one);
}

// x / 2 * (1 + erf(x / sqrt(2))); absolute error below 1e-6. The odd rational minimax fit of erf,
// of x / sqrt(2), is constant beyond +-5.54: further out it would be the rounding of erf that x
// grows.
inline Vec gelu(Vec x) {
  constexpr float kNumerator[] = {0.797884457f,    0.0681529474f,  0.00937987899f,
                                  0.000341918931f, 1.27047789e-5f, 4.49603174e-8f};
  constexpr float kDenominator[] = {1.0f,           0.252082886f,   0.0287713f,
                                    0.00189654861f, 7.42573775e-5f, 1.18968188e-6f};
  constexpr float kBound = 5.5437f;
  x = max(Vec::broadcast(-kBound), x);
  const Vec bounded = min(Vec::broadcast(kBound), x), square = bounded * bounded;
  const Vec erf =
      quotient(bounded * polynomial(square, kNumerator), polynomial(square, kDenominator));
  const Vec half = x * Vec::broadcast(0.5f);
  return fma(half, erf, half);
}

inline Vec gelu_tanh(Vec x) {
  const Vec cubic = fma(x * x * x, Vec::broadcast(0.044715f), x);
  const Vec half = x * Vec::broadcast(0.5f);
  return fma(half, tanh(cubic * Vec::broadcast(0.797884561f)), half);
}

inline Vec silu(Vec x) { return x / (Vec::broadcast(1.0f) + exp(Vec::zero() - x)); }

inline Vec activate(Vec x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGelu:
      return gelu(x);
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kRelu:
      return max(Vec::zero(), x);
    case Activation::kSilu:
      return silu(x);
    case Activation::kTanh:
      return tanh(x);
  }
  return x;
}

// Calls body(column, lanes) for each vector of a row; lanes < kLanes only for the last one.
template <typename Body>
inline void for_each_vector(int width, Body body) {
  int column = 0;
  for (; column + Vec::kLanes <= width; column += Vec::kLanes) body(column, Vec::kLanes);
  if (column < width) body(column, width - column);
}

inline Vec load_lanes(const float* p, int lanes) {
  return lanes == Vec::kLanes ? Vec::load(p) : Vec::load_partial(p, lanes);
}

// The same, with `rest` in the lanes that are not loaded.
inline Vec load_lanes(const float* p, int lanes, Vec rest) {
  return lanes == Vec::kLanes ? Vec::load(p) : Vec::load_partial(p, lanes, rest);
}

inline void store_lanes(Vec x, float* p, int lanes) {
  if (lanes == Vec::kLanes) {
    x.store(p);
  } else {
    x.store_partial(p, lanes);
  }
}

inline void store_bytes(Vec x, uint8_t* p, int lanes) {
  if (lanes == Vec::kLanes) {
    x.store_bytes(p);
  } else {
    uint8_t bytes[Vec::kLanes];
    x.store_bytes(bytes);
    for (int lane = 0; lane < lanes; ++lane) p[lane] = bytes[lane];
  }
}

}  // namespace zen::ZEN_ISA
