#include "ops.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace zen {

AlignedFloats::AlignedFloats(size_t count) : size_(count) {
  constexpr size_t kAlignment = 64;
  const size_t bytes = (count * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
  float* data = static_cast<float*>(std::aligned_alloc(kAlignment, std::max(bytes, kAlignment)));
  if (data == nullptr) throw std::bad_alloc();
  data_.reset(data);
}

void AlignedFloats::Free::operator()(float* p) const { std::free(p); }

namespace {

// Ops whose items are the rows of their output.
class RowwiseOp : public Op {
 public:
  RowwiseOp(const Kernels* kernels, View x, View out) : kernels_(kernels), x_(x), out_(out) {}
  int num_items(const Chunk& chunk, const Memory& memory) const override {
    return num_rows(chunk, memory.axis(out_));
  }

 protected:
  const Kernels* kernels_;
  View x_, out_;
};

class Embed final : public RowwiseOp {
 public:
  Embed(const Kernels& kernels, std::vector<EmbeddingSource> sources, View out)
      : RowwiseOp(&kernels, out, out), sources_(std::move(sources)) {}

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    std::vector<EmbeddingTable> tables;
    for (const EmbeddingSource& source : sources_) {
      tables.push_back({source.rows, source.is_half, ids(chunk, source.kind), source.scale});
    }
    kernels_->embed(tables.data(), static_cast<int>(tables.size()), out_.width, memory.write(out_),
                    first, last);
  }

 private:
  static const int32_t* ids(const Chunk& chunk, IdKind kind) {
    switch (kind) {
      case IdKind::kToken:
        return chunk.token_ids;
      case IdKind::kPosition:
        return chunk.position_ids;
      case IdKind::kTokenType:
        break;
    }
    return chunk.token_type_ids;
  }

  std::vector<EmbeddingSource> sources_;
};

class Linear final : public Op {
 public:
  Linear(const Kernels& kernels, View x, View out, const float* weight, const float* bias,
         Activation activation, View residual)
      : kernels_(kernels), x_(x), out_(out), residual_(residual), activation_(activation) {
    packed_ = AlignedFloats(kernels.packed_size(out.width, x.width));
    kernels.pack_gemm({weight, x.width}, out.width, x.width, packed_.data());
    if (bias != nullptr) bias_.assign(bias, bias + out.width);
  }

  int num_items(const Chunk&, const Memory&) const override {
    return (out_.width + kernels_.panel_width - 1) / kernels_.panel_width;
  }

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    GemmArgs args{};
    args.a = memory.read(x_);
    args.packed = packed_.data();
    args.panel_stride = static_cast<ptrdiff_t>(kernels_.panel_width) * x_.width;
    args.bias = bias_.empty() ? nullptr : bias_.data();
    if (residual_.width > 0) args.residual = memory.read(residual_);
    args.c = memory.write(out_);
    args.m = num_rows(chunk, memory.axis(out_));
    args.n = out_.width;
    args.k = x_.width;
    args.activation = activation_;
    kernels_.gemm(args, first, last);
  }

 private:
  const Kernels& kernels_;
  View x_, out_, residual_;
  Activation activation_;
  AlignedFloats packed_;
  std::vector<float> bias_;
};

class Norm final : public RowwiseOp {
 public:
  Norm(const Kernels& kernels, View x, View out, const NormWeights& norm, View residual)
      : RowwiseOp(&kernels, x, out),
        residual_(residual),
        weight_(norm.weight, norm.weight + norm.width),
        eps_(norm.eps),
        centred_(norm.centred) {
    if (norm.bias != nullptr) bias_.assign(norm.bias, norm.bias + norm.width);
  }

  void run(const Chunk&, const Memory& memory, int first, int last) const override {
    NormArgs args{};
    args.x = memory.read(x_);
    args.out = memory.write(out_);
    if (residual_.width > 0) args.residual = memory.read(residual_);
    args.weight = weight_.data();
    args.bias = bias_.empty() ? nullptr : bias_.data();
    args.width = static_cast<int>(weight_.size());
    args.num_parts = x_.width / args.width;
    args.eps = eps_;
    args.centred = centred_;
    kernels_->norm(args, first, last);
  }

 private:
  View residual_;
  std::vector<float> weight_, bias_;
  float eps_;
  bool centred_;
};

class Gate final : public RowwiseOp {
 public:
  Gate(const Kernels& kernels, View x, View out, Activation activation, bool activate_first)
      : RowwiseOp(&kernels, x, out), activation_(activation), activate_first_(activate_first) {}

  void run(const Chunk&, const Memory& memory, int first, int last) const override {
    kernels_->gate(memory.read(x_), memory.write(out_), out_.width, activation_, activate_first_,
                   first, last);
  }

 private:
  Activation activation_;
  bool activate_first_;
};

class Rotary final : public RowwiseOp {
 public:
  Rotary(const Kernels& kernels, View x, View out, int num_heads,
         std::shared_ptr<const RotaryTables> tables)
      : RowwiseOp(&kernels, x, out), num_heads_(num_heads), tables_(std::move(tables)) {}

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    const int32_t* positions = chunk.position_ids;
    std::vector<int32_t> last_positions;
    if (memory.axis(out_) == Axis::kSequences) {
      for (int sequence = 0; sequence < chunk.num_sequences; ++sequence) {
        last_positions.push_back(positions[chunk.cu_seqlens[sequence + 1] - 1]);
      }
      positions = last_positions.data();
    }
    kernels_->rotary(memory.read(x_), memory.write(out_), tables_->cosines.data(),
                     tables_->sines.data(), positions, num_heads_, out_.width / num_heads_, first,
                     last);
  }

 private:
  int num_heads_;
  std::shared_ptr<const RotaryTables> tables_;
};

class Attention final : public Op {
 public:
  Attention(const Kernels& kernels, View query, View key, View value, View out,
            const AttentionPattern& pattern, const RelativeTables& relative,
            const PositionBias& bias)
      : kernels_(kernels),
        query_(query),
        key_(key),
        value_(value),
        out_(out),
        pattern_(pattern),
        num_buckets_(relative.num_buckets),
        bucket_of_distance_(relative.bucket_of_distance),
        num_offsets_(bias.num_offsets) {
    if (bias.rows != nullptr) {
      position_bias_.assign(bias.rows, bias.rows + ptrdiff_t{pattern.num_heads} * num_offsets_);
    }
    relative_keys_ = pack_heads(relative.keys);
    relative_queries_ = pack_heads(relative.queries);
  }

  int num_items(const Chunk& chunk, const Memory&) const override {
    return chunk.num_sequences * pattern_.num_kv_heads;
  }

  size_t scratch_floats(const Chunk& chunk, const Memory& memory) const override {
    return kernels_.attention_scratch(arguments(chunk, memory));
  }

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    kernels_.attention(arguments(chunk, memory), memory.scratch, first, last);
    if (chunk.kept == nullptr) return;
    for (int item = first; item < last; ++item) {
      keep(chunk, memory, item / pattern_.num_kv_heads, item % pattern_.num_kv_heads);
    }
  }

 private:
  int head_dim() const { return out_.width / pattern_.num_heads; }
  // In a row of every layer's keys and values.
  ptrdiff_t key_column() const { return 2 * ptrdiff_t{pattern_.layer} * key_.width; }

  void keep(const Chunk& chunk, const Memory& memory, int sequence, int kv_head) const {
    const size_t num_bytes = sizeof(float) * static_cast<size_t>(head_dim());
    const ptrdiff_t column = ptrdiff_t{kv_head} * head_dim();
    float* kept = chunk.kept[sequence] + key_column() + column;
    for (int row = chunk.cu_seqlens[sequence]; row < chunk.cu_seqlens[sequence + 1]; ++row) {
      std::memcpy(kept, memory.read(key_).row(row) + column, num_bytes);
      std::memcpy(kept + key_.width, memory.read(value_).row(row) + column, num_bytes);
      kept += chunk.kv_stride;
    }
  }

  AlignedFloats pack_heads(const float* table) const {
    if (table == nullptr) return {};
    const size_t head_size = kernels_.packed_size(num_buckets_, head_dim());
    AlignedFloats packed(head_size * static_cast<size_t>(pattern_.num_heads));
    for (int head = 0; head < pattern_.num_heads; ++head) {
      kernels_.pack_gemm({table + head * head_dim(), out_.width}, num_buckets_, head_dim(),
                         packed.data() + static_cast<size_t>(head) * head_size);
    }
    return packed;
  }

  AttentionArgs arguments(const Chunk& chunk, const Memory& memory) const {
    AttentionArgs args{};
    args.query = memory.read(query_);
    args.key = memory.read(key_);
    args.value = memory.read(value_);
    args.out = memory.write(out_);
    args.cu_seqlens = chunk.cu_seqlens;
    args.max_keys = chunk.max_keys;
    args.num_heads = pattern_.num_heads;
    args.num_kv_heads = pattern_.num_kv_heads;
    args.head_dim = head_dim();
    args.scale = pattern_.scale;
    args.cap = pattern_.cap;
    args.causal = pattern_.causal;
    if (pattern_.query_independent) args.head_lengths = chunk.head_lengths;
    args.window = pattern_.window;
    args.in_shorts = pattern_.in_shorts;
    args.prefixes = chunk.prefixes;
    args.prefix_column = key_column();
    args.prefix_stride = chunk.kv_stride;
    args.one_row_each = memory.axis(query_) == Axis::kSequences;
    args.relative_keys = relative_keys_.data();
    args.relative_queries = relative_queries_.data();
    args.num_buckets = num_buckets_;
    if (!bucket_of_distance_.empty()) {
      args.bucket_of_distance = bucket_of_distance_.data() + bucket_of_distance_.size() / 2;
    }
    if (!position_bias_.empty()) {
      args.position_bias = position_bias_.data() + num_offsets_ / 2;
      args.position_bias_stride = num_offsets_;
    }
    return args;
  }

  const Kernels& kernels_;
  View query_, key_, value_, out_;
  AttentionPattern pattern_;
  int num_buckets_;
  std::vector<int32_t> bucket_of_distance_;
  int num_offsets_;
  std::vector<float> position_bias_;
  AlignedFloats relative_keys_, relative_queries_;
};

class TokenPool final : public RowwiseOp {
 public:
  TokenPool(View x, View out, bool last) : RowwiseOp(nullptr, x, out), last_(last) {}

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    for (int sequence = first; sequence < last; ++sequence) {
      const int token = last_ ? chunk.cu_seqlens[sequence + 1] - 1 : chunk.cu_seqlens[sequence];
      std::memcpy(memory.write(out_).row(sequence), memory.read(x_).row(token),
                  sizeof(float) * static_cast<size_t>(x_.width));
    }
  }

 private:
  bool last_;
};

class MeanPool final : public RowwiseOp {
 public:
  using RowwiseOp::RowwiseOp;

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    kernels_->mean_pool(memory.read(x_), memory.write(out_), chunk.cu_seqlens, x_.width, first,
                        last);
  }
};

class Neighbours final : public RowwiseOp {
 public:
  Neighbours(View x, View out, int count) : RowwiseOp(nullptr, x, out), count_(count) {}

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    const size_t row_bytes = sizeof(float) * static_cast<size_t>(x_.width);
    const int32_t* end_of_sequence =
        std::upper_bound(chunk.cu_seqlens, chunk.cu_seqlens + chunk.num_sequences, first);
    for (int token = first; token < last; ++token) {
      if (token >= *end_of_sequence) ++end_of_sequence;
      const int begin = end_of_sequence[-1], end = end_of_sequence[0];
      for (int n = 0; n < count_; ++n) {
        const int neighbour = token + n - count_ / 2;
        float* target = memory.write(out_).row(token) + static_cast<ptrdiff_t>(n) * x_.width;
        if (neighbour >= begin && neighbour < end) {
          std::memcpy(target, memory.read(x_).row(neighbour), row_bytes);
        } else {
          std::memset(target, 0, row_bytes);
        }
      }
    }
  }

 private:
  int count_;
};

class Output final : public RowwiseOp {
 public:
  explicit Output(View x) : RowwiseOp(nullptr, x, x) {}

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    for (int sequence = first; sequence < last; ++sequence) {
      std::memcpy(chunk.logits + static_cast<ptrdiff_t>(sequence) * x_.width,
                  memory.read(x_).row(sequence), sizeof(float) * static_cast<size_t>(x_.width));
    }
  }
};

}  // namespace

OpPtr make_embed(const Kernels& kernels, std::vector<EmbeddingSource> sources, View out) {
  return std::make_unique<Embed>(kernels, std::move(sources), out);
}

OpPtr make_linear(const Kernels& kernels, View x, View out, const float* weight, const float* bias,
                  Activation activation, View residual) {
  return std::make_unique<Linear>(kernels, x, out, weight, bias, activation, residual);
}

OpPtr make_norm(const Kernels& kernels, View x, View out, const NormWeights& norm, View residual) {
  return std::make_unique<Norm>(kernels, x, out, norm, residual);
}

OpPtr make_gate(const Kernels& kernels, View x, View out, Activation activation,
                bool activate_first) {
  return std::make_unique<Gate>(kernels, x, out, activation, activate_first);
}

RotaryTables::RotaryTables(const std::vector<double>& inverse_frequencies, int max_length) {
  cosines.reserve(static_cast<size_t>(max_length) * inverse_frequencies.size());
  sines.reserve(cosines.capacity());
  for (int position = 0; position < max_length; ++position) {
    for (const double inverse_frequency : inverse_frequencies) {
      // The stock models take the product in fp32 before the cosine.
      const float angle = static_cast<float>(position) * static_cast<float>(inverse_frequency);
      cosines.push_back(std::cos(angle));
      sines.push_back(std::sin(angle));
    }
  }
}

OpPtr make_rotary(const Kernels& kernels, View x, View out, int num_heads,
                  std::shared_ptr<const RotaryTables> tables) {
  return std::make_unique<Rotary>(kernels, x, out, num_heads, std::move(tables));
}

OpPtr make_attention(const Kernels& kernels, View query, View key, View value, View out,
                     const AttentionPattern& pattern, const RelativeTables& relative,
                     const PositionBias& bias) {
  return std::make_unique<Attention>(kernels, query, key, value, out, pattern, relative, bias);
}

OpPtr make_token_pool(View x, View out, bool last) {
  return std::make_unique<TokenPool>(x, out, last);
}

OpPtr make_mean_pool(const Kernels& kernels, View x, View out) {
  return std::make_unique<MeanPool>(&kernels, x, out);
}

OpPtr make_neighbours(View x, View out, int count) {
  return std::make_unique<Neighbours>(x, out, count);
}

OpPtr make_output(View x) { return std::make_unique<Output>(x); }

}  // namespace zen
