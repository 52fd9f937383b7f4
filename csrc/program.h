// A recorded encoder: slots and ops in order, replayed depth-first over packed batches.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels.h"
#include "ops.h"
#include "thread_team.h"

namespace zen {

struct Batch {
  const int32_t* token_ids;       // (num_tokens,)
  const int32_t* token_type_ids;  // (num_tokens,)
  const int32_t* position_ids;    // (num_tokens,)
  const int32_t* cu_seqlens;      // (num_sequences + 1,)
  int num_tokens, num_sequences;
  // What causal sequences continue, and where their own keys and values go: see Chunk.
  const Prefix* prefixes;
  float* const* kept;
  ptrdiff_t kv_stride;
};

// Distance between the rows of a slot that holds `width` columns, in floats.
int row_stride(int width);

// Consecutive sequences [first, last) of a batch.
struct SequenceRange {
  int first, last;
};

class Program {
 public:
  // `max_length` bounds every sequence; the ids are bounded by the embedding tables' rows.
  Program(const Kernels& kernels, int num_threads, int max_length);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const Kernels& kernels() const { return kernels_; }
  int max_length() const { return max_length_; }

  // A place `offset` floats per row into the axis's arena; slots may overlap in turn, never at
  // once.
  int add_slot(Axis axis, int offset, int width);
  void add(OpPtr op);

  // Fills logits (num_sequences, num_labels). Thread-safe; calls take turns, because each of them
  // already uses every thread of the team.
  void run(const Batch& batch, float* logits, int num_labels);

  // Nanoseconds spent in each op since the program was made, all threads together, without what
  // they waited for each other.
  std::vector<int64_t> op_nanoseconds() const;

 private:
  // One thread's working memory, kept between runs.
  struct Workspace {
    AlignedFloats arena, scratch;
    std::vector<float*> slot_data;
    std::vector<int32_t> cu_seqlens;
  };

  // What a run changes. A fork copies it in whatever state it is, without the threads: the child
  // makes its own and leaves the copy alone.
  struct Runtime {
    explicit Runtime(int num_threads);
    const int process;
    std::mutex mutex;
    ThreadTeam team;
    std::vector<Workspace> workspaces;  // one per thread
  };

  Runtime& own_runtime();

  Chunk prepare(const Batch& batch, SequenceRange range, float* logits, int num_labels,
                Workspace& workspace) const;
  void reserve_scratch(const Chunk& chunk, const Memory& memory, Workspace& workspace) const;
  void run_alone(const Chunk& chunk, Workspace& workspace) const;
  void run_together(const Chunk& chunk, Runtime& runtime) const;
  void run_op(size_t index, const Chunk& chunk, const Memory& memory, int first, int last) const;

  const Kernels& kernels_;
  const int num_threads_;
  const int max_length_;
  std::vector<Slot> slots_;
  std::vector<OpPtr> ops_;
  mutable std::deque<std::atomic<int64_t>> op_nanoseconds_;  // atomics cannot move, so no vector
  std::atomic<Runtime*> runtime_;
};

// Cuts a batch into chunks of whole sequences, each near the size whose activations fit the cache,
// and as many as a multiple of `num_threads` so that threads end together.
std::vector<SequenceRange> cut_into_chunks(const Batch& batch, int num_threads);

}  // namespace zen
