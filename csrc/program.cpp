#include "program.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>

namespace zen {
namespace {

// Tokens carried through all layers together. Enough rows to reuse each weight panel read from L3,
// few enough that a depth block of a gemm's input (192 x 384 fp32, 288 KiB) stays in a 512 KiB L2.
constexpr int kChunkTokens = 192;

// Threads share one chunk, op by op, when the largest share of a division by whole sequences would
// leave them idle for more than the barriers of sharing cost.
constexpr double kSharingEfficiency = 0.85;

// Then each op is dealt out first come, first served: a thread that wakes late, or whose core is
// shared with another process, takes less of it. Shares are this part of what a thread would still
// get of the rest: large at first, and at the end so small that nobody waits long for the last one.
constexpr int kSharesPerThread = 2;

struct ItemRange {
  int first, last;
};

int sequence_length(const Batch& batch, int sequence) {
  return batch.cu_seqlens[sequence + 1] - batch.cu_seqlens[sequence];
}

void ensure_size(AlignedFloats& floats, size_t count) {
  if (floats.size() >= count) return;
  floats = {};  // before the new block is taken
  floats = AlignedFloats(count);
}

// The next share of `num_items`, which `next_item` goes past; first == num_items once all are
// dealt.
ItemRange take_share(std::atomic<int>& next_item, int num_items, int num_threads) {
  int first = next_item.load(std::memory_order_relaxed);
  while (first < num_items) {
    const int share = std::max(1, (num_items - first) / (kSharesPerThread * num_threads));
    if (next_item.compare_exchange_weak(first, first + share)) return {first, first + share};
  }
  return {num_items, num_items};
}

// Share of the threads' time that dealing out whole chunks would use.
double dealing_efficiency(const Batch& batch, const std::vector<SequenceRange>& chunks,
                          int num_threads) {
  std::vector<int> load(static_cast<size_t>(num_threads), 0);
  for (const SequenceRange range : chunks) {
    auto least = std::min_element(load.begin(), load.end());
    *least += batch.cu_seqlens[range.last] - batch.cu_seqlens[range.first];
  }
  const int heaviest = *std::max_element(load.begin(), load.end());
  return static_cast<double>(batch.num_tokens) / (static_cast<double>(heaviest) * num_threads);
}

}  // namespace

// Rows are whole cache lines apart, but never a multiple of 4 KiB: the rows of a tile would then
// compete for the same sets of the L1.
int row_stride(int width) {
  const int rounded = (width + 15) / 16 * 16;
  return rounded % 1024 == 0 ? rounded + 16 : rounded;
}

std::vector<SequenceRange> cut_into_chunks(const Batch& batch, int num_threads) {
  int num_chunks = (batch.num_tokens + kChunkTokens - 1) / kChunkTokens;
  num_chunks = (num_chunks + num_threads - 1) / num_threads * num_threads;
  std::vector<SequenceRange> chunks;
  int first = 0;
  for (int index = 1; index <= num_chunks && first < batch.num_sequences; ++index) {
    // The end nearest to an equal share of the tokens, and at least one sequence.
    const int64_t target = static_cast<int64_t>(batch.num_tokens) * index / num_chunks;
    int last = first + 1;
    while (last < batch.num_sequences &&
           batch.cu_seqlens[last] + sequence_length(batch, last) / 2 < target) {
      ++last;
    }
    chunks.push_back({first, index == num_chunks ? batch.num_sequences : last});
    first = chunks.back().last;
  }
  return chunks;
}

Program::Runtime::Runtime(int num_threads)
    : process(static_cast<int>(getpid())),
      team(num_threads),
      workspaces(static_cast<size_t>(num_threads)) {}

Program::Program(const Kernels& kernels, int num_threads, int max_length)
    : kernels_(kernels),
      num_threads_(num_threads),
      max_length_(max_length),
      runtime_(new Runtime(num_threads)) {}

Program::~Program() {
  Runtime* runtime = runtime_.load();
  if (runtime->process == static_cast<int>(getpid())) delete runtime;
}

Program::Runtime& Program::own_runtime() {
  Runtime* current = runtime_.load();
  if (current->process == static_cast<int>(getpid())) return *current;
  auto fresh = std::make_unique<Runtime>(num_threads_);
  if (runtime_.compare_exchange_strong(current, fresh.get())) return *fresh.release();
  return *current;  // another thread of this process was first
}

int Program::add_slot(Axis axis, int offset, int width) {
  slots_.push_back({axis, offset, row_stride(width)});
  return static_cast<int>(slots_.size()) - 1;
}

void Program::add(OpPtr op) {
  ops_.push_back(std::move(op));
  op_nanoseconds_.emplace_back(0);
}

int Program::add_pause(View states) {
  pauses_.push_back({states, ops_.size()});
  return num_pauses() - 1;
}

std::vector<int64_t> Program::op_nanoseconds() const {
  return {op_nanoseconds_.begin(), op_nanoseconds_.end()};
}

// Two readings of the clock are some 50 ns, on ops that take microseconds: cheap enough to be on
// always.
void Program::run_op(size_t index, const Chunk& chunk, const Memory& memory, int first,
                     int last) const {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  ops_[index]->run(chunk, memory, first, last);
  const std::chrono::nanoseconds spent = Clock::now() - begin;
  op_nanoseconds_[index].fetch_add(spent.count(), std::memory_order_relaxed);
}

Chunk Program::prepare(const Batch& batch, SequenceRange range, float* logits, int num_labels,
                       Workspace& workspace) const {
  Chunk chunk{};
  const int first_token = batch.cu_seqlens[range.first];
  chunk.num_tokens = batch.cu_seqlens[range.last] - first_token;
  chunk.num_sequences = range.last - range.first;
  chunk.token_ids = batch.token_ids + first_token;
  chunk.token_type_ids = batch.token_type_ids + first_token;
  chunk.position_ids = batch.position_ids + first_token;
  if (batch.prefixes != nullptr) chunk.prefixes = batch.prefixes + range.first;
  if (batch.kept != nullptr) chunk.kept = batch.kept + range.first;
  chunk.kv_stride = batch.kv_stride;
  if (batch.head_lengths != nullptr) chunk.head_lengths = batch.head_lengths + range.first;
  chunk.logits = logits + static_cast<ptrdiff_t>(range.first) * num_labels;

  workspace.cu_seqlens.assign(1, 0);
  for (int sequence = range.first; sequence < range.last; ++sequence) {
    const int length = sequence_length(batch, sequence);
    const int prefix_length = batch.prefixes != nullptr ? batch.prefixes[sequence].length : 0;
    chunk.max_keys = std::max(chunk.max_keys, prefix_length + length);
    workspace.cu_seqlens.push_back(workspace.cu_seqlens.back() + length);
  }
  chunk.cu_seqlens = workspace.cu_seqlens.data();

  ptrdiff_t token_row = 0, sequence_row = 0;  // floats of all slots, per row of each axis
  for (const Slot& slot : slots_) {
    ptrdiff_t& row = slot.axis == Axis::kTokens ? token_row : sequence_row;
    row = std::max(row, slot.offset + slot.ld);
  }
  const ptrdiff_t token_floats = token_row * chunk.num_tokens;
  const ptrdiff_t sequence_floats = sequence_row * chunk.num_sequences;
  ensure_size(workspace.arena, static_cast<size_t>(token_floats + sequence_floats));
  workspace.slot_data.clear();
  for (const Slot& slot : slots_) {
    const ptrdiff_t axis_start = slot.axis == Axis::kTokens ? 0 : token_floats;
    const ptrdiff_t start = slot.offset * num_rows(chunk, slot.axis);
    workspace.slot_data.push_back(workspace.arena.data() + axis_start + start);
  }
  return chunk;
}

void Program::reserve_scratch(const Chunk& chunk, const Memory& memory,
                              Workspace& workspace) const {
  size_t num_floats = 0;
  for (const OpPtr& op : ops_) num_floats = std::max(num_floats, op->scratch_floats(chunk, memory));
  ensure_size(workspace.scratch, num_floats);
}

Program::Passage Program::passage(const Batch& batch, SequenceRange range, float* out,
                                  const Stretch& stretch) const {
  const ptrdiff_t first_token = batch.cu_seqlens[range.first];
  Passage passage{0, ops_.size(), nullptr, nullptr, nullptr, nullptr};
  if (stretch.from_pause != Stretch::kWhole) {
    passage.from = &pauses_[static_cast<size_t>(stretch.from_pause)];
    passage.first_op = passage.from->next_op;
    passage.states_in = stretch.states + first_token * passage.from->states.width;
  }
  if (stretch.to_pause != Stretch::kWhole) {
    passage.to = &pauses_[static_cast<size_t>(stretch.to_pause)];
    passage.last_op = passage.to->next_op;
    passage.states_out = out + first_token * passage.to->states.width;
  }
  return passage;
}

void Program::load_states(const Chunk& chunk, const Passage& passage, const Memory& memory) const {
  if (passage.from == nullptr) return;
  const MutableMatrixView rows = memory.write(passage.from->states);
  const ptrdiff_t width = passage.from->states.width;
  for (ptrdiff_t row = 0; row < chunk.num_tokens; ++row) {
    std::copy_n(passage.states_in + row * width, width, rows.row(row));
  }
}

void Program::store_states(const Chunk& chunk, const Passage& passage, const Memory& memory) const {
  if (passage.to == nullptr) return;
  const MatrixView rows = memory.read(passage.to->states);
  const ptrdiff_t width = passage.to->states.width;
  for (ptrdiff_t row = 0; row < chunk.num_tokens; ++row) {
    std::copy_n(rows.row(row), width, passage.states_out + row * width);
  }
}

void Program::run_alone(const Chunk& chunk, const Passage& passage, Workspace& workspace) const {
  Memory memory{slots_.data(), workspace.slot_data.data(), nullptr};
  reserve_scratch(chunk, memory, workspace);
  memory.scratch = workspace.scratch.data();
  load_states(chunk, passage, memory);
  for (size_t index = passage.first_op; index < passage.last_op; ++index) {
    run_op(index, chunk, memory, 0, ops_[index]->num_items(chunk, memory));
  }
  store_states(chunk, passage, memory);
}

void Program::run_together(const Chunk& chunk, const Passage& passage, Runtime& runtime) const {
  const Memory shared{slots_.data(), runtime.workspaces[0].slot_data.data(), nullptr};
  // Here rather than in the members: one that failed could not release the others' barrier.
  for (Workspace& workspace : runtime.workspaces) reserve_scratch(chunk, shared, workspace);
  load_states(chunk, passage, shared);
  SpinBarrier barrier(num_threads_);
  std::vector<std::atomic<int>> next_item(ops_.size());
  runtime.team.run(num_threads_, [&](int member) {
    Memory memory = shared;
    memory.scratch = runtime.workspaces[static_cast<size_t>(member)].scratch.data();
    for (size_t index = passage.first_op; index < passage.last_op; ++index) {
      const int num_items = ops_[index]->num_items(chunk, memory);
      while (true) {
        const ItemRange share = take_share(next_item[index], num_items, num_threads_);
        if (share.first == share.last) break;
        run_op(index, chunk, memory, share.first, share.last);
      }
      barrier.wait();
    }
  });
  store_states(chunk, passage, shared);
}

void Program::run(const Batch& batch, float* out, int num_labels, const Stretch& stretch) {
  Runtime& runtime = own_runtime();
  std::lock_guard<std::mutex> lock(runtime.mutex);
  const std::vector<SequenceRange> chunks = cut_into_chunks(batch, num_threads_);
  if (num_threads_ > 1 && dealing_efficiency(batch, chunks, num_threads_) < kSharingEfficiency) {
    for (const SequenceRange range : cut_into_chunks(batch, 1)) {
      run_together(prepare(batch, range, out, num_labels, runtime.workspaces[0]),
                   passage(batch, range, out, stretch), runtime);
    }
    return;
  }
  std::atomic<size_t> next_chunk{0};
  std::vector<std::exception_ptr> failures(static_cast<size_t>(num_threads_));
  runtime.team.run(std::min<int>(num_threads_, static_cast<int>(chunks.size())), [&](int member) {
    Workspace& workspace = runtime.workspaces[static_cast<size_t>(member)];
    try {
      for (size_t index; (index = next_chunk.fetch_add(1)) < chunks.size();) {
        run_alone(prepare(batch, chunks[index], out, num_labels, workspace),
                  passage(batch, chunks[index], out, stretch), workspace);
      }
    } catch (...) {  // out of memory; rethrown below, on the caller's thread
      failures[static_cast<size_t>(member)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace zen
