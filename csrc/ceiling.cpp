#include "ceiling.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <random>
#include <thread>

#include "ops.h"

namespace zen {
namespace {

constexpr int kRows = 24, kDepth = 384;
constexpr int kProductsPerSample = 2000;

Ceiling fp32_ceiling(const Kernels& kernels) {
  const int n = kernels.panel_width;
  std::vector<float> a(kRows * kDepth, 0.5f), b(static_cast<size_t>(n) * kDepth, 0.25f);
  const auto packed = std::make_shared<AlignedFloats>(kernels.packed_size(n, kDepth));
  kernels.pack_gemm({b.data(), kDepth}, n, kDepth, packed->data());
  const auto product = [&kernels, n, a, packed, c = std::vector<float>(kRows * n)]() mutable {
    GemmArgs args{};
    args.a = {a.data(), kDepth};
    args.packed = packed->data();
    args.c = {c.data(), n};
    args.m = kRows;
    args.n = n;
    args.k = kDepth;
    kernels.gemm(args, 0, 1);
  };
  return {kernels.isa, "fp32", 1.0 * kRows * n * kDepth, product};
}

// The deviation of the weights decides how deep their sums may be in 16 bits: 9 as in a matrix
// with a few large values, 19 as in a plain one (63 is the largest), 40 to force the shallowest.
Ceiling int8_ceiling(const Kernels& kernels, const std::string& name, double deviation) {
  const int n = kernels.quantized_panel_width, floats = quantized_row_floats(kDepth);
  std::mt19937 generator(1);
  std::normal_distribution<double> normal(0.0, deviation);
  std::vector<int8_t> values(static_cast<size_t>(n) * kDepth);
  for (int8_t& value : values) {
    value = static_cast<int8_t>(std::lround(std::clamp(normal(generator), -63.0, 63.0)));
  }
  const std::vector<float> scales(static_cast<size_t>(n), 1.0f);
  const auto packed =
      std::make_shared<AlignedFloats>(kernels.quantized_panel_bound(kDepth) / sizeof(float));
  uint8_t* panel = reinterpret_cast<uint8_t*>(packed->data());
  kernels.pack_quantized_panel({values.data(), scales.data(), n, kDepth}, nullptr, 0, panel);
  std::vector<float> x(kRows * kDepth);
  for (float& value : x) value = static_cast<float>(normal(generator));
  std::vector<float> a(static_cast<size_t>(kRows) * floats);
  kernels.quantize_rows({x.data(), kDepth}, nullptr, {a.data(), floats}, kDepth, 0, kRows);
  const auto product = [&kernels, n, floats, a, packed,
                        c = std::vector<float>(static_cast<size_t>(kRows) * n)]() mutable {
    const size_t start = 0;
    QuantizedGemmArgs args{};
    args.a = {a.data(), floats};
    args.packed = reinterpret_cast<const uint8_t*>(packed->data());
    args.panel_starts = &start;
    args.c = {c.data(), n};
    args.m = kRows;
    args.n = n;
    args.k = kDepth;
    kernels.quantized_gemm(args, 0, 1);
  };
  return {kernels.isa, name, 1.0 * kRows * n * kDepth, product};
}

}  // namespace

std::vector<Ceiling> ceilings(const Kernels& kernels) {
  return {fp32_ceiling(kernels), int8_ceiling(kernels, "int8", 19.0),
          int8_ceiling(kernels, "int8, few large weights", 9.0),
          int8_ceiling(kernels, "int8, heavy weights", 40.0)};
}

double measure(const Ceiling& ceiling, int num_threads) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < num_threads; ++i) {
    threads.emplace_back([product = ceiling.product] {
      for (int repeat = 0; repeat < kProductsPerSample; ++repeat) product();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return 1e-9 * ceiling.macs * kProductsPerSample * num_threads / seconds.count();
}

}  // namespace zen
