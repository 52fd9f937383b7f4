// Softmax attention inside each packed sequence, one (sequence, kv head) at a time.
//
// Keys and values of the head, those of the sequence's prefix first, are packed into gemm panels,
// so both products run on a gemm's inner loop, in fp32 or in 16-bit whole numbers. A block of query
// rows keeps its whole rows of scores: no running rescale is needed, and a row of 512 scores is 2
// KiB. With a window only the keys that a block can see are touched.
#pragma once

#include <limits>

#include "attention_products.h"
#include "kernels.h"
#include "vec_math.h"

namespace zen::ZEN_ISA {

// Stands where a vector has no score: its weight is nothing beside the largest one's.
constexpr float kLowestScore = -std::numeric_limits<float>::infinity();

inline int query_block_rows(int max_keys) {
  constexpr int kMaxScores = 32 * 1024;
  const int rows = smaller(kMaxBlockRows, kMaxScores / larger(1, max_keys));
  return larger(kTileRows, rows / kTileRows * kTileRows);
}

// Where the parts of one head's scratch lie.
template <typename Products>
struct HeadScratch {
  Parts parts;
  Products products;
  int score_stride, bucket_stride;
  float* scores;         // (block_rows, score_stride)
  float* query_buckets;  // (block_rows, bucket_stride): query · relative keys
  float* key_buckets;    // (length, bucket_stride): key · relative queries

  HeadScratch(const AttentionArgs& args, int length, float* base)
      : parts(base),
        products(args, length, parts),
        score_stride(round_up_to_panel(length)),
        bucket_stride(round_up_to_panel(args.num_buckets)),
        scores(take_matrix(query_block_rows(args.max_keys), score_stride)),
        query_buckets(
            take_matrix(args.relative_keys ? query_block_rows(args.max_keys) : 0, bucket_stride)),
        key_buckets(take_matrix(args.relative_queries ? length : 0, bucket_stride)) {}

 private:
  float* take_matrix(int rows, int columns) {
    return parts.take(static_cast<size_t>(rows) * static_cast<size_t>(columns));
  }
};

template <typename Products>
inline size_t head_scratch_floats(const AttentionArgs& args, int num_keys) {
  return HeadScratch<Products>(args, num_keys, nullptr).parts.num_floats();
}

inline size_t attention_scratch(const AttentionArgs& args) {
  const size_t in_floats = head_scratch_floats<FloatProducts>(args, args.max_keys);
  if (!args.in_shorts) return in_floats;
  const size_t in_shorts =
      head_scratch_floats<ShortProducts>(args, smaller(args.max_keys, kMostShortKeys));
  return in_floats > in_shorts ? in_floats : in_shorts;
}

// The largest of `count` scores; any where one of them is NaN.
inline float largest_score(const float* scores, int count) {
  const Vec lowest = Vec::broadcast(kLowestScore);
  Vec largest = lowest, other = lowest;  // two chains: one would wait for its own latency
  int c = 0;
  for (; c + 2 * Vec::kLanes <= count; c += 2 * Vec::kLanes) {
    largest = max(largest, Vec::load(scores + c));
    other = max(other, Vec::load(scores + c + Vec::kLanes));
  }
  for_each_vector(count - c, [&](int rest, int lanes) {
    largest = max(largest, load_lanes(scores + c + rest, lanes, lowest));
  });
  return reduce_max(max(other, largest));
}

// The scores become exp(scale * (score - largest)); returns their sum. With kBounded no weight
// is above 1; without, a step less, what a large product is rounded by may lift one above.
template <bool kBounded>
inline float exponentiate(float* scores, int count, float largest, float scale) {
  const Vec factor = Vec::broadcast(scale * 1.44269504f);  // of 2^x for e^x
  const Vec top = Vec::broadcast(kBounded ? largest : 0.0f);
  const Vec shift = kBounded ? Vec::zero() : Vec::zero() - Vec::broadcast(largest) * factor;
  Vec sum = Vec::zero();
  for_each_vector(count, [&](int c, int lanes) {
    const Vec score = load_lanes(scores + c, lanes, Vec::broadcast(kLowestScore));
    const Vec weight = exp2(fma(score - top, factor, shift));
    store_lanes(weight, scores + c, lanes);
    sum = sum + weight;
  });
  return reduce_add(sum);
}

// One kv head of one sequence, and the heads that it serves. Keys are counted from the beginning of
// the prefix, and so are the places of queries.
template <typename Products>
class HeadAttention {
 public:
  HeadAttention(const AttentionArgs& args, float* scratch, int sequence, int kv_head)
      : args_(args),
        begin_(args.cu_seqlens[sequence]),
        prefix_(args.prefixes != nullptr ? args.prefixes[sequence] : Prefix{nullptr, 0}),
        length_(prefix_.length + args.cu_seqlens[sequence + 1] - begin_),
        kv_head_(kv_head),
        query_begin_(args.one_row_each ? sequence : begin_),
        num_queries_(args.one_row_each ? 1 : length_ - prefix_.length),
        head_length_(own_head_length(sequence)),
        first_place_(args.causal || args.head_lengths != nullptr ? length_ - num_queries_ : 0),
        block_rows_(query_block_rows(args.max_keys)),
        scratch_(args, length_, scratch) {}

  void run() {
    const ptrdiff_t kv_width = ptrdiff_t{args_.num_kv_heads} * args_.head_dim;
    const ptrdiff_t column = ptrdiff_t{kv_head_} * args_.head_dim;
    if (prefix_.length == 0) {
      const auto row_of = [&](MatrixView x) {
        const MatrixView own{x.row(begin_) + column, x.ld};
        return [own](int row) { return own.row(row); };
      };
      scratch_.products.pack(row_of(args_.key), row_of(args_.value));
    } else {
      const auto row_of = [&](MatrixView own, ptrdiff_t prefix_column) {
        const float* prefix = prefix_.rows + prefix_column + column;
        return [=, this](int row) {
          return row < prefix_.length ? prefix + row * args_.prefix_stride
                                      : own.row(begin_ + row - prefix_.length) + column;
        };
      };
      scratch_.products.pack(row_of(args_.key, args_.prefix_column),
                             row_of(args_.value, args_.prefix_column + kv_width));
    }
    const int group = args_.num_heads / args_.num_kv_heads;
    for (int head = kv_head_ * group; head < (kv_head_ + 1) * group; ++head) {
      if (args_.relative_queries != nullptr) {  // DeBERTa: as many kv heads as heads, no prefix
        bucket_products(head, head_rows(head, args_.key, begin_), length_, args_.relative_queries,
                        scratch_.key_buckets);
      }
      scratch_.products.take_queries(head_rows(head, args_.query, query_begin_), num_queries_);
      for (int first = 0; first < num_queries_; first += block_rows_) {
        attend(head, first, smaller(first + block_rows_, num_queries_));
      }
    }
  }

 private:
  // Counted from the beginning of the prefix, as places are; 0 where the sequence has no head.
  int own_head_length(int sequence) const {
    const int length = args_.head_lengths != nullptr ? args_.head_lengths[sequence] : 0;
    return length > 0 ? prefix_.length + length : 0;
  }
  MatrixView head_rows(int head, MatrixView x, int row) const {
    return {x.row(row) + ptrdiff_t{head} * args_.head_dim, x.ld};
  }

  int first_key(int place) const { return args_.window < 0 ? 0 : larger(0, place - args_.window); }
  int end_key(int place) const {
    if (args_.causal) return place + 1;
    const int end = place < head_length_ ? head_length_ : length_;
    return args_.window < 0 || args_.window >= end - place ? end : place + args_.window + 1;
  }

  // Query rows [first, last) of the sequence.
  void attend(int head, int first, int last) {
    const int rows = last - first, place = first_place_ + first;
    const int key_begin = first_key(place) / kPanelWidth * kPanelWidth;
    const int key_end = end_key(place + rows - 1);
    const Block block{first, rows, key_begin, key_end};
    const MutableMatrixView block_scores{scratch_.scores, scratch_.score_stride};
    scratch_.products.score(block, block_scores);
    if (args_.relative_keys != nullptr) {
      bucket_products(head, head_rows(head, args_.query, query_begin_ + first), rows,
                      args_.relative_keys, scratch_.query_buckets);
    }

    // Two loops, so that while one row's maximum is being reduced the next row's begins.
    float largest[kMaxBlockRows], sums[kMaxBlockRows];
    for (int r = 0; r < rows; ++r) {
      float* scores = block_scores.row(r);
      const int begin = first_key(place + r), end = end_key(place + r);
      add_relative_scores(scores, r, place + r, begin, end);
      add_position_bias(scores, head, place + r, begin, end);
      if (args_.cap > 0.0f) cap_scores(scores + begin, end - begin);
      largest[r] = largest_score(scores + begin, end - begin);
    }
    for (int r = 0; r < rows; ++r) {
      float* scores = block_scores.row(r);
      const int begin = first_key(place + r), end = end_key(place + r);
      sums[r] = exponentiate<Products::kBoundedWeights>(scores + begin, end - begin, largest[r],
                                                        args_.cap > 0.0f ? 1.0f : args_.scale);
      for (int key = key_begin; key < begin; ++key) scores[key] = 0.0f;
      for (int key = end; key < key_end; ++key) scores[key] = 0.0f;
    }

    const MutableMatrixView out{
        args_.out.row(query_begin_ + first) + ptrdiff_t{head} * args_.head_dim, args_.out.ld};
    scratch_.products.weigh(block, block_scores, sums, out);
  }

  // products (rows, padded_buckets) = x · tableᵀ for the buckets that this length can reach.
  void bucket_products(int head, MatrixView x, int rows, const float* table,
                       float* products) const {
    const int lowest = args_.bucket_of_distance[1 - length_];
    const int highest = args_.bucket_of_distance[length_ - 1];
    const float* head_table = table + head * ptrdiff_t{scratch_.bucket_stride} * args_.head_dim;
    plain_gemm(x, rows, args_.head_dim, head_table, ptrdiff_t{kPanelWidth} * args_.head_dim,
               {products, scratch_.bucket_stride}, scratch_.bucket_stride, lowest / kPanelWidth,
               highest / kPanelWidth + 1);
  }

  void cap_scores(float* scores, int count) const {
    const Vec cap = Vec::broadcast(args_.cap), factor = Vec::broadcast(args_.scale / args_.cap);
    for_each_vector(count, [&](int c, int lanes) {
      store_lanes(cap * tanh(load_lanes(scores + c, lanes) * factor), scores + c, lanes);
    });
  }

  void add_relative_scores(float* scores, int block_row, int query, int begin, int end) const {
    const ptrdiff_t stride = scratch_.bucket_stride;
    if (args_.relative_keys != nullptr) {
      const float* products = scratch_.query_buckets + block_row * stride;
      for (int key = begin; key < end; ++key) {
        scores[key] += products[args_.bucket_of_distance[query - key]];
      }
    }
    if (args_.relative_queries != nullptr) {
      for (int key = begin; key < end; ++key) {
        scores[key] += scratch_.key_buckets[key * stride + args_.bucket_of_distance[query - key]];
      }
    }
  }

  void add_position_bias(float* scores, int head, int query, int begin, int end) const {
    if (args_.position_bias == nullptr) return;
    const float* bias = args_.position_bias + head * args_.position_bias_stride + begin - query;
    for_each_vector(end - begin, [&](int c, int lanes) {
      float* score = scores + begin + c;
      store_lanes(load_lanes(score, lanes) + load_lanes(bias + c, lanes), score, lanes);
    });
  }

  const AttentionArgs& args_;
  int begin_;
  Prefix prefix_;
  int length_, kv_head_, query_begin_, num_queries_;
  int head_length_;
  int first_place_;  // of the first query row
  int block_rows_;
  HeadScratch<Products> scratch_;
};

inline void attention(const AttentionArgs& args, float* scratch, int first_item, int last_item) {
  for (int item = first_item; item < last_item; ++item) {
    const int sequence = item / args.num_kv_heads, kv_head = item % args.num_kv_heads;
    const int num_keys = args.cu_seqlens[sequence + 1] - args.cu_seqlens[sequence];
    if (args.in_shorts && num_keys <= kMostShortKeys) {
      HeadAttention<ShortProducts>(args, scratch, sequence, kv_head).run();
    } else {
      HeadAttention<FloatProducts>(args, scratch, sequence, kv_head).run();
    }
  }
}

}  // namespace zen::ZEN_ISA
