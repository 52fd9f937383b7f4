// Every kernel but attention, of every instruction set here, against double precision, at sizes
// that fit no tile. Inputs and outputs are heap blocks of exactly their size, so the address
// sanitizer sees one float too many.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "cpu_isa.h"
#include "kernels.h"
#include "ops.h"

namespace zen::test {
namespace {

double activated(double x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGelu:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kSilu:
      return x / (1.0 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
  }
  return x;
}

void test_gemm(const Kernels& kernels, int m, int n, int k, Activation activation,
               bool with_residual) {
  const std::vector<float> a = random_floats(static_cast<size_t>(m) * k, 1);
  const std::vector<float> b = random_floats(static_cast<size_t>(n) * k, 2);
  const std::vector<float> bias = random_floats(static_cast<size_t>(n), 3);
  const std::vector<float> residual = random_floats(static_cast<size_t>(m) * n, 4);
  AlignedFloats packed(kernels.packed_size(n, k));
  kernels.pack_gemm({b.data(), k}, n, k, packed.data());

  std::vector<float> c = poisoned(static_cast<size_t>(m) * n);
  GemmArgs args{};
  args.a = {a.data(), k};
  args.packed = packed.data();
  args.panel_stride = static_cast<ptrdiff_t>(kernels.panel_width) * k;
  args.bias = bias.data();
  args.residual = {with_residual ? residual.data() : nullptr, n};
  args.c = {c.data(), n};
  args.m = m;
  args.n = n;
  args.k = k;
  args.activation = activation;
  const int num_panels = (n + kernels.panel_width - 1) / kernels.panel_width;
  kernels.gemm(args, 0, num_panels / 2);  // two calls: any division into panels must do
  kernels.gemm(args, num_panels / 2, num_panels);

  std::vector<double> expected;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      double sum = bias[static_cast<size_t>(j)];
      for (int t = 0; t < k; ++t) {
        sum += static_cast<double>(a[static_cast<size_t>(i) * k + t]) *
               b[static_cast<size_t>(j) * k + t];
      }
      sum = activated(sum, activation);
      if (with_residual) sum += residual[static_cast<size_t>(i) * n + j];
      expected.push_back(sum);
    }
  }
  // Rounding walks: k steps, each off by 2^-24 of a partial sum that itself grows as sqrt(k).
  check_close(c, expected, 2e-6 + 2e-7 * k,
              std::string(kernels.isa) + " gemm " + std::to_string(m) + "x" + std::to_string(n) +
                  "x" + std::to_string(k) + " activation " +
                  std::to_string(static_cast<int>(activation)));
}

void test_norm(const Kernels& kernels, int width, int num_parts, bool centred) {
  const int rows = 5, row_width = width * num_parts;
  std::vector<float> x = random_floats(static_cast<size_t>(rows) * row_width, 1);
  for (float& value : x) value += 100.0f;  // a one-pass variance would lose its digits here
  const std::vector<float> weight = random_floats(static_cast<size_t>(width), 2);
  const std::vector<float> bias = random_floats(static_cast<size_t>(width), 3);
  const std::vector<float> residual = random_floats(x.size(), 4);
  std::vector<float> out = poisoned(x.size());
  NormArgs args{};
  args.x = {x.data(), row_width};
  args.out = {out.data(), row_width};
  if (!centred) args.residual = {residual.data(), row_width};
  args.weight = weight.data();
  if (centred) args.bias = bias.data();
  args.width = width;
  args.num_parts = num_parts;
  args.eps = 1e-5f;
  args.centred = centred;
  kernels.norm(args, 0, rows);
  std::vector<double> expected;
  for (int part = 0; part < rows * num_parts; ++part) {
    const float* values = x.data() + static_cast<ptrdiff_t>(part) * width;
    double mean = 0.0, variance = 0.0;
    for (int i = 0; i < width && centred; ++i) mean += values[i] / static_cast<double>(width);
    for (int i = 0; i < width; ++i) variance += (values[i] - mean) * (values[i] - mean) / width;
    for (int i = 0; i < width; ++i) {
      expected.push_back((values[i] - mean) / std::sqrt(variance + 1e-5) * weight[i] +
                         (centred ? bias[i] : residual[part * width + i]));
    }
  }
  check_close(out, expected, 2e-4,
              std::string(kernels.isa) + " norm " + std::to_string(width) + " centred " +
                  std::to_string(centred));
}

// Every fp16 bit pattern that is a number must become the same fp32 number.
void test_half_embedding(const Kernels& kernels) {
  std::vector<uint16_t> rows;
  std::vector<double> expected;
  for (int bits = 0; bits < 0x10000; ++bits) {
    const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    if (exponent == 31) continue;
    rows.push_back(static_cast<uint16_t>(bits));
    const double magnitude =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    expected.push_back(bits & 0x8000 ? -magnitude : magnitude);
  }
  const int width = static_cast<int>(rows.size());
  const int32_t id = 0;
  const EmbeddingTable table{rows.data(), true, &id, 1.0f};
  std::vector<float> out = poisoned(rows.size());
  kernels.embed(&table, 1, width, {out.data(), width}, 0, 1);
  check_close(out, expected, 0.0, std::string(kernels.isa) + " embed fp16");
}

void test_embed(const Kernels& kernels, int width) {
  const int32_t tokens[] = {2, 0, 1}, positions[] = {0, 1, 2};
  const std::vector<float> token_rows = random_floats(3 * static_cast<size_t>(width), 1);
  const std::vector<float> position_rows = random_floats(3 * static_cast<size_t>(width), 2);
  const EmbeddingTable tables[] = {{token_rows.data(), false, tokens, 2.5f},
                                   {position_rows.data(), false, positions, 1.0f}};
  std::vector<float> out = poisoned(3 * static_cast<size_t>(width));
  kernels.embed(tables, 2, width, {out.data(), width}, 0, 3);
  std::vector<double> expected;
  for (int row = 0; row < 3; ++row) {
    for (int i = 0; i < width; ++i) {
      expected.push_back(2.5 * token_rows[static_cast<size_t>(tokens[row] * width + i)] +
                         position_rows[static_cast<size_t>(row * width + i)]);
    }
  }
  check_close(out, expected, 1e-6, std::string(kernels.isa) + " embed " + std::to_string(width));
}

void test_gate(const Kernels& kernels, int width, bool activate_first) {
  const int rows = 3;
  const std::vector<float> x = random_floats(static_cast<size_t>(rows) * 2 * width, 1);
  std::vector<float> out = poisoned(static_cast<size_t>(rows) * width);
  kernels.gate({x.data(), 2 * width}, {out.data(), width}, width, Activation::kSilu, activate_first,
               0, rows);
  std::vector<double> expected;
  for (int row = 0; row < rows; ++row) {
    for (int i = 0; i < width; ++i) {
      double first = x[static_cast<size_t>(row * 2 * width + i)];
      double second = x[static_cast<size_t>(row * 2 * width + width + i)];
      if (!activate_first) std::swap(first, second);
      expected.push_back(activated(first, Activation::kSilu) * second);
    }
  }
  check_close(out, expected, 1e-5, std::string(kernels.isa) + " gate " + std::to_string(width));
}

void test_rotary(const Kernels& kernels, int num_heads, int head_dim) {
  const int width = num_heads * head_dim, half = head_dim / 2;
  const int32_t positions[] = {2, 0, 1};
  const std::vector<float> x = random_floats(3 * static_cast<size_t>(width), 1);
  const RotaryTables tables(std::vector<double>(static_cast<size_t>(half), 0.7), 3);
  std::vector<float> out = poisoned(x.size());
  kernels.rotary({x.data(), width}, {out.data(), width}, tables.cosines.data(), tables.sines.data(),
                 positions, num_heads, head_dim, 0, 3);
  std::vector<double> expected(x.size());
  for (int row = 0; row < 3; ++row) {
    const double cosine = std::cos(0.7 * positions[row]), sine = std::sin(0.7 * positions[row]);
    for (int head = 0; head < num_heads; ++head) {
      for (int i = 0; i < half; ++i) {
        const size_t low = static_cast<size_t>(row * width + head * head_dim + i);
        const size_t high = low + static_cast<size_t>(half);
        expected[low] = x[low] * cosine - x[high] * sine;
        expected[high] = x[high] * cosine + x[low] * sine;
      }
    }
  }
  check_close(out, expected, 1e-5,
              std::string(kernels.isa) + " rotary " + std::to_string(head_dim));
}

void test_mean_pool(const Kernels& kernels, int width) {
  const int32_t cu_seqlens[] = {0, 1, 5};
  const std::vector<float> x = random_floats(5 * static_cast<size_t>(width), 1);
  std::vector<float> out = poisoned(2 * static_cast<size_t>(width));
  kernels.mean_pool({x.data(), width}, {out.data(), width}, cu_seqlens, width, 0, 2);
  std::vector<double> expected(out.size(), 0.0);
  for (int row = 0; row < 5; ++row) {
    const int sequence = row < 1 ? 0 : 1;
    for (int i = 0; i < width; ++i) {
      expected[static_cast<size_t>(sequence * width + i)] +=
          x[static_cast<size_t>(row * width + i)] / (sequence == 0 ? 1.0 : 4.0);
    }
  }
  check_close(out, expected, 1e-6,
              std::string(kernels.isa) + " mean_pool " + std::to_string(width));
}

// From where it is nothing to where it is x, in steps that miss no segment of a table.
void test_gelu(const Kernels& kernels) {
  const int width = 40001;
  std::vector<float> x(2 * width, 1.0f),
      out = poisoned(width);  // gate: f(first half) * second half
  std::vector<double> expected;
  for (int i = 0; i < width; ++i) {
    x[static_cast<size_t>(i)] = -8.0f + 16.0f * static_cast<float>(i) / (width - 1);
    expected.push_back(activated(x[static_cast<size_t>(i)], Activation::kGelu));
  }
  kernels.gate({x.data(), 2 * width}, {out.data(), width}, width, Activation::kGelu, true, 0, 1);
  check_close(out, expected, 1.2e-6, std::string(kernels.isa) + " gelu");
}

void test_special_values(const Kernels& kernels) {
  const int width = 19;
  const float nan = std::nanf(""), infinity = INFINITY;
  for (const Activation activation : {Activation::kGelu, Activation::kGeluTanh, Activation::kRelu,
                                      Activation::kSilu, Activation::kTanh}) {
    std::vector<float> x(2 * width, 1.0f);  // gate: f(first half) * second half
    x[0] = nan;
    x[1] = infinity;
    x[2] = 1e30f;
    x[3] = -1e30f;
    std::vector<float> out = poisoned(width);
    kernels.gate({x.data(), 2 * width}, {out.data(), width}, width, activation, true, 0, 1);
    const std::string what =
        std::string(kernels.isa) + " activation " + std::to_string(static_cast<int>(activation));
    check(std::isnan(out[0]), what + ": NaN is never hidden");
    const float limit = activation == Activation::kTanh ? 1.0f : infinity;
    check(out[1] == limit, what + ": limit at infinity");
    const float large = activation == Activation::kTanh ? 1.0f : 1e30f;
    check(std::abs(out[2] / large - 1.0f) < 1e-6f, what + ": large values");
    const float lowest = activation == Activation::kTanh ? -1.0f : 0.0f;
    check(std::abs(out[3] - lowest) < 1e-5f, what + ": large negative values");
  }
}

void test_kernels(const Kernels& kernels) {
  std::printf("kernels: %s\n", kernels.isa);
  for (const int m : {1, 2, 5, 6, 7, 13, 25}) {
    for (const int n : {1, 3, 15, 16, 17, 48, 67}) {
      for (const int k : {1, 31, 48, 384, 385, 1023}) {
        test_gemm(kernels, m, n, k, Activation::kNone, (m + n) % 2 == 0);
      }
    }
  }
  for (int a = 0; a <= static_cast<int>(Activation::kTanh); ++a) {
    test_gemm(kernels, 7, 35, 20, static_cast<Activation>(a), true);
  }
  for (const int width : {1, 7, 48, 61, 384}) {
    test_norm(kernels, width, 1, true);
    test_norm(kernels, width, 3, false);
    test_embed(kernels, width);
    test_gate(kernels, width, true);
    test_gate(kernels, width, false);
    test_mean_pool(kernels, width);
  }
  for (const int head_dim : {2, 10, 16, 42}) test_rotary(kernels, 3, head_dim);
  test_half_embedding(kernels);
  test_gelu(kernels);
  test_special_values(kernels);
}

}  // namespace
}  // namespace zen::test

int main() {
  for (const zen::Kernels* kernels : zen::available_kernels()) zen::test::test_kernels(*kernels);
  return zen::test::report("kernels_test");
}
