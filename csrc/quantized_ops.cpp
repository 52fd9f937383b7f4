// The ops of int8: quantizing rows, and the product that reads them.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "ops.h"

namespace zen {
namespace {

constexpr int kMaxWeight = 63;
// Sums of 255 * 63 * k, and of their zero points' share, fit 32 bits.
constexpr int kMaxDepth = 60000;

class Quantize final : public Op {
 public:
  Quantize(const Kernels& kernels, View x, View out, const float* input_scales)
      : kernels_(kernels), x_(x), out_(out) {
    if (input_scales != nullptr) input_scales_.assign(input_scales, input_scales + x.width);
  }

  int num_items(const Chunk& chunk, const Memory& memory) const override {
    return num_rows(chunk, memory.axis(out_));
  }

  void run(const Chunk&, const Memory& memory, int first, int last) const override {
    kernels_.quantize_rows(memory.read(x_), input_scales_.empty() ? nullptr : input_scales_.data(),
                           memory.write(out_), x_.width, first, last);
  }

 private:
  const Kernels& kernels_;
  View x_, out_;
  std::vector<float> input_scales_;
};

class QuantizedLinear final : public Op {
 public:
  QuantizedLinear(const Kernels& kernels, View x, View out, const QuantizedMatrix& weight,
                  const float* bias, Activation activation, View residual)
      : kernels_(kernels),
        x_(x),
        out_(out),
        residual_(residual),
        depth_(weight.k),
        activation_(activation) {
    check(weight);
    // Panels differ in size: each is packed where the longest would fit, and kept as long as it is.
    AlignedFloats longest(kernels.quantized_panel_bound(weight.k) / sizeof(float));
    std::vector<AlignedFloats> panels;
    size_t total = 0;
    for (int panel = 0; panel < num_panels(); ++panel) {
      const size_t size = kernels.pack_quantized_panel(weight, bias, panel, bytes(longest));
      panels.emplace_back(size / sizeof(float));
      std::memcpy(bytes(panels.back()), bytes(longest), size);
      panel_starts_.push_back(total);
      total += size;
    }
    packed_ = AlignedFloats(total / sizeof(float));
    for (size_t panel = 0; panel < panels.size(); ++panel) {
      std::memcpy(bytes(packed_) + panel_starts_[panel], bytes(panels[panel]),
                  panels[panel].size() * sizeof(float));
      panels[panel] = {};
    }
  }

  int num_items(const Chunk&, const Memory&) const override { return num_panels(); }

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    QuantizedGemmArgs args{};
    args.a = memory.read(x_);
    args.packed = bytes(packed_);
    args.panel_starts = panel_starts_.data();
    if (residual_.width > 0) args.residual = memory.read(residual_);
    args.c = memory.write(out_);
    args.m = num_rows(chunk, memory.axis(out_));
    args.n = out_.width;
    args.k = depth_;
    args.activation = activation_;
    kernels_.quantized_gemm(args, first, last);
  }

 private:
  static uint8_t* bytes(const AlignedFloats& floats) {
    return reinterpret_cast<uint8_t*>(floats.data());
  }

  static void check(const QuantizedMatrix& weight) {
    if (weight.k > kMaxDepth) throw std::invalid_argument("too many columns for 32-bit sums");
    const size_t count = static_cast<size_t>(weight.n) * static_cast<size_t>(weight.k);
    if (std::any_of(weight.values, weight.values + count,
                    [](int8_t value) { return value < -kMaxWeight || value > kMaxWeight; })) {
      throw std::invalid_argument("quantized weights lie within +-63");
    }
  }

  int num_panels() const {
    return (out_.width + kernels_.quantized_panel_width - 1) / kernels_.quantized_panel_width;
  }

  const Kernels& kernels_;
  View x_, out_, residual_;
  int depth_;
  Activation activation_;
  AlignedFloats packed_;
  std::vector<size_t> panel_starts_;
};

}  // namespace

OpPtr make_quantize(const Kernels& kernels, View x, View out, const float* input_scales) {
  return std::make_unique<Quantize>(kernels, x, out, input_scales);
}

OpPtr make_quantized_linear(const Kernels& kernels, View x, View out, const QuantizedMatrix& weight,
                            const float* bias, Activation activation, View residual) {
  return std::make_unique<QuantizedLinear>(kernels, x, out, weight, bias, activation, residual);
}

}  // namespace zen
