// GELU by a rational function.
#pragma once

#include "vec_math.h"

namespace zen::ZEN_ISA {

// x / 2 * (1 + erf(x / sqrt(2))); absolute error below 1.2e-6. The odd rational minimax fit of erf,
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

}  // namespace zen::ZEN_ISA
