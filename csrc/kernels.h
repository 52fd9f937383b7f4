// The kernel table: everything that is compiled once per instruction set.
//
// Matrices are row-major fp32; `ld` is the distance between rows in floats. Kernels take a range of
// independent work items, so that a caller can give the whole range to one thread or share it out.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zen {

enum class Activation { kNone, kGelu, kGeluTanh, kRelu, kSilu, kTanh };

struct MatrixView {
  const float* data;
  ptrdiff_t ld;
  const float* row(ptrdiff_t index) const { return data + index * ld; }
};

struct MutableMatrixView {
  float* data;
  ptrdiff_t ld;
  float* row(ptrdiff_t index) const { return data + index * ld; }
};

// c = activation(a · Bᵀ + bias) + residual, with B (n, k) packed into panels of `panel_width` rows.
struct GemmArgs {
  MatrixView a;            // (m, k)
  const float* packed;     // panel p holds rows [p * panel_width, ...) of B, k-major, zero-padded
  ptrdiff_t panel_stride;  // floats from one panel to the next
  const float* bias;       // (n,) or null
  MatrixView residual;     // (m, n), or null data
  MutableMatrixView c;     // (m, n)
  int m, n, k;
  Activation activation;
};

// A weight (n, k) of 8-bit values within +-63 and one scale per row: B ~ scales[row] * values[row].
struct QuantizedMatrix {
  const int8_t* values;
  const float* scales;
  int n, k;
};

// Rows of unsigned 8-bit activations, x ~ step * (value - zero), each row scaled by itself so that
// no row depends on another. A row is `k` bytes, padded to `quantized_row_bytes(k)`, then the two
// floats step and zero.
constexpr int quantized_row_bytes(int k) { return (k + 7) / 8 * 8; }
constexpr int quantized_row_floats(int k) { return quantized_row_bytes(k) / 4 + 2; }

// c = activation(a · Bᵀ + bias) + residual; a and B are quantized, the sums are exact.
struct QuantizedGemmArgs {
  MatrixView a;                // (m, quantized_row_floats(k))
  const uint8_t* packed;       // panels with their scales and biases
  const size_t* panel_starts;  // bytes into `packed`
  MatrixView residual;         // (m, n), or null data
  MutableMatrixView c;         // (m, n)
  int m, n, k;
  Activation activation;
};

// Tokens that come before a sequence's own: `length` rows of every layer's keys and values.
struct Prefix {
  const float* rows;
  int length;
};

// Scores and weighted sums of one attention op over a chunk of packed sequences.
struct AttentionArgs {
  MatrixView query;       // (tokens, heads * head_dim), or (sequences, ...) with one_row_each
  MatrixView key, value;  // (tokens, kv_heads * head_dim)
  MutableMatrixView out;  // like query
  const int32_t* cu_seqlens;
  int max_keys;  // of one sequence, its prefix included
  // Each kv head serves num_heads / num_kv_heads adjacent heads.
  int num_heads, num_kv_heads, head_dim;
  float scale;
  float cap;    // scaled scores become cap * tanh(score / cap); 0 for no cap
  bool causal;  // a token attends to none behind it
  int window;   // largest distance attended to, or -1 for no bound
  // (sequences,) or null: so many first tokens of each sequence see only each other.
  const int32_t* head_lengths;
  // The query's rows are the sequences' first tokens, or last ones where causal or with
  // head_lengths.
  bool one_row_each;
  // Queries, keys, values and weights are rounded to 16 bits for the two products, each sequence's
  // by itself, unless it is long. Neither causal nor with head_lengths: there a row must not depend
  // on keys that it does not see.
  bool in_shorts;
  // Causal or with head_lengths: (sequences,) or null. This layer's keys begin `prefix_column`
  // floats into each row, the values kv_heads * head_dim later; rows are `prefix_stride` floats
  // apart.
  const Prefix* prefixes;
  ptrdiff_t prefix_column, prefix_stride;
  // DeBERTa: per head, packed (num_buckets, head_dim) tables, or null; see pack_gemm.
  const float* relative_keys;
  const float* relative_queries;
  const int32_t* bucket_of_distance;  // points at distance 0; index with i - j
  int num_buckets;
  // T5: per head, rows `position_bias_stride` floats apart, or null; points at offset 0, index with
  // j - i.
  const float* position_bias;
  ptrdiff_t position_bias_stride;
};

struct EmbeddingTable {
  const void* rows;  // (num_rows, width), fp32 or fp16
  bool is_half;
  const int32_t* ids;  // (tokens,)
  float scale;         // factor on every row
};

// out = norm(x) + residual: each part of `width` columns by itself.
struct NormArgs {
  MatrixView x;           // (rows, num_parts * width)
  MutableMatrixView out;  // the same; may be x
  MatrixView residual;    // the same, or null data
  const float* weight;    // (width,)
  const float* bias;      // (width,) or null
  int width, num_parts;
  float eps;
  bool centred;  // LayerNorm; RMSNorm leaves the mean in
};

struct Kernels {
  const char* isa;
  int panel_width;

  // Floats that packing (n, k) takes: n rounded up to whole panels.
  size_t (*packed_size)(int n, int k);
  // Packs b (n, k) for gemm.
  void (*pack_gemm)(MatrixView b, int n, int k, float* packed);
  void (*gemm)(const GemmArgs& args, int first_panel, int last_panel);

  int quantized_panel_width;
  // Bytes that one packed panel takes at most.
  size_t (*quantized_panel_bound)(int k);
  // Packs rows [panel * width, ...) of b with their biases (or null); returns the bytes written,
  // a multiple of 64. `out` is 64-byte aligned.
  size_t (*pack_quantized_panel)(const QuantizedMatrix& b, const float* bias, int panel,
                                 uint8_t* out);
  void (*quantized_gemm)(const QuantizedGemmArgs& args, int first_panel, int last_panel);
  // Quantizes rows [first, last) of x, `width` columns each times input_scales (width,) or null.
  void (*quantize_rows)(MatrixView x, const float* input_scales, MutableMatrixView out, int width,
                        int first, int last);

  // Floats of scratch that one call may need.
  size_t (*attention_scratch)(const AttentionArgs& args);
  // Item = sequence * num_kv_heads + kv head.
  void (*attention)(const AttentionArgs& args, float* scratch, int first_item, int last_item);

  // The remaining kernels work on rows [first, last).
  void (*embed)(const EmbeddingTable* tables, int num_tables, int width, MutableMatrixView out,
                int first, int last);
  void (*norm)(const NormArgs& args, int first, int last);
  void (*gate)(MatrixView x, MutableMatrixView out, int width, Activation activation,
               bool activate_first, int first, int last);
  // cosines and sines: (positions, head_dim / 2); positions[row] picks the row of both.
  void (*rotary)(MatrixView x, MutableMatrixView out, const float* cosines, const float* sines,
                 const int32_t* positions, int num_heads, int head_dim, int first, int last);
  // Rows are sequences: the mean of each one's tokens.
  void (*mean_pool)(MatrixView x, MutableMatrixView out, const int32_t* cu_seqlens, int width,
                    int first, int last);
};

const Kernels& scalar_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_vnni_kernels();

}  // namespace zen
