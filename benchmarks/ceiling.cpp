// Prints the ceilings of this machine, best and median of some samples, one JSON line for each
// kernel.
//
// Usage: ceiling [THREADS]; GMAC/s per thread while THREADS of them run at once (default 1).
// Kernels take turns, so that a slow moment of a shared machine meets all.
#include "ceiling.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cpu_isa.h"

namespace {

constexpr int kSamples = 15;

void print_ceilings(int num_threads) {
  std::vector<zen::Ceiling> all;
  for (const zen::Kernels* kernels : zen::available_kernels()) {
    if (std::strcmp(kernels->isa, "scalar") == 0) continue;
    for (zen::Ceiling& ceiling : zen::ceilings(*kernels)) all.push_back(std::move(ceiling));
  }
  std::vector<std::vector<double>> rates(all.size());
  for (int sample = 0; sample < kSamples; ++sample) {
    for (size_t i = 0; i < all.size(); ++i) {
      rates[i].push_back(zen::measure(all[i], num_threads) / num_threads);
    }
  }
  for (size_t i = 0; i < all.size(); ++i) {
    std::sort(rates[i].begin(), rates[i].end());
    std::printf(
        "{\"isa\": \"%s\", \"kernel\": \"%s\", \"threads\": %d, \"gmacs_per_thread\": "
        "{\"median\": %.1f, \"best\": %.1f}}\n",
        all[i].isa.c_str(), all[i].name.c_str(), num_threads, rates[i][kSamples / 2],
        rates[i].back());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int num_threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (num_threads < 1) {
    std::fprintf(stderr, "usage: ceiling [THREADS]\n");
    return 2;
  }
  print_ceilings(num_threads);
  return 0;
}
