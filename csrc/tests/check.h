// The least a test needs: named cases, checks that count, and numbers that are easy to read.
#pragma once

#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace zen::test {

inline int& num_failures() {
  static int count = 0;
  return count;
}

inline void check(bool holds, const std::string& what) {
  if (holds) return;
  ++num_failures();
  std::printf("FAILED: %s\n", what.c_str());
}

inline void check_close(const std::vector<float>& actual, const std::vector<double>& expected,
                        double tolerance, const std::string& what) {
  check(actual.size() == expected.size(), what + ": size");
  double worst = 0.0;
  for (size_t i = 0; i < actual.size() && i < expected.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (!(error <= worst)) worst = error;  // a NaN stays
  }
  check(worst <= tolerance, what + ": error " + std::to_string(worst));
}

inline std::vector<float> random_floats(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

// Outputs start as NaN, so that an element that is never written is found.
inline std::vector<float> poisoned(size_t count) {
  return std::vector<float>(count, std::numeric_limits<float>::quiet_NaN());
}

inline int report(const char* name) {
  std::printf("%s: %s\n", name, num_failures() == 0 ? "all checks hold" : "FAILED");
  return num_failures() == 0 ? 0 : 1;
}

}  // namespace zen::test
