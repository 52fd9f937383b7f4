// Kernels that treat each row by itself: embedding, norm, gate, rotary, mean pooling.
#pragma once

#include <cmath>

#include "activations.h"
#include "kernels.h"
#include "vec_math.h"

namespace zen::ZEN_ISA {

inline void prefetch_row(const EmbeddingTable& table, int id, int width) {
  constexpr ptrdiff_t kLineBytes = 64;
  const ptrdiff_t bytes = width * (table.is_half ? sizeof(uint16_t) : sizeof(float));
  const char* row = static_cast<const char*>(table.rows) + id * bytes;
  for (ptrdiff_t byte = 0; byte < bytes; byte += kLineBytes) __builtin_prefetch(row + byte);
}

inline void embed(const EmbeddingTable* tables, int num_tables, int width, MutableMatrixView out,
                  int first, int last) {
  constexpr int kTokensAhead = 2;
  for (int token = first; token < last; ++token) {
    for (int t = 0; t < num_tables && token + kTokensAhead < last; ++t) {
      prefetch_row(tables[t], tables[t].ids[token + kTokensAhead], width);
    }
    float* out_row = out.row(token);
    for_each_vector(width, [&](int column, int lanes) {
      Vec sum = Vec::zero();
      for (int t = 0; t < num_tables; ++t) {
        const ptrdiff_t offset = static_cast<ptrdiff_t>(tables[t].ids[token]) * width + column;
        const Vec scale = Vec::broadcast(tables[t].scale);
        if (tables[t].is_half) {
          const uint16_t* p = static_cast<const uint16_t*>(tables[t].rows) + offset;
          const bool whole = lanes == Vec::kLanes;
          sum = fma(whole ? Vec::load_half(p) : Vec::load_half_partial(p, lanes), scale, sum);
        } else {
          sum = fma(load_lanes(static_cast<const float*>(tables[t].rows) + offset, lanes), scale,
                    sum);
        }
      }
      store_lanes(sum, out_row + column, lanes);
    });
  }
}

inline float mean_of(const float* x, int width) {
  const auto add = [&](Vec sum, int c, int lanes) { return sum + load_lanes(x + c, lanes); };
  return sum_over_row(width, add) / static_cast<float>(width);
}

inline float inverse_deviation(const float* x, int width, float mean, float eps) {
  const Vec centre = Vec::broadcast(mean);
  const float squares = sum_over_row(width, [&](Vec sum, int c, int lanes) {
    const Vec centred = load_lanes(x + c, lanes, centre) - centre;
    return fma(centred, centred, sum);
  });
  return 1.0f / std::sqrt(squares / static_cast<float>(width) + eps);
}

// out = (x - mean) * factor * weight + bias + residual, for `width` columns from `column` on.
inline void write_normed(const NormArgs& args, int row, int column, float mean, float factor) {
  const float* x = args.x.row(row) + column;
  const float* residual = args.residual.data != nullptr ? args.residual.row(row) + column : nullptr;
  float* out = args.out.row(row) + column;
  for_each_vector(args.width, [&](int c, int lanes) {
    const Vec centred = load_lanes(x + c, lanes) - Vec::broadcast(mean);
    const Vec scaled = centred * Vec::broadcast(factor);
    const Vec shift = args.bias != nullptr ? load_lanes(args.bias + c, lanes) : Vec::zero();
    Vec normed = fma(scaled, load_lanes(args.weight + c, lanes), shift);
    if (residual != nullptr) normed = normed + load_lanes(residual + c, lanes);
    store_lanes(normed, out + c, lanes);
  });
}

// The mean first: the variance that needs one pass cancels where |mean| >> deviation.
inline void norm_parts(const NormArgs& args, int column, int first, int last) {
  float means[kRowsAtOnce] = {}, factors[kRowsAtOnce];
  for (int row = first; row < last && args.centred; ++row) {
    means[row - first] = mean_of(args.x.row(row) + column, args.width);
  }
  for (int row = first; row < last; ++row) {
    const float* x = args.x.row(row) + column;
    factors[row - first] = inverse_deviation(x, args.width, means[row - first], args.eps);
  }
  for (int row = first; row < last; ++row) {
    write_normed(args, row, column, means[row - first], factors[row - first]);
  }
}

inline void norm(const NormArgs& args, int first, int last) {
  for (int row = first; row < last; row += kRowsAtOnce) {
    for (int part = 0; part < args.num_parts; ++part) {
      norm_parts(args, part * args.width, row, smaller(row + kRowsAtOnce, last));
    }
  }
}

// out = f(first half) * second half, or first half * f(second half); `width` is the output's.
inline void gate(MatrixView x, MutableMatrixView out, int width, Activation activation,
                 bool activate_first, int first, int last) {
  with_activation(activation, [&](auto activate) {
    for (int row = first; row < last; ++row) {
      const float* activated = x.row(row) + (activate_first ? 0 : width);
      const float* linear = x.row(row) + (activate_first ? width : 0);
      float* out_row = out.row(row);
      for_each_vector(width, [&](int c, int lanes) {
        const Vec gated = activate(load_lanes(activated + c, lanes));
        store_lanes(gated * load_lanes(linear + c, lanes), out_row + c, lanes);
      });
    }
  });
}

inline void rotary(MatrixView x, MutableMatrixView out, const float* cosines, const float* sines,
                   const int32_t* positions, int num_heads, int head_dim, int first, int last) {
  const int half = head_dim / 2;
  for (int row = first; row < last; ++row) {
    const float* cosine = cosines + static_cast<ptrdiff_t>(positions[row]) * half;
    const float* sine = sines + static_cast<ptrdiff_t>(positions[row]) * half;
    for (int head = 0; head < num_heads; ++head) {
      const float* in = x.row(row) + head * head_dim;
      float* turned = out.row(row) + head * head_dim;
      for_each_vector(half, [&](int c, int lanes) {
        const Vec low = load_lanes(in + c, lanes), high = load_lanes(in + half + c, lanes);
        const Vec cos = load_lanes(cosine + c, lanes), sin = load_lanes(sine + c, lanes);
        store_lanes(low * cos - high * sin, turned + c, lanes);
        store_lanes(fma(high, cos, low * sin), turned + half + c, lanes);
      });
    }
  }
}

inline void mean_pool(MatrixView x, MutableMatrixView out, const int32_t* cu_seqlens, int width,
                      int first, int last) {
  for (int sequence = first; sequence < last; ++sequence) {
    const int begin = cu_seqlens[sequence], end = cu_seqlens[sequence + 1];
    const Vec inverse_length = Vec::broadcast(1.0f / static_cast<float>(end - begin));
    for_each_vector(width, [&](int c, int lanes) {
      Vec sum = Vec::zero();
      for (int token = begin; token < end; ++token) sum = sum + load_lanes(x.row(token) + c, lanes);
      store_lanes(sum * inverse_length, out.row(sequence) + c, lanes);
    });
  }
}

}  // namespace zen::ZEN_ISA
