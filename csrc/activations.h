// Activations over Vec. GELU is the instruction set's own, in gelu_<how>.h.
#pragma once

#include "kernels.h"
#include "vec_math.h"

namespace zen::ZEN_ISA {

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

}  // namespace zen::ZEN_ISA
