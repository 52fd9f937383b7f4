// The ops of a recorded program: what each reads, writes and keeps, and how its work divides.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"

namespace zen {

// Rows of a slot: one per token of the chunk, or one per sequence.
enum class Axis { kTokens, kSequences };

// A piece of its axis's arena: rows of `ld` floats, starting `offset` floats per row into it.
struct Slot {
  Axis axis;
  ptrdiff_t offset;
  ptrdiff_t ld;
};

// A range of a slot's columns.
struct View {
  int slot;
  int column;
  int width;
};

// The part of a batch that is carried through the whole program at once.
struct Chunk {
  const int32_t* token_ids;
  const int32_t* token_type_ids;
  const int32_t* position_ids;
  const int32_t* cu_seqlens;  // (num_sequences + 1,), starting at 0
  // (num_sequences,) or null; their rows are `kv_stride` floats apart
  const Prefix* prefixes;
  // (num_sequences,) or null: where each sequence's keys and values of every layer are kept, in
  // rows like a prefix's
  float* const* kept;
  ptrdiff_t kv_stride;
  const int32_t* head_lengths;  // (num_sequences,), see AttentionArgs
  int num_tokens, num_sequences;
  int first_token, first_sequence;  // in the batch
  int max_keys;                     // of one sequence, its prefix included
  float* logits;                    // (num_sequences, num_labels)
};

// A chunk's arena: where each slot begins, and one thread's scratch.
struct Memory {
  const Slot* slots;
  float* const* slot_data;
  float* scratch;

  MatrixView read(View view) const {
    return {slot_data[view.slot] + view.column, slots[view.slot].ld};
  }
  MutableMatrixView write(View view) const {
    return {slot_data[view.slot] + view.column, slots[view.slot].ld};
  }
  Axis axis(View view) const { return slots[view.slot].axis; }
};

inline int num_rows(const Chunk& chunk, Axis axis) {
  return axis == Axis::kTokens ? chunk.num_tokens : chunk.num_sequences;
}

class Op {
 public:
  virtual ~Op() = default;
  // Independent work items for this chunk; any split of them among threads gives the same result.
  virtual int num_items(const Chunk& chunk, const Memory& memory) const = 0;
  virtual void run(const Chunk& chunk, const Memory& memory, int first, int last) const = 0;
  // Floats of scratch that run() uses.
  virtual size_t scratch_floats(const Chunk&, const Memory&) const { return 0; }
};

using OpPtr = std::unique_ptr<Op>;

// 64-byte aligned floats: vector loads of packed weights never straddle cache lines.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(size_t count);
  float* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* p) const;
  };
  std::unique_ptr<float[], Free> data_;
  size_t size_ = 0;
};

enum class IdKind { kToken, kPosition, kTokenType };

struct EmbeddingSource {
  IdKind kind;
  const void* rows;  // kept alive by the caller
  bool is_half;
  float scale;
};

OpPtr make_embed(const Kernels& kernels, std::vector<EmbeddingSource> sources, View out);

// weight (out, in) and bias (out,) or null are copied; residual is absent when its width is 0.
OpPtr make_linear(const Kernels& kernels, View x, View out, const float* weight, const float* bias,
                  Activation activation, View residual);

// Rows of x, times input_scales (x.width,) or null, for quantized linear ops; out has
// quantized_row_floats(x.width) columns.
OpPtr make_quantize(const Kernels& kernels, View x, View out, const float* input_scales);

// x is what make_quantize wrote; weight and bias (weight.n,) or null are copied. Throws
// std::invalid_argument for values outside +-63 or more columns than 32-bit sums can hold.
OpPtr make_quantized_linear(const Kernels& kernels, View x, View out, const QuantizedMatrix& weight,
                            const float* bias, Activation activation, View residual);

// A norm of `width` columns; x has one or several such parts, each normed by itself.
struct NormWeights {
  const float* weight;  // (width,)
  const float* bias;    // (width,) or null
  int width;
  float eps;
  bool centred;
};

// The weights are copied; residual is absent when its width is 0.
OpPtr make_norm(const Kernels& kernels, View x, View out, const NormWeights& norm, View residual);

OpPtr make_gate(const Kernels& kernels, View x, View out, Activation activation,
                bool activate_first);

// Cosines and sines of every position's angles, (max_length, head_dim / 2) each.
struct RotaryTables {
  RotaryTables(const std::vector<double>& inverse_frequencies, int max_length);
  std::vector<float> cosines, sines;
};

// Rows of x are the tokens', or the sequences' last tokens'.
OpPtr make_rotary(const Kernels& kernels, View x, View out, int num_heads,
                  std::shared_ptr<const RotaryTables> tables);

struct RelativeTables {
  const float* keys = nullptr;     // (num_buckets, width) or null
  const float* queries = nullptr;  // (num_buckets, width) or null
  int num_buckets = 0;
  std::vector<int32_t> bucket_of_distance;  // (2 * max_length - 1,)
};

// What scores gain in each head for each offset j - i of a key from a query.
struct PositionBias {
  const float* rows = nullptr;  // (num_heads, num_offsets) or null
  int num_offsets = 0;          // 2 * max_length - 1
};

struct AttentionPattern {
  int layer;
  int num_heads, num_kv_heads;
  float scale, cap;
  bool causal, query_independent;
  int window;      // or -1
  bool in_shorts;  // see AttentionArgs
};

OpPtr make_attention(const Kernels& kernels, View query, View key, View value, View out,
                     const AttentionPattern& pattern, const RelativeTables& relative,
                     const PositionBias& bias);

// The first token's row of each sequence, or the last one's.
OpPtr make_token_pool(View x, View out, bool last);
OpPtr make_mean_pool(const Kernels& kernels, View x, View out);
OpPtr make_neighbours(View x, View out, int count);

// Copies the logits out of the arena.
OpPtr make_output(View x);

}  // namespace zen
