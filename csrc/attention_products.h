// The two products of attention, queries with keys and weights with values, for one kv head of one
// sequence: in fp32, or in 16-bit whole numbers.
#pragma once

#include "gemm.h"
#include "kernels.h"
#include "short_products.h"
#include "vec_math.h"

namespace zen::ZEN_ISA {

// Rows of scores held at a time: a few tiles, while rows x length stays near 128 KiB of L2.
constexpr int kMaxBlockRows = 48;

inline int round_up_to_panel(int n) { return (n + kPanelWidth - 1) / kPanelWidth * kPanelWidth; }

// Packs rows (length, width), read as their transpose, for gemm: the values' side of the product.
template <typename Row>
inline void pack_transposed(Row row_at, int length, int width, float* packed) {
  for (int column = 0; column < width; column += kPanelWidth) {
    const int columns = smaller(kPanelWidth, width - column);
    for (int row = 0; row < length; ++row, packed += kPanelWidth) {
      const float* source = row_at(row) + column;
      for_each_vector(columns, [&](int c, int lanes) {
        store_lanes(load_lanes(source + c, lanes), packed + c, lanes);
      });
      for (int c = columns; c < kPanelWidth; ++c) packed[c] = 0.0f;
    }
  }
}

inline void plain_gemm(MatrixView a, int m, int k, const float* packed, ptrdiff_t panel_stride,
                       MutableMatrixView c, int n, int first_panel, int last_panel) {
  const GemmArgs args{a, packed, panel_stride,     nullptr, {nullptr, 0}, c, m,
                      n, k,      Activation::kNone};
  gemm(args, first_panel, last_panel);
}

// Hands out parts of a scratch, each on a cache line of its own where the whole begins on one.
class Parts {
 public:
  explicit Parts(float* base) : base_(base), next_(base) {}
  float* take(size_t count) {
    float* part = next_;
    next_ += (count + 15) / 16 * 16;
    return part;
  }
  size_t num_floats() const { return static_cast<size_t>(next_ - base_); }

 private:
  float* base_;
  float* next_;
};

// A block of query rows against keys [begin, end), which lie in whole panels from `begin` on.
struct Block {
  int first_query, rows;
  int begin, end;
};

// The two products of one kv head of one sequence, in fp32.
class FloatProducts {
 public:
  // Whether no weight may be above 1, not even by what it is rounded by.
  static constexpr bool kBoundedWeights = false;

  FloatProducts(const AttentionArgs& args, int length, Parts& parts)
      : head_dim_(args.head_dim),
        length_(length),
        keys_(parts.take(static_cast<size_t>(round_up_to_panel(length)) *
                         static_cast<size_t>(head_dim_))),
        values_(parts.take(packed_size(head_dim_, length))) {}

  template <typename KeyRow, typename ValueRow>
  void pack(KeyRow key_row, ValueRow value_row) {
    pack_rows(key_row, length_, head_dim_, keys_);
    pack_transposed(value_row, length_, head_dim_, values_);
  }

  // A head's, whose blocks come next.
  void take_queries(MatrixView query, int /*num_queries*/) { query_ = query; }

  void score(const Block& block, MutableMatrixView scores) const {
    plain_gemm({query_.row(block.first_query), query_.ld}, block.rows, head_dim_, keys_,
               ptrdiff_t{kPanelWidth} * head_dim_, scores, round_up_to_panel(length_),
               block.begin / kPanelWidth, round_up_to_panel(block.end) / kPanelWidth);
  }

  // out = each row's weights, over their sum, times the values.
  void weigh(const Block& block, MutableMatrixView weights, const float* sums,
             MutableMatrixView out) const {
    plain_gemm({weights.data + block.begin, weights.ld}, block.rows, block.end - block.begin,
               values_ + ptrdiff_t{block.begin} * kPanelWidth, ptrdiff_t{kPanelWidth} * length_,
               out, head_dim_, 0, round_up_to_panel(head_dim_) / kPanelWidth);
    for (int r = 0; r < block.rows; ++r) {
      const Vec inverse = Vec::broadcast(1.0f / sums[r]);
      float* out_row = out.row(r);
      for_each_vector(head_dim_, [&](int c, int lanes) {
        store_lanes(load_lanes(out_row + c, lanes) * inverse, out_row + c, lanes);
      });
    }
  }

 private:
  int head_dim_, length_;
  float* keys_;    // packed (length, head_dim)
  float* values_;  // packed (head_dim, length)
  MatrixView query_{nullptr, 0};
};

// The most keys whose weights keep 8 bits in a sum of 32 where all are alike.
constexpr int kMostShortKeys = 1024;

// The same with everything rounded to 16 bits, on grids of the sequence's own: a sum is exact and
// cannot overflow, whatever the numbers are.
class ShortProducts {
 public:
  static constexpr bool kBoundedWeights = true;

  ShortProducts(const AttentionArgs& args, int length, Parts& parts)
      : head_dim_(args.head_dim),
        length_(length),
        row_pairs_(num_pairs(head_dim_)),
        largest_factor_(largest_factor(head_dim_)),
        keys_(parts.take(static_cast<size_t>(round_up_to_panel(length)) *
                         static_cast<size_t>(row_pairs_))),
        values_(parts.take(packed_size(head_dim_, num_pairs(length)))),
        rows_(parts.take(static_cast<size_t>(round_up_to_panel(length)) *
                         static_cast<size_t>(row_pairs_))) {}

  template <typename KeyRow, typename ValueRow>
  void pack(KeyRow key_row, ValueRow value_row) {
    key_step_ = write_rows(key_row, length_);
    const int padded_length = round_up_to_panel(length_);  // packed faster than a panel's rest
    for (float* rest = short_row(length_); rest != short_row(padded_length); ++rest) *rest = 0.0f;
    with_head_width(head_dim_, [&](auto width) {
      const int pairs = num_pairs(width);
      const float* rows = rows_;
      const auto row_at = [=](int row) { return rows + ptrdiff_t{row} * pairs; };
      pack_rows(row_at, padded_length, pairs, keys_);
      const ShortGrid grid = short_grid(value_row, length_, width, kLargestValue);
      value_step_ = grid.step;
      pack_transposed_shorts(value_row, length_, width, grid.inverse, values_);
    });
  }

  void take_queries(MatrixView query, int num_queries) {
    query_step_ = write_rows([query](int row) { return query.row(row); }, num_queries);
  }

  void score(const Block& block, MutableMatrixView scores) const {
    float factors[kMaxBlockRows];
    for (int r = 0; r < block.rows; ++r) factors[r] = query_step_ * key_step_;
    short_gemm({short_row(block.first_query), row_pairs_}, block.rows, row_pairs_, keys_,
               ptrdiff_t{kPanelWidth} * row_pairs_, factors, scores, round_up_to_panel(length_),
               block.begin / kPanelWidth, round_up_to_panel(block.end) / kPanelWidth);
  }

  void weigh(const Block& block, MutableMatrixView weights, const float* sums,
             MutableMatrixView out) const {
    const int num_keys = block.end - block.begin;
    float factors[kMaxBlockRows];
    for (int r = 0; r < block.rows; ++r) {
      const float inverse = weight_inverse(sums[r]);
      float* row = weights.row(r) + block.begin;
      write_shorts(row, num_keys, Vec::broadcast(inverse), row);
      factors[r] = value_step_ / (inverse * sums[r]);
    }
    short_gemm({weights.data + block.begin, weights.ld}, block.rows, num_pairs(num_keys),
               values_ + ptrdiff_t{block.begin / 2} * kPanelWidth,
               ptrdiff_t{kPanelWidth} * num_pairs(length_), factors, out, head_dim_, 0,
               round_up_to_panel(head_dim_) / kPanelWidth);
  }

 private:
  // Values have 13 bits, which leaves 18 to the sum of a row's weights.
  static constexpr int kLargestValue = 8191;

  // The largest query or key of which head_dim products fit into a sum.
  static int largest_factor(int head_dim) {
    const int bound = kLargestSum / head_dim;
    int factor = static_cast<int>(__builtin_sqrtf(static_cast<float>(bound)));
    while (ptrdiff_t{factor} * factor > bound) --factor;
    while ((ptrdiff_t{factor} + 1) * (factor + 1) <= bound) ++factor;
    return smaller(kLargestShort, factor);
  }

  // What weights, of which none is above 1, are multiplied by. Each is rounded up by a half at
  // most, and their sum times the largest value stays below kLargestSum. The block does not count:
  // how rows are cut into blocks depends on other sequences.
  float weight_inverse(float sum) const {
    constexpr int kLargestWeights = kLargestSum / kLargestValue - 1;
    const float bound = static_cast<float>(kLargestWeights - length_) / sum;
    // A whole number, by which weights of 1 are not rounded: there may be many.
    return static_cast<float>(bound < kLargestShort ? static_cast<int>(bound) : kLargestShort);
  }

  float* short_row(int row) const { return rows_ + ptrdiff_t{row} * row_pairs_; }

  template <typename Row>
  float write_rows(Row row_at, int count) {
    float step = 0.0f;
    with_head_width(head_dim_, [&](auto width) {
      const ShortGrid grid = short_grid(row_at, count, width, largest_factor_);
      const Vec inverse = Vec::broadcast(grid.inverse);
      float* out = rows_;
      for (int row = 0; row < count; ++row, out += num_pairs(width)) {
        write_shorts(row_at(row), width, inverse, out);
      }
      step = grid.step;
    });
    return step;
  }

  int head_dim_, length_, row_pairs_, largest_factor_;
  float* keys_;    // packed (length, head_dim / 2)
  float* values_;  // packed (head_dim, length / 2)
  float* rows_;    // (length, head_dim / 2): the keys until they are packed, then the queries
  float key_step_ = 0.0f, value_step_ = 0.0f, query_step_ = 0.0f;
};

}  // namespace zen::ZEN_ISA
