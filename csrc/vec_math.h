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

// What is found by looking through a whole row, like its mean, is found for so many rows before the
// first of them is written: the search ends in a chain of single steps, behind which the next row's
// hides. They are few enough to stay in the L1.
constexpr int kRowsAtOnce = 4;

// The sum over a row of what add(sum, column, lanes) adds, in several chains: one would wait for
// its own latency.
template <typename Add>
inline float sum_over_row(int width, Add add) {
  constexpr int kChains = 4;
  Vec sums[kChains];
  for (Vec& sum : sums) sum = Vec::zero();
  int column = 0;
  for (; column + kChains * Vec::kLanes <= width; column += kChains * Vec::kLanes) {
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i) {
      sums[i] = add(sums[i], column + i * Vec::kLanes, Vec::kLanes);
    }
  }
  for_each_vector(width - column,
                  [&](int rest, int lanes) { sums[0] = add(sums[0], column + rest, lanes); });
  return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace zen::ZEN_ISA
