// The ceilings of this machine: GMAC/s of each instruction set's matrix kernels with operands in
// L1, nothing around them. End-to-end figures are shares of these.
//
// Usage: ceiling [THREADS]; one JSON line for each kernel, GMAC/s per thread while THREADS of them
// run at once (default 1). Kernels take turns, so that a slow moment of a shared machine meets all.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cpu_isa.h"
#include "ops.h"

namespace zen {
namespace {

constexpr int kRows = 24, kDepth = 384;
constexpr int kProductsPerSample = 2000, kSamples = 15;

struct Ceiling {
  std::string isa, name;
  double macs;                    // of one product
  std::function<void()> product;  // a copy works on operands of its own thread
  std::vector<double> rates;      // GMAC/s
};

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
  return {kernels.isa, "fp32", 1.0 * kRows * n * kDepth, product, {}};
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
  return {kernels.isa, name, 1.0 * kRows * n * kDepth, product, {}};
}

// GMAC/s of one thread while `num_threads` run the same product.
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
  return 1e-9 * ceiling.macs * kProductsPerSample / seconds.count();
}

int run(int num_threads) {
  std::vector<Ceiling> ceilings;
  for (const Kernels* kernels : available_kernels()) {
    if (std::strcmp(kernels->isa, "scalar") == 0) continue;
    ceilings.push_back(fp32_ceiling(*kernels));
    ceilings.push_back(int8_ceiling(*kernels, "int8, few large weights", 9.0));
    ceilings.push_back(int8_ceiling(*kernels, "int8, plain weights", 19.0));
    ceilings.push_back(int8_ceiling(*kernels, "int8, heavy weights", 40.0));
  }
  for (int sample = 0; sample < kSamples; ++sample) {
    for (Ceiling& ceiling : ceilings) ceiling.rates.push_back(measure(ceiling, num_threads));
  }
  for (Ceiling& ceiling : ceilings) {
    std::sort(ceiling.rates.begin(), ceiling.rates.end());
    std::printf(
        "{\"isa\": \"%s\", \"kernel\": \"%s\", \"threads\": %d, \"gmacs_per_thread\": "
        "{\"median\": %.1f, \"best\": %.1f}}\n",
        ceiling.isa.c_str(), ceiling.name.c_str(), num_threads, ceiling.rates[kSamples / 2],
        ceiling.rates.back());
  }
  return 0;
}

}  // namespace
}  // namespace zen

int main(int argc, char** argv) {
  const int num_threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (num_threads < 1) {
    std::fprintf(stderr, "usage: ceiling [THREADS]\n");
    return 2;
  }
  return zen::run(num_threads);
}
