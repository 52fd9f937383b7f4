#include "ceiling.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <thread>

#include "ops.h"

namespace zen {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRows = 24, kDepth = 384;

// Long enough that the system finds a core of its own for each thread.
constexpr auto kSampleTime = std::chrono::milliseconds(20);
constexpr int kProductsPerReading = 100;  // of the clock, which takes a tenth of a product's time

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
  std::vector<double> products_per_second(static_cast<size_t>(num_threads));
  std::vector<std::thread> threads;
  for (double& rate : products_per_second) {
    threads.emplace_back([&rate, product = ceiling.product] {
      const Clock::time_point start = Clock::now();
      std::chrono::duration<double> elapsed{};
      int done = 0;
      while (elapsed < kSampleTime) {
        for (int i = 0; i < kProductsPerReading; ++i) product();
        done += kProductsPerReading;
        elapsed = Clock::now() - start;
      }
      rate = done / elapsed.count();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double sum = std::accumulate(products_per_second.begin(), products_per_second.end(), 0.0);
  return 1e-9 * ceiling.macs * sum;
}

}  // namespace zen
