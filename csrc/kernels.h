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

// Scores and weighted sums of one attention op over a chunk of packed sequences.
struct AttentionArgs {
  MatrixView query;       // (tokens, heads * head_dim), or (sequences, ...) with first_rows_only
  MatrixView key, value;  // (tokens, heads * head_dim)
  MutableMatrixView out;  // like query
  const int32_t* cu_seqlens;
  int max_seqlen;
  int num_heads, head_dim;
  float scale;
  int window;            // largest distance attended to, or -1 for no bound
  bool first_rows_only;  // the query's rows are the sequences' first tokens
  // DeBERTa: per head, packed (num_buckets, head_dim) tables, or null; see pack_gemm.
  const float* relative_keys;
  const float* relative_queries;
  const int32_t* bucket_of_distance;  // points at distance 0; index with i - j
  int num_buckets;
};

struct EmbeddingTable {
  const void* rows;  // (num_rows, width), fp32 or fp16
  bool is_half;
  const int32_t* ids;  // (tokens,)
};

struct Kernels {
  const char* isa;
  int panel_width;

  // Floats that packing (n, k) takes: n rounded up to whole panels.
  size_t (*packed_size)(int n, int k);
  // Packs b (n, k) for gemm.
  void (*pack_gemm)(MatrixView b, int n, int k, float* packed);
  void (*gemm)(const GemmArgs& args, int first_panel, int last_panel);

  // Floats of scratch that one call may need.
  size_t (*attention_scratch)(const AttentionArgs& args);
  // Item = sequence * num_heads + head.
  void (*attention)(const AttentionArgs& args, float* scratch, int first_item, int last_item);

  // The remaining kernels work on rows [first, last).
  void (*embed)(const EmbeddingTable* tables, int num_tables, int width, MutableMatrixView out,
                int first, int last);
  void (*layer_norm)(MatrixView x, MutableMatrixView out, const float* weight, const float* bias,
                     int width, float eps, int first, int last);
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
