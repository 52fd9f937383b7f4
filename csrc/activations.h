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

// Calls body(function): in loops of its own, which keep the function's constants in registers.
template <typename Body>
inline void with_activation(Activation activation, Body body) {
  switch (activation) {
    case Activation::kNone:
      return body([](Vec x) { return x; });
    case Activation::kGelu:
      return body([](Vec x) { return gelu(x); });
    case Activation::kGeluTanh:
      return body([](Vec x) { return gelu_tanh(x); });
    case Activation::kRelu:
      return body([](Vec x) { return max(Vec::zero(), x); });
    case Activation::kSilu:
      return body([](Vec x) { return silu(x); });
    case Activation::kTanh:
      return body([](Vec x) { return tanh(x); });
  }
}

}  // namespace zen::ZEN_ISA
