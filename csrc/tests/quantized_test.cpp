// 8-bit products of every instruction set here against 64-bit integers, exactly, for the weights
// and activations that come closest to an overflow; and the quantization of rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "cpu_isa.h"
#include "kernels.h"
#include "ops.h"

namespace zen::test {
namespace {

using Pattern = std::function<int(int row, int column)>;

struct Case {
  std::string name;
  Pattern weights;      // within +-63
  Pattern activations;  // within [0, 255]
};

std::vector<Case> cases() {
  static std::mt19937 generator(7);
  const auto uniform = [](int low, int high) {
    return
        [low, high](int, int) { return std::uniform_int_distribution<int>(low, high)(generator); };
  };
  const auto normal = [](double deviation) {
    return [deviation](int, int) {
      const double x = std::normal_distribution<double>(0.0, deviation)(generator);
      return static_cast<int>(std::lround(std::min(std::max(x, -63.0), 63.0)));
    };
  };
  const auto constant = [](int value) { return [value](int, int) { return value; }; };
  const Pattern pairs = [](int, int column) { return column / 2 % 2 == 0 ? 63 : -63; };
  const Pattern alternating = [](int row, int column) {
    return (row + column) % 2 == 0 ? 63 : -63;
  };
  // Groups of 8 or 16 values that use the whole 16-bit range, to the last unit and beyond.
  const auto filled = [](int total, int sign) {
    return [total, sign](int, int column) {
      const int place = column / 4 % 8 * 2 + column % 2;
      return sign * std::min(63, std::max(0, total - place * 63));
    };
  };
  // Adversarial activations: all bytes at the end that the weight's sign makes worst.
  const auto worst = [](const Pattern& weights, bool high) {
    return [weights, high](int row, int column) {
      return (weights(row, column) > 0) == high ? 255 : 0;
    };
  };
  std::vector<Case> all = {
      {"random", normal(19.0), uniform(0, 255)},
      {"light weights", normal(9.0), uniform(0, 255)},
      {"uniform weights", uniform(-63, 63), uniform(0, 255)},
      {"sparse", [](int, int column) { return column % 29 == 3 ? 63 : 0; }, constant(255)},
      {"zero", constant(0), constant(255)},
  };
  for (const int end : {0, 255}) {
    all.push_back({"all 63, all " + std::to_string(end), constant(63), constant(end)});
    all.push_back({"all -63, all " + std::to_string(end), constant(-63), constant(end)});
    all.push_back({"light, all " + std::to_string(end), normal(9.0), constant(end)});
  }
  for (const bool high : {false, true}) {
    all.push_back({"pairs, worst", pairs, worst(pairs, high)});
    all.push_back({"alternating, worst", alternating, worst(alternating, high)});
    for (const int total : {252, 255, 256, 260}) {
      for (const int sign : {-1, 1}) {
        const Pattern weights = filled(total, sign);
        all.push_back({"filled to " + std::to_string(sign * total), weights, worst(weights, high)});
      }
    }
  }
  return all;
}

struct PackedMatrix {
  PackedMatrix(const Kernels& kernels, const QuantizedMatrix& weight, const float* bias) {
    size_t total = 0;
    const int width = kernels.quantized_panel_width;
    for (int panel = 0; panel * width < weight.n; ++panel) {
      AlignedFloats packed(kernels.quantized_panel_bound(weight.k) / sizeof(float));
      uint8_t* begin = reinterpret_cast<uint8_t*>(packed.data());
      const size_t size = kernels.pack_quantized_panel(weight, bias, panel, begin);
      check(size <= kernels.quantized_panel_bound(weight.k), "a panel keeps to its bound");
      check(size % 64 == 0, "panels stay aligned");
      starts.push_back(total);
      bytes.insert(bytes.end(), begin, begin + size);
      total += size;
    }
    data = AlignedFloats(total / sizeof(float));
    std::memcpy(data.data(), bytes.data(), total);
  }
  std::vector<size_t> starts;
  std::vector<uint8_t> bytes;
  AlignedFloats data;
};

// Rows as quantize_rows leaves them, with the step and zero given.
std::vector<float> quantized_rows(const std::vector<int>& values, int m, int k, float step,
                                  int zero) {
  const int floats = quantized_row_floats(k);
  std::vector<float> rows(static_cast<size_t>(m) * floats);
  for (int i = 0; i < m; ++i) {
    uint8_t* bytes = reinterpret_cast<uint8_t*>(rows.data() + ptrdiff_t{i} * floats);
    for (int j = 0; j < k; ++j)
      bytes[j] = static_cast<uint8_t>(values[static_cast<size_t>(i) * k + j]);
    // Whatever stands in the padding meets weights of 0.
    for (int j = k; j < quantized_row_bytes(k); ++j) bytes[j] = 0xff;
    rows[static_cast<size_t>(i) * floats + static_cast<size_t>(quantized_row_bytes(k)) / 4] = step;
    rows[static_cast<size_t>(i) * floats + static_cast<size_t>(quantized_row_bytes(k)) / 4 + 1] =
        static_cast<float>(zero);
  }
  return rows;
}

void test_exact(const Kernels& kernels, const Case& c, int m, int n, int k, int zero) {
  std::vector<int8_t> weights;
  std::vector<int> activations;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < k; ++j) weights.push_back(static_cast<int8_t>(c.weights(i, j)));
  }
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < k; ++j) activations.push_back(c.activations(i, j));
  }
  const std::vector<float> scales(static_cast<size_t>(n), 1.0f);
  const PackedMatrix packed(kernels, {weights.data(), scales.data(), n, k}, nullptr);
  const std::vector<float> a = quantized_rows(activations, m, k, 1.0f, zero);
  std::vector<float> c_out = poisoned(static_cast<size_t>(m) * n);
  QuantizedGemmArgs args{};
  args.a = {a.data(), quantized_row_floats(k)};
  args.packed = reinterpret_cast<const uint8_t*>(packed.data.data());
  args.panel_starts = packed.starts.data();
  args.c = {c_out.data(), n};
  args.m = m;
  args.n = n;
  args.k = k;
  const int num_panels = static_cast<int>(packed.starts.size());
  kernels.quantized_gemm(args, 0, num_panels / 2);  // two calls: any division into panels must do
  kernels.quantized_gemm(args, num_panels / 2, num_panels);

  bool equal = true;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      int64_t sum = 0;
      for (int t = 0; t < k; ++t) {
        sum += static_cast<int64_t>(activations[static_cast<size_t>(i) * k + t] - zero) *
               weights[static_cast<size_t>(j) * k + t];
      }
      equal &= c_out[static_cast<size_t>(i) * n + j] == static_cast<float>(sum);
    }
  }
  check(equal, std::string(kernels.isa) + " " + c.name + " " + std::to_string(m) + "x" +
                   std::to_string(n) + "x" + std::to_string(k) + ", zero " + std::to_string(zero));
}

void test_epilogue(const Kernels& kernels, int n, bool with_bias, bool with_residual) {
  const int m = 5, k = 50, zero = 31;
  const float step = 0.037f;
  std::mt19937 generator(3);
  std::vector<int8_t> weights(static_cast<size_t>(n) * k);
  for (int8_t& w : weights) w = static_cast<int8_t>(static_cast<int>(generator() % 127) - 63);
  std::vector<int> activations(static_cast<size_t>(m) * k);
  for (int& x : activations) x = static_cast<int>(generator() % 256);
  std::vector<float> scales = random_floats(static_cast<size_t>(n), 4);
  for (float& scale : scales) scale = 1e-3f * std::abs(scale);
  const std::vector<float> bias = random_floats(static_cast<size_t>(n), 5);
  const std::vector<float> residual = random_floats(static_cast<size_t>(m) * n, 6);
  const PackedMatrix packed(kernels, {weights.data(), scales.data(), n, k},
                            with_bias ? bias.data() : nullptr);
  const std::vector<float> a = quantized_rows(activations, m, k, step, zero);
  std::vector<float> c = poisoned(static_cast<size_t>(m) * n);
  QuantizedGemmArgs args{};
  args.a = {a.data(), quantized_row_floats(k)};
  args.packed = reinterpret_cast<const uint8_t*>(packed.data.data());
  args.panel_starts = packed.starts.data();
  args.residual = {with_residual ? residual.data() : nullptr, n};
  args.c = {c.data(), n};
  args.m = m;
  args.n = n;
  args.k = k;
  args.activation = Activation::kGelu;
  kernels.quantized_gemm(args, 0, static_cast<int>(packed.starts.size()));
  std::vector<double> expected;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      int64_t sum = 0;
      for (int t = 0; t < k; ++t) {
        sum += (activations[static_cast<size_t>(i) * k + t] - zero) *
               weights[static_cast<size_t>(j) * k + t];
      }
      double x = static_cast<double>(sum) * step * scales[static_cast<size_t>(j)];
      if (with_bias) x += bias[static_cast<size_t>(j)];
      x = 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
      if (with_residual) x += residual[static_cast<size_t>(i) * n + j];
      expected.push_back(x);
    }
  }
  check_close(c, expected, 1e-5, std::string(kernels.isa) + " epilogue " + std::to_string(n));
}

void test_quantize_rows(const Kernels& kernels, int width) {
  const int rows = 6, floats = quantized_row_floats(width);
  std::vector<float> x = random_floats(static_cast<size_t>(rows) * width, 8);
  for (int i = 0; i < width; ++i) {
    x[static_cast<size_t>(i)] = 0.0f;                                                 // row 0
    x[static_cast<size_t>(width + i)] = std::abs(x[static_cast<size_t>(width + i)]);  // no negative
    x[static_cast<size_t>(2 * width + i)] = -2.0f - static_cast<float>(i);            // no positive
    x[static_cast<size_t>(3 * width + i)] *= 1e-30f;
    x[static_cast<size_t>(4 * width + i)] *= 1e30f;
  }
  std::vector<float> out = poisoned(static_cast<size_t>(rows) * floats);
  kernels.quantize_rows({x.data(), width}, nullptr, {out.data(), floats}, width, 0, rows);
  const std::string what = std::string(kernels.isa) + " quantize_rows " + std::to_string(width);
  for (int row = 0; row < rows; ++row) {
    const float* values = x.data() + ptrdiff_t{row} * width;
    const float* quantized = out.data() + ptrdiff_t{row} * floats;
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(quantized);
    const float step = quantized[quantized_row_bytes(width) / 4];
    const float zero = quantized[quantized_row_bytes(width) / 4 + 1];
    const auto [low, high] = std::minmax_element(values, values + width);
    const double range =
        std::max(0.0, static_cast<double>(*high)) - std::min(0.0, static_cast<double>(*low));
    check(std::abs(step - range / 255.0) <= 1e-6 * range, what + ": step");
    check(zero >= 0.0f && zero <= 255.0f && zero == std::floor(zero), what + ": zero");
    for (int i = 0; i < width; ++i) {
      const double back = (static_cast<double>(bytes[i]) - zero) * step;
      check(std::abs(back - values[i]) <= 1.0001 * step, what + ": a value moves a step at most");
    }
  }
}

void test_not_finite(const Kernels& kernels) {
  const int width = 19, floats = quantized_row_floats(width);
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    for (const int place : {0, 7, 18}) {
      std::vector<float> x = random_floats(width, 9), out = poisoned(static_cast<size_t>(floats));
      x[static_cast<size_t>(place)] = bad;
      kernels.quantize_rows({x.data(), width}, nullptr, {out.data(), floats}, width, 0, 1);
      check(!std::isfinite(out[static_cast<size_t>(quantized_row_bytes(width)) / 4]),
            std::string(kernels.isa) + ": what is not finite is never hidden");
    }
  }
}

// Products of rows that are not finite, or too wide or too narrow for 255 steps.
void test_extreme_rows(const Kernels& kernels) {
  const int k = 19, n = 5, floats = quantized_row_floats(k);
  const std::vector<int8_t> weights(static_cast<size_t>(n) * k, 7);
  const std::vector<float> scales(static_cast<size_t>(n), 1.0f);
  const PackedMatrix packed(kernels, {weights.data(), scales.data(), n, k}, nullptr);
  for (const float value :
       {std::nanf(""), INFINITY, -INFINITY, 3.2e38f, -3.2e38f, 1e-38f, 1e-44f}) {
    std::vector<float> x(static_cast<size_t>(k), value);
    std::vector<float> a = poisoned(static_cast<size_t>(floats)),
                       c = poisoned(static_cast<size_t>(n));
    kernels.quantize_rows({x.data(), k}, nullptr, {a.data(), floats}, k, 0, 1);
    QuantizedGemmArgs args{};
    args.a = {a.data(), floats};
    args.packed = reinterpret_cast<const uint8_t*>(packed.data.data());
    args.panel_starts = packed.starts.data();
    args.c = {c.data(), n};
    args.m = 1;
    args.n = n;
    args.k = k;
    kernels.quantized_gemm(args, 0, static_cast<int>(packed.starts.size()));
    const bool narrow = std::abs(value) < 1.0f;
    for (const float sum : c) {
      check(narrow ? std::abs(sum) < 1e-30f : !std::isfinite(sum),
            std::string(kernels.isa) + ": product of a row of " + std::to_string(value));
    }
  }
}

void test_kernels(const Kernels& kernels) {
  std::printf("quantized: %s\n", kernels.isa);
  for (const Case& c : cases()) {
    for (const int k : {1, 7, 16, 31, 64, 384, 1536}) {
      for (const int m : {1, 4, 7})
        test_exact(kernels, c, m, 2 * kernels.quantized_panel_width - 3, k, 128);
    }
    for (const int zero : {0, 1, 200, 255}) test_exact(kernels, c, 3, 17, 100, zero);
  }
  for (const int n : {1, 15, 16, 33, 70}) {
    for (const bool bias : {false, true}) {
      for (const bool residual : {false, true}) test_epilogue(kernels, n, bias, residual);
    }
  }
  for (const int width : {1, 7, 8, 48, 61, 384}) test_quantize_rows(kernels, width);
  test_not_finite(kernels);
  test_extreme_rows(kernels);
}

}  // namespace
}  // namespace zen::test

int main() {
  for (const zen::Kernels* kernels : zen::available_kernels()) zen::test::test_kernels(*kernels);
  return zen::test::report("quantized_test");
}
