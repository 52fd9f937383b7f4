// GELU by a table in registers: a permutation looks 16 coefficients up in 32.
#pragma once

#include <immintrin.h>

#include "vec_math.h"

namespace zen::avx512_vnni {

constexpr float kErfBound = 5.5437f;  // erf(kErfBound / sqrt(2)) is 1 in fp32
constexpr float kSegmentsPerUnit = 5.68210762f;

// erf(y / sqrt(2)) / 2 in 32 segments, the centre of the i-th at y = i / kSegmentsPerUnit: [c][i]
// is the coefficient of (y * kSegmentsPerUnit - i)^c in a Chebyshev fit, within 2e-7.
alignas(64) constexpr float kHalfErf[4][32] = {
    {0.0f,         0.0698494432f, 0.137574027f, 0.201240843f, 0.259272276f, 0.310558038f,
     0.354503463f, 0.39101363f,   0.42042378f,  0.443393931f, 0.4607885f,   0.473560137f,
     0.482652202f, 0.488927892f,  0.493127834f, 0.495853094f, 0.497567664f, 0.498613552f,
     0.499232135f, 0.49958686f,   0.499784089f, 0.499890413f, 0.499945987f, 0.499974151f,
     0.499987989f, 0.499994582f,  0.499997628f, 0.499998992f, 0.499999584f, 0.499999834f,
     0.499999935f, 0.499999976f},
    {0.0702102319f,   0.0691313046f,   0.065992987f,    0.0610758481f,   0.0548011799f,
     0.0476715189f,   0.040204692f,    0.0328732885f,   0.0260590281f,   0.0200272776f,
     0.0149222478f,   0.0107794149f,   0.00754926595f,  0.00512581396f,  0.00337418982f,
     0.00215340005f,  0.00133238103f,  0.000799246335f, 0.000464816278f, 0.000262077924f,
     0.000143260993f, 7.59230861e-05f, 3.9009294e-05f,  1.94316929e-05f, 9.38429086e-06f,
     4.39380236e-06f, 1.99447122e-06f, 8.77734534e-07f, 3.74495594e-07f, 1.54909592e-07f,
     6.21237884e-08f, 2.41538037e-08f},
    {0.0f,
     -0.00106854842f,
     -0.00204020227f,
     -0.00283256265f,
     -0.00338921649f,
     -0.00368600896f,
     -0.00373121869f,
     -0.00356021783f,
     -0.00322636575f,
     -0.00279046899f,
     -0.0023110629f,
     -0.00183716226f,
     -0.00140425223f,
     -0.00103343283f,
     -0.000733006687f,
     -0.000501508297f,
     -0.000331191945f,
     -0.000211226097f,
     -0.000130159529f,
     -7.75225064e-05f,
     -4.46417144e-05f,
     -2.48618098e-05f,
     -1.33938245e-05f,
     -6.98142582e-06f,
     -3.52150072e-06f,
     -1.7191852e-06f,
     -8.12433778e-07f,
     -3.71685996e-07f,
     -1.64639525e-07f,
     -7.06160671e-08f,
     -2.93306738e-08f,
     -1.17984111e-08f},
    {-0.000361909574f, -0.000345326803f, -0.000298085459f, -0.00022718122f, -0.000142662823f,
     -5.56610061e-05f, 2.36265862e-05f,  8.75347083e-05f,  0.000131811265f, 0.000155697178f,
     0.00016133198f,   0.000152749488f,  0.000134767862f,  0.000112030205f, 8.83501137e-05f,
     6.64035696e-05f,  4.77185344e-05f,  3.28638869e-05f,  2.17301268e-05f, 1.38139961e-05f,
     8.45216954e-06f,  4.9819046e-06f,   2.83085994e-06f,  1.5516771e-06f,  8.2085574e-07f,
     4.19280045e-07f,  2.06859753e-07f,  9.86104656e-08f,  4.54326371e-08f, 2.02357139e-08f,
     8.71504923e-09f,  3.62999763e-09f}};

inline Vec looked_up(const float (&table)[32], __m512i index) {
  return {_mm512_permutex2var_ps(_mm512_load_ps(table), index, _mm512_load_ps(table + 16))};
}

// x / 2 * (1 + erf(x / sqrt(2))); absolute error below 4e-7. Constant beyond -kErfBound: further
// out it would be the rounding of erf that x grows.
inline Vec gelu(Vec x) {
  x = max(Vec::broadcast(-kErfBound), x);
  const Vec size = {_mm512_abs_ps(x.v)};
  const Vec place = min(Vec::broadcast(kErfBound), size) * Vec::broadcast(kSegmentsPerUnit);
  // Added to 1.5 * 2^23, a number is rounded, and its low bits are a whole number's.
  const Vec rounding = Vec::broadcast(12582912.0f);
  const Vec marked = place + rounding;
  const Vec distance = place - (marked - rounding);
  const __m512i segment = _mm512_castps_si512(marked.v);
  Vec half_erf = looked_up(kHalfErf[3], segment);
  for (int c = 2; c >= 0; --c) half_erf = fma(half_erf, distance, looked_up(kHalfErf[c], segment));
  return fma(size, half_erf, x * Vec::broadcast(0.5f));
}

}  // namespace zen::avx512_vnni
