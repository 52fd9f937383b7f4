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

ptrdiff_t first_row(const Chunk& chunk, Axis axis) {
  return axis == Axis::kTokens ? chunk.first_token : chunk.first_sequence;
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

std::vector<SequenceRange> cut_evenly(int num_sequences, int num_threads) {
  std::vector<SequenceRange> ranges;
  for (int index = 0, first = 0; index < num_threads; ++index) {
    const int last = static_cast<int>(int64_t{num_sequences} * (index + 1) / num_threads);
    if (last > first) ranges.push_back({first, last});
    first = last;
  }
  return ranges;
}

int Program::Border::width() const {
  int width = 0;
  for (const View& view : views) width += view.width;
  return width;
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
  pauses_.push_back({{states}, ops_.size()});
  return num_pauses() - 1;
}

void Program::begin_tail(std::vector<View> rows) { tail_ = Border{std::move(rows), ops_.size()}; }

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
  chunk.first_token = first_token;
  chunk.first_sequence = range.first;
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

size_t Program::first_op(const Passage& passage) const {
  return passage.from != nullptr ? passage.from->next_op : 0;
}

size_t Program::last_op(const Passage& passage) const {
  return passage.to != nullptr ? passage.to->next_op : ops_.size();
}

void Program::load_rows(const Chunk& chunk, const Passage& passage, const Memory& memory) const {
  if (passage.from == nullptr) return;
  const Axis axis = memory.axis(passage.from->views.front());
  const float* next = passage.rows_in + first_row(chunk, axis) * passage.from->width();
  for (int row = 0; row < num_rows(chunk, axis); ++row) {
    for (const View& view : passage.from->views) {
      std::copy_n(next, view.width, memory.write(view).row(row));
      next += view.width;
    }
  }
}

void Program::store_rows(const Chunk& chunk, const Passage& passage, const Memory& memory) const {
  if (passage.to == nullptr) return;
  const Axis axis = memory.axis(passage.to->views.front());
  float* next = passage.rows_out + first_row(chunk, axis) * passage.to->width();
  for (int row = 0; row < num_rows(chunk, axis); ++row) {
    for (const View& view : passage.to->views) {
      next = std::copy_n(memory.read(view).row(row), view.width, next);
    }
  }
}

void Program::run_alone(const Chunk& chunk, const Passage& passage, Workspace& workspace) const {
  Memory memory{slots_.data(), workspace.slot_data.data(), nullptr};
  reserve_scratch(chunk, memory, workspace);
  memory.scratch = workspace.scratch.data();
  load_rows(chunk, passage, memory);
  for (size_t index = first_op(passage); index < last_op(passage); ++index) {
    run_op(index, chunk, memory, 0, ops_[index]->num_items(chunk, memory));
  }
  store_rows(chunk, passage, memory);
}

void Program::run_together(const Chunk& chunk, const Passage& passage, Runtime& runtime) const {
  const Memory shared{slots_.data(), runtime.workspaces[0].slot_data.data(), nullptr};
  // Here rather than in the members: one that failed could not release the others' barrier.
  for (Workspace& workspace : runtime.workspaces) reserve_scratch(chunk, shared, workspace);
  load_rows(chunk, passage, shared);
  SpinBarrier barrier(num_threads_);
  std::vector<std::atomic<int>> next_item(ops_.size());
  runtime.team.run(num_threads_, [&](int member) {
    Memory memory = shared;
    memory.scratch = runtime.workspaces[static_cast<size_t>(member)].scratch.data();
    for (size_t index = first_op(passage); index < last_op(passage); ++index) {
      const int num_items = ops_[index]->num_items(chunk, memory);
      while (true) {
        const ItemRange share = take_share(next_item[index], num_items, num_threads_);
        if (share.first == share.last) break;
        run_op(index, chunk, memory, share.first, share.last);
      }
      barrier.wait();
    }
  });
  store_rows(chunk, passage, shared);
}

void Program::deal_out(const Batch& batch, const std::vector<SequenceRange>& ranges,
                       const Passage& passage, float* logits, int num_labels,
                       Runtime& runtime) const {
  std::atomic<size_t> next_range{0};
  std::vector<std::exception_ptr> failures(static_cast<size_t>(num_threads_));
  runtime.team.run(std::min<int>(num_threads_, static_cast<int>(ranges.size())), [&](int member) {
    Workspace& workspace = runtime.workspaces[static_cast<size_t>(member)];
    try {
      for (size_t index; (index = next_range.fetch_add(1)) < ranges.size();) {
        run_alone(prepare(batch, ranges[index], logits, num_labels, workspace), passage, workspace);
      }
    } catch (...) {  // out of memory; rethrown below, on the caller's thread
      failures[static_cast<size_t>(member)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

void Program::run(const Batch& batch, float* out, int num_labels, const Stretch& stretch) {
  Runtime& runtime = own_runtime();
  std::lock_guard<std::mutex> lock(runtime.mutex);
  const auto pause = [this](int index) {
    return index == Stretch::kWhole ? nullptr : &pauses_[static_cast<size_t>(index)];
  };
  Passage passage{pause(stretch.from_pause), stretch.states, pause(stretch.to_pause), out};
  const std::vector<SequenceRange> chunks = cut_into_chunks(batch, num_threads_);
  if (num_threads_ > 1 && dealing_efficiency(batch, chunks, num_threads_) < kSharingEfficiency) {
    for (const SequenceRange range : cut_into_chunks(batch, 1)) {
      run_together(prepare(batch, range, out, num_labels, runtime.workspaces[0]), passage, runtime);
    }
    return;
  }
  if (!tail_ || passage.to != nullptr) {
    deal_out(batch, chunks, passage, out, num_labels, runtime);
    return;
  }
  const auto num_sequences = static_cast<size_t>(batch.num_sequences);
  ensure_size(runtime.tail_rows, num_sequences * static_cast<size_t>(tail_->width()));
  passage.to = &*tail_;
  passage.rows_out = runtime.tail_rows.data();
  deal_out(batch, chunks, passage, out, num_labels, runtime);
  // The tail knows no tokens.
  const std::vector<int32_t> no_tokens(num_sequences + 1, 0);
  Batch sequences{};
  sequences.cu_seqlens = no_tokens.data();
  sequences.num_sequences = batch.num_sequences;
  deal_out(sequences, cut_evenly(batch.num_sequences, num_threads_),
           {&*tail_, runtime.tail_rows.data(), nullptr, nullptr}, out, num_labels, runtime);
}

}  // namespace zen
