// Attention of every instruction set here against double precision, in fp32 and in shorts. Inputs
// and outputs are heap blocks of exactly their size, so the address sanitizer sees one float too
// many.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "cpu_isa.h"
#include "kernels.h"
#include "ops.h"

namespace zen::test {
namespace {

struct AttentionCase {
  std::vector<int> lengths;
  int num_heads, head_dim, window;
  bool one_row_each, relative;
  int num_kv_heads = 0;  // 0 for num_heads
  bool causal = false;
  float cap = 0.0f;
  std::vector<int> prefix_lengths = {};  // none, or one for each sequence
  std::vector<int> head_lengths = {};    // the same
  bool position_bias = false;
  bool in_shorts = false;
};

void test_attention(const Kernels& kernels, const AttentionCase& c) {
  std::vector<int32_t> cu_seqlens{0};
  for (const int length : c.lengths) cu_seqlens.push_back(cu_seqlens.back() + length);
  const int width = c.num_heads * c.head_dim, num_tokens = cu_seqlens.back();
  const int num_kv_heads = c.num_kv_heads > 0 ? c.num_kv_heads : c.num_heads;
  const int group = c.num_heads / num_kv_heads, kv_width = num_kv_heads * c.head_dim;
  const int num_sequences = static_cast<int>(c.lengths.size());
  const int num_queries = c.one_row_each ? num_sequences : num_tokens;
  const auto matrix = [&](int rows, int columns, unsigned seed) {
    return random_floats(static_cast<size_t>(rows) * columns, seed);
  };
  const std::vector<float> query = matrix(num_queries, width, 1);
  const std::vector<float> key = matrix(num_tokens, kv_width, 2);
  const std::vector<float> value = matrix(num_tokens, kv_width, 3);

  // Each prefix in a block of its own, its keys and values behind those of another layer.
  const int prefix_stride = 4 * kv_width, prefix_column = 2 * kv_width;
  std::vector<std::vector<float>> prefix_rows;
  std::vector<Prefix> prefixes;
  int max_length = 0;
  for (int s = 0; s < num_sequences; ++s) {
    const int prefix_length = c.prefix_lengths.empty() ? 0 : c.prefix_lengths[s];
    prefix_rows.push_back(matrix(prefix_length, prefix_stride, 10 + static_cast<unsigned>(s)));
    prefixes.push_back({prefix_rows.back().data(), prefix_length});
    max_length = std::max(max_length, prefix_length + c.lengths[s]);
  }

  // Buckets as DeBERTa has them: the distance, clipped.
  const int num_buckets = 14;
  std::vector<int32_t> buckets;
  for (int d = 1 - max_length; d < max_length; ++d) {
    buckets.push_back(std::min(std::max(d + num_buckets / 2, 0), num_buckets - 1));
  }
  const std::vector<float> keys_table = matrix(num_buckets, width, 4),
                           queries_table = matrix(num_buckets, width, 5);
  const size_t head_size = kernels.packed_size(num_buckets, c.head_dim);
  AlignedFloats packed_keys(head_size * c.num_heads), packed_queries(head_size * c.num_heads);
  for (int head = 0; head < c.num_heads; ++head) {
    kernels.pack_gemm({keys_table.data() + head * c.head_dim, width}, num_buckets, c.head_dim,
                      packed_keys.data() + head * head_size);
    kernels.pack_gemm({queries_table.data() + head * c.head_dim, width}, num_buckets, c.head_dim,
                      packed_queries.data() + head * head_size);
  }

  std::vector<float> out = poisoned(static_cast<size_t>(num_queries) * width);
  AttentionArgs args{};
  args.query = {query.data(), width};
  args.key = {key.data(), kv_width};
  args.value = {value.data(), kv_width};
  args.out = {out.data(), width};
  args.cu_seqlens = cu_seqlens.data();
  args.max_keys = max_length;
  args.num_heads = c.num_heads;
  args.num_kv_heads = num_kv_heads;
  args.head_dim = c.head_dim;
  args.scale = 0.3f;
  args.cap = c.cap;
  args.causal = c.causal;
  args.window = c.window;
  args.one_row_each = c.one_row_each;
  args.in_shorts = c.in_shorts;
  args.prefixes = c.prefix_lengths.empty() ? nullptr : prefixes.data();
  args.prefix_column = prefix_column;
  args.prefix_stride = prefix_stride;
  if (c.relative) {
    args.relative_keys = packed_keys.data();
    args.relative_queries = packed_queries.data();
    args.bucket_of_distance = buckets.data() + max_length - 1;
    args.num_buckets = num_buckets;
  }
  const int num_offsets = 2 * max_length - 1;
  const std::vector<float> bias = matrix(c.num_heads, num_offsets, 6);
  if (c.position_bias) {
    args.position_bias = bias.data() + max_length - 1;
    args.position_bias_stride = num_offsets;
  }
  args.head_lengths = c.head_lengths.empty() ? nullptr : c.head_lengths.data();
  const bool reads_last = c.causal || args.head_lengths != nullptr;
  std::vector<float> scratch = poisoned(kernels.attention_scratch(args));
  kernels.attention(args, scratch.data(), 0, num_sequences * num_kv_heads);

  std::vector<double> expected(out.size(), 0.0);
  for (int s = 0; s < num_sequences; ++s) {
    const int begin = cu_seqlens[static_cast<size_t>(s)], prefix_length = prefixes[s].length;
    const int length = prefix_length + c.lengths[static_cast<size_t>(s)];
    const auto key_row = [&](int j) {
      return j < prefix_length ? prefixes[s].rows + j * prefix_stride + prefix_column
                               : key.data() + (begin + j - prefix_length) * kv_width;
    };
    const auto value_row = [&](int j) {
      return j < prefix_length ? prefixes[s].rows + j * prefix_stride + prefix_column + kv_width
                               : value.data() + (begin + j - prefix_length) * kv_width;
    };
    const auto dot = [&](const float* x, const float* y) {
      double sum = 0.0;
      for (int t = 0; t < c.head_dim; ++t) sum += static_cast<double>(x[t]) * y[t];
      return sum;
    };
    for (int row = 0; row < (c.one_row_each ? 1 : length - prefix_length); ++row) {
      const int query_row = c.one_row_each ? s : begin + row;
      const int i = !c.one_row_each ? prefix_length + row : reads_last ? length - 1 : 0;
      const int head_length = c.head_lengths.empty() ? 0 : c.head_lengths[static_cast<size_t>(s)];
      for (int h = 0; h < c.num_heads; ++h) {
        const int column = h * c.head_dim, kv_column = h / group * c.head_dim;
        const float* q = query.data() + query_row * width + column;
        std::vector<double> weights(static_cast<size_t>(length), 0.0);
        double total = 0.0;
        for (int j = 0; j < length; ++j) {
          if (c.window >= 0 && std::abs(i - j) > c.window) continue;
          if (c.causal && j > i) continue;
          if (i < head_length && j >= head_length) continue;
          double score = dot(q, key_row(j) + kv_column);
          if (c.relative) {
            const int bucket = buckets[static_cast<size_t>(i - j + max_length - 1)];
            score += dot(q, keys_table.data() + bucket * width + column);
            score += dot(key_row(j) + kv_column, queries_table.data() + bucket * width + column);
          }
          if (c.position_bias) score += bias[h * num_offsets + j - i + max_length - 1];
          score *= 0.3;
          if (c.cap > 0.0f) score = c.cap * std::tanh(score / c.cap);
          total += weights[static_cast<size_t>(j)] = std::exp(score);
        }
        for (int j = 0; j < length; ++j) {
          for (int t = 0; t < c.head_dim; ++t) {
            expected[static_cast<size_t>(query_row * width + column + t)] +=
                weights[static_cast<size_t>(j)] / total * value_row(j)[kv_column + t];
          }
        }
      }
    }
  }
  // In shorts a value of up to 4.5 is off by 2.7e-4, a score by about as much.
  check_close(out, expected, c.in_shorts ? 7e-4 : 2e-5,
              std::string(kernels.isa) + " attention heads " + std::to_string(c.num_heads) +
                  " window " + std::to_string(c.window) + " one row " +
                  std::to_string(c.one_row_each) + " relative " + std::to_string(c.relative) +
                  " causal " + std::to_string(c.causal) + " bias " +
                  std::to_string(c.position_bias) + " in shorts " + std::to_string(c.in_shorts) +
                  " heads of sequences " + std::to_string(c.head_lengths.size()));
}

// One head in shorts: what comes out of `length` keys for as many queries.
std::vector<float> short_attention(const Kernels& kernels, int length, int head_dim,
                                   const std::vector<float>& query, const std::vector<float>& key,
                                   const std::vector<float>& value) {
  const int32_t cu_seqlens[] = {0, length};
  std::vector<float> out = poisoned(query.size());
  AttentionArgs args{};
  args.query = {query.data(), head_dim};
  args.key = {key.data(), head_dim};
  args.value = {value.data(), head_dim};
  args.out = {out.data(), head_dim};
  args.cu_seqlens = cu_seqlens;
  args.max_keys = length;
  args.num_heads = args.num_kv_heads = 1;
  args.head_dim = head_dim;
  args.scale = 1.0f;
  args.window = -1;
  args.in_shorts = true;
  std::vector<float> scratch = poisoned(kernels.attention_scratch(args));
  kernels.attention(args, scratch.data(), 0, 1);
  return out;
}

// Every product as large as it can be: a sum that overflowed would come out far off.
void test_short_extremes(const Kernels& kernels) {
  for (const int head_dim : {1, 2, 31, 32, 33, 64, 100, 128, 256}) {
    for (const int length : {1, 2, 75, 200, 1023, 1024}) {
      if (length > 1000 && head_dim > 2) continue;  // the weights' sum knows no head_dim
      const size_t size = static_cast<size_t>(length) * head_dim;
      for (const float magnitude : {1e-12f, 1.0f, 1e12f}) {
        const std::vector<float> all(size, magnitude), opposite(size, -magnitude);
        const std::string what = std::string(kernels.isa) + " attention in shorts of " +
                                 std::to_string(length) + " keys x " + std::to_string(head_dim) +
                                 ", all " + std::to_string(magnitude);
        for (const auto& [query, key] : {std::pair{all, all}, std::pair{all, opposite}}) {
          const std::vector<float> out =
              short_attention(kernels, length, head_dim, query, key, opposite);
          double worst = 0.0;
          for (const float x : out) worst = std::max(worst, std::abs(x / -double{magnitude} - 1));
          check(worst < 1e-3, what + ": off by " + std::to_string(worst));
        }
      }
    }
  }
}

// One key has all the weight; what the others hold is not mixed in.
void test_short_single_key(const Kernels& kernels) {
  const int length = 300, head_dim = 24, best = 211;
  std::vector<float> query(static_cast<size_t>(length) * head_dim, 1.0f);
  std::vector<float> key(query.size(), 0.0f), value = random_floats(query.size(), 7);
  for (int t = 0; t < head_dim; ++t) key[static_cast<size_t>(best) * head_dim + t] = 2.0f;
  const std::vector<float> out = short_attention(kernels, length, head_dim, query, key, value);
  const float largest = *std::max_element(value.begin(), value.end());
  double worst = 0.0;
  for (int i = 0; i < length * head_dim; ++i) {
    const double expected = value[static_cast<size_t>(best) * head_dim + i % head_dim];
    worst = std::max(worst, std::abs(out[static_cast<size_t>(i)] - expected));
  }
  check(worst < largest / 8000, std::string(kernels.isa) + " attention in shorts to one key");
}

void test_short_special_values(const Kernels& kernels) {
  const int length = 20, head_dim = 8;
  const std::vector<float> fine = random_floats(length * head_dim, 8);
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    for (int which = 0; which < 3; ++which) {
      std::vector<float> inputs[] = {fine, fine, fine};
      inputs[which][37] = bad;
      const std::vector<float> out =
          short_attention(kernels, length, head_dim, inputs[0], inputs[1], inputs[2]);
      check(std::none_of(out.begin(), out.end(), [](float x) { return std::isfinite(x); }),
            std::string(kernels.isa) + " attention in shorts: " + std::to_string(bad) +
                " is never hidden");
    }
  }
}

void test_all(const Kernels& kernels) {
  std::printf("attention: %s\n", kernels.isa);
  for (const bool relative : {false, true}) {
    for (const bool one_row_each : {false, true}) {
      for (const int window : {-1, 0, 3, 40}) {
        for (const bool in_shorts : {false, true}) {
          AttentionCase plain{{1, 2, 17, 64, 3, 101}, 3, 16, window, one_row_each, relative};
          plain.in_shorts = in_shorts;
          test_attention(kernels, plain);
          AttentionCase odd{{33, 1}, 1, 21, window, one_row_each, relative};
          odd.in_shorts = in_shorts;
          test_attention(kernels, odd);
        }
      }
    }
  }
  for (const bool one_row_each : {false, true}) {
    for (const int window : {-1, 0, 5, 40}) {
      for (const float cap : {0.0f, 1.5f}) {
        test_attention(
            kernels,
            {{1, 2, 17, 64, 3, 101}, 6, 10, window, one_row_each, false, 2, true, cap, {}});
        test_attention(kernels, {{1, 7, 33, 1, 50},
                                 3,
                                 16,
                                 window,
                                 one_row_each,
                                 false,
                                 1,
                                 true,
                                 cap,
                                 {0, 1, 5, 90, 64}});
      }
    }
  }
  for (const bool one_row_each : {false, true}) {
    for (const int window : {-1, 5}) {
      AttentionCase heads{{1, 2, 17, 64, 3, 101}, 3, 16, window, one_row_each, false};
      heads.head_lengths = {0, 1, 9, 64, 0, 40};
      test_attention(kernels, heads);
      heads.head_lengths = {0, 1, 9, 0, 0, 40};
      heads.prefix_lengths = {3, 0, 0, 7, 90, 0};
      test_attention(kernels, heads);
      AttentionCase biased{{1, 2, 17, 64, 3, 101}, 3, 16, window, one_row_each, false};
      biased.position_bias = true;
      test_attention(kernels, biased);
      biased.in_shorts = true;
      test_attention(kernels, biased);
    }
  }
  test_attention(kernels, {{300, 9}, 2, 8, -1, false, false, 1, true, 0.0f, {500, 700}});
  // Long enough for several query blocks of several sizes.
  test_attention(kernels, {{1000, 680}, 1, 8, -1, false, false});
  test_attention(kernels, {{1000, 680}, 1, 8, 64, false, false});
  // In shorts, one that is too long for them beside others; heads that share their keys; a cap.
  AttentionCase lengths{{1024, 1025, 680, 3}, 4, 32, -1, false, false, 2, false, 1.5f};
  lengths.in_shorts = true;
  test_attention(kernels, lengths);
  test_short_extremes(kernels);
  test_short_single_key(kernels);
  test_short_special_values(kernels);
}

}  // namespace
}  // namespace zen::test

int main() {
  for (const zen::Kernels* kernels : zen::available_kernels()) zen::test::test_all(*kernels);
  return zen::test::report("attention_test");
}
