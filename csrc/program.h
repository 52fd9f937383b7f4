// A recorded encoder: slots and ops in order, replayed depth-first over packed batches.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
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
  // What sequences continue, and where their own keys and values go: see Chunk.
  const Prefix* prefixes;
  float* const* kept;
  ptrdiff_t kv_stride;
  const int32_t* head_lengths;  // (num_sequences,)
};

// Distance between the rows of a slot that holds `width` columns, in floats.
int row_stride(int width);

// Consecutive sequences [first, last) of a batch.
struct SequenceRange {
  int first, last;
};

// The part of the program that a run replays: from one pause, or the beginning, to another, or the
// end. Token states are (num_tokens, width of the paused view).
struct Stretch {
  static constexpr int kWhole = -1;
  int from_pause = kWhole;
  int to_pause = kWhole;
  const float* states = nullptr;  // those at from_pause
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

  // Marks the place after the ops so far: a run may stop here, when `states` (on the token axis) is
  // all that later ops read, and another run may continue from it. Returns the pause's index.
  int add_pause(View states);
  int num_pauses() const { return static_cast<int>(pauses_.size()); }
  int pause_width(int index) const { return pauses_[static_cast<size_t>(index)].width(); }

  // Marks the place after which ops know only rows of sequences, `rows` being all that they read of
  // what was there before: a chunk has so few that the ops are run for all chunks together.
  void begin_tail(std::vector<View> rows);

  // Fills out: logits (num_sequences, num_labels), or the states at stretch.to_pause. Thread-safe;
  // calls take turns, because each of them already uses every thread of the team.
  void run(const Batch& batch, float* out, int num_labels, const Stretch& stretch = {});

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
    AlignedFloats tail_rows;            // of the batch, at the tail's border
  };

  // A place between ops: what later ones read, all of one axis, and the first of them.
  struct Border {
    std::vector<View> views;
    size_t next_op;

    int width() const;
  };

  // From one border to another: what a run does with every chunk. Rows are the batch's, packed.
  struct Passage {
    const Border* from;  // null at the beginning
    const float* rows_in;
    const Border* to;  // null at the end
    float* rows_out;
  };

  Runtime& own_runtime();

  size_t first_op(const Passage& passage) const;
  size_t last_op(const Passage& passage) const;
  Chunk prepare(const Batch& batch, SequenceRange range, float* logits, int num_labels,
                Workspace& workspace) const;
  void reserve_scratch(const Chunk& chunk, const Memory& memory, Workspace& workspace) const;
  void run_alone(const Chunk& chunk, const Passage& passage, Workspace& workspace) const;
  void run_together(const Chunk& chunk, const Passage& passage, Runtime& runtime) const;
  // Each thread takes the next range until none is left.
  void deal_out(const Batch& batch, const std::vector<SequenceRange>& ranges,
                const Passage& passage, float* logits, int num_labels, Runtime& runtime) const;
  void load_rows(const Chunk& chunk, const Passage& passage, const Memory& memory) const;
  void store_rows(const Chunk& chunk, const Passage& passage, const Memory& memory) const;
  void run_op(size_t index, const Chunk& chunk, const Memory& memory, int first, int last) const;

  const Kernels& kernels_;
  const int num_threads_;
  const int max_length_;
  std::vector<Slot> slots_;
  std::vector<OpPtr> ops_;
  std::vector<Border> pauses_;
  std::optional<Border> tail_;
  mutable std::deque<std::atomic<int64_t>> op_nanoseconds_;  // atomics cannot move, so no vector
  std::atomic<Runtime*> runtime_;
};

// Cuts a batch into chunks of whole sequences, each near the size whose activations fit the cache,
// and as many as a multiple of `num_threads` so that threads end together.
std::vector<SequenceRange> cut_into_chunks(const Batch& batch, int num_threads);

// Cuts so many sequences into a range for each thread.
std::vector<SequenceRange> cut_evenly(int num_sequences, int num_threads);

}  // namespace zen
