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
      tables.push_back({source.rows, source.is_half, ids(chunk, source.kind)});
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

class LayerNorm final : public RowwiseOp {
 public:
  LayerNorm(const Kernels& kernels, View x, View out, const float* weight, const float* bias,
            float eps)
      : RowwiseOp(&kernels, x, out), weight_(weight, weight + x.width), eps_(eps) {
    if (bias != nullptr) bias_.assign(bias, bias + x.width);
  }

  void run(const Chunk&, const Memory& memory, int first, int last) const override {
    kernels_->layer_norm(memory.read(x_), memory.write(out_), weight_.data(),
                         bias_.empty() ? nullptr : bias_.data(), x_.width, eps_, first, last);
  }

 private:
  std::vector<float> weight_, bias_;
  float eps_;
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
    kernels_->rotary(memory.read(x_), memory.write(out_), tables_->cosines.data(),
                     tables_->sines.data(), chunk.row_in_sequence, num_heads_,
                     out_.width / num_heads_, first, last);
  }

 private:
  int num_heads_;
  std::shared_ptr<const RotaryTables> tables_;
};

class Attention final : public Op {
 public:
  Attention(const Kernels& kernels, View query, View key, View value, View out, int num_heads,
            float scale, int window, const RelativeTables& relative)
      : kernels_(kernels),
        query_(query),
        key_(key),
        value_(value),
        out_(out),
        window_(window),
        num_heads_(num_heads),
        scale_(scale),
        num_buckets_(relative.num_buckets),
        bucket_of_distance_(relative.bucket_of_distance) {
    relative_keys_ = pack_heads(relative.keys);
    relative_queries_ = pack_heads(relative.queries);
  }

  int num_items(const Chunk& chunk, const Memory&) const override {
    return chunk.num_sequences * num_heads_;
  }

  size_t scratch_floats(const Chunk& chunk, const Memory& memory) const override {
    return kernels_.attention_scratch(arguments(chunk, memory));
  }

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    kernels_.attention(arguments(chunk, memory), memory.scratch, first, last);
  }

 private:
  int head_dim() const { return out_.width / num_heads_; }

  AlignedFloats pack_heads(const float* table) const {
    if (table == nullptr) return {};
    const size_t head_size = kernels_.packed_size(num_buckets_, head_dim());
    AlignedFloats packed(head_size * static_cast<size_t>(num_heads_));
    for (int head = 0; head < num_heads_; ++head) {
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
    args.max_seqlen = chunk.max_seqlen;
    args.num_heads = num_heads_;
    args.head_dim = head_dim();
    args.scale = scale_;
    args.window = window_;
    args.first_rows_only = memory.axis(query_) == Axis::kSequences;
    args.relative_keys = relative_keys_.data();
    args.relative_queries = relative_queries_.data();
    args.num_buckets = num_buckets_;
    if (!bucket_of_distance_.empty()) {
      args.bucket_of_distance = bucket_of_distance_.data() + bucket_of_distance_.size() / 2;
    }
    return args;
  }

  const Kernels& kernels_;
  View query_, key_, value_, out_;
  int window_, num_heads_;
  float scale_;
  int num_buckets_;
  std::vector<int32_t> bucket_of_distance_;
  AlignedFloats relative_keys_, relative_queries_;
};

class FirstPool final : public RowwiseOp {
 public:
  FirstPool(View x, View out) : RowwiseOp(nullptr, x, out) {}

  void run(const Chunk& chunk, const Memory& memory, int first, int last) const override {
    for (int sequence = first; sequence < last; ++sequence) {
      std::memcpy(memory.write(out_).row(sequence), memory.read(x_).row(chunk.cu_seqlens[sequence]),
                  sizeof(float) * static_cast<size_t>(x_.width));
    }
  }
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

OpPtr make_layer_norm(const Kernels& kernels, View x, View out, const float* weight,
                      const float* bias, float eps) {
  return std::make_unique<LayerNorm>(kernels, x, out, weight, bias, eps);
}

OpPtr make_gate(const Kernels& kernels, View x, View out, Activation activation,
                bool activate_first) {
  return std::make_unique<Gate>(kernels, x, out, activation, activate_first);
}

RotaryTables::RotaryTables(const std::vector<double>& inverse_frequencies, int max_length) {
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
                     int num_heads, float scale, int window, const RelativeTables& relative) {
  return std::make_unique<Attention>(kernels, query, key, value, out, num_heads, scale, window,
                                     relative);
}

OpPtr make_first_pool(View x, View out) { return std::make_unique<FirstPool>(x, out); }

OpPtr make_mean_pool(const Kernels& kernels, View x, View out) {
  return std::make_unique<MeanPool>(&kernels, x, out);
}

OpPtr make_neighbours(View x, View out, int count) {
  return std::make_unique<Neighbours>(x, out, count);
}

OpPtr make_output(View x) { return std::make_unique<Output>(x); }

}  // namespace zen
