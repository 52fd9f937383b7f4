// Replay: any number of threads, any cut into chunks and any caller gives the same bits.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "cpu_isa.h"
#include "program.h"

namespace zen::test {
namespace {

constexpr int kWidth = 24, kVocabulary = 50, kMaxLength = 80;

struct Tokens {
  std::vector<int32_t> ids, zeros, positions, cu_seqlens{0};

  explicit Tokens(const std::vector<int>& lengths) {
    for (const int length : lengths) {
      for (int i = 0; i < length; ++i) {
        ids.push_back((length * 7 + i * 3) % kVocabulary);
        positions.push_back(i);
      }
      cu_seqlens.push_back(static_cast<int32_t>(ids.size()));
    }
    zeros.assign(ids.size(), 0);
  }

  Batch batch() const {
    return {ids.data(),
            zeros.data(),
            positions.data(),
            cu_seqlens.data(),
            static_cast<int>(ids.size()),
            static_cast<int>(cu_seqlens.size()) - 1,
            nullptr,
            nullptr,
            0,
            nullptr};
  }
};

enum class Tail { kMarked, kUnmarked };

// embed → qkv → attention → norm → first and last rows → linear: one op of each kind of division.
void record(Program& program, const std::vector<float>& table, const std::vector<float>& weights,
            Tail tail = Tail::kMarked) {
  const Kernels& kernels = program.kernels();
  const int x = program.add_slot(Axis::kTokens, 0, kWidth);
  const int qkv = program.add_slot(Axis::kTokens, row_stride(kWidth), 3 * kWidth);
  const int context = program.add_slot(Axis::kTokens, 0, kWidth);
  const int first = program.add_slot(Axis::kSequences, 0, kWidth);
  const int last = program.add_slot(Axis::kSequences, row_stride(kWidth), kWidth);
  const int logits = program.add_slot(Axis::kSequences, 2 * row_stride(kWidth), kWidth);
  const View all{context, 0, kWidth};
  program.add(make_embed(kernels, {{IdKind::kToken, table.data(), false, 1.0f}}, {x, 0, kWidth}));
  program.add_pause({x, 0, kWidth});
  program.add(make_linear(kernels, {x, 0, kWidth}, {qkv, 0, 3 * kWidth}, weights.data(), nullptr,
                          Activation::kGelu, {0, 0, 0}));
  program.add(make_attention(kernels, {qkv, 0, kWidth}, {qkv, kWidth, kWidth},
                             {qkv, 2 * kWidth, kWidth}, all,
                             {0, 3, 3, 0.35f, 0.0f, false, false, -1, false}, {}, {}));
  program.add(
      make_norm(kernels, all, all, {table.data(), nullptr, kWidth, 1e-6f, true}, {0, 0, 0}));
  program.add_pause(all);
  program.add(make_token_pool(all, {first, 0, kWidth}, false));
  program.add(make_token_pool(all, {last, 0, kWidth}, true));
  if (tail == Tail::kMarked) program.begin_tail({{first, 0, kWidth}, {last, 0, kWidth}});
  program.add(make_linear(kernels, {first, 0, kWidth}, {logits, 0, kWidth}, weights.data(), nullptr,
                          Activation::kNone, {last, 0, kWidth}));
  program.add(make_output({logits, 0, kWidth}));
}

std::vector<float> run(Program& program, const Tokens& tokens) {
  std::vector<float> logits = poisoned((tokens.cu_seqlens.size() - 1) * kWidth);
  program.run(tokens.batch(), logits.data(), kWidth);
  return logits;
}

void test_chunks(const std::vector<int>& lengths, int num_threads) {
  const Tokens tokens(lengths);
  const std::vector<SequenceRange> chunks = cut_into_chunks(tokens.batch(), num_threads);
  int next = 0;
  for (const SequenceRange range : chunks) {
    check(range.first == next && range.last > range.first, "chunks follow one another");
    next = range.last;
  }
  check(next == static_cast<int>(lengths.size()), "chunks cover every sequence");
  next = 0;
  const int num_sequences = static_cast<int>(lengths.size());
  for (const SequenceRange range : cut_evenly(num_sequences, num_threads)) {
    check(range.first == next && range.last > range.first, "even ranges follow one another");
    check(range.last - range.first <= num_sequences / num_threads + 1, "even ranges are even");
    next = range.last;
  }
  check(next == num_sequences, "even ranges cover every sequence");
}

void test_replay(const Kernels& kernels) {
  const std::vector<float> table = random_floats(kVocabulary * kWidth, 1);
  const std::vector<float> weights = random_floats(3 * kWidth * kWidth, 2);
  const std::vector<std::vector<int>> batches = {
      {1}, {80}, {7, 7, 7}, {80, 3, 1, 1}, std::vector<int>(60, 33)};
  Program alone(kernels, 1, kMaxLength);
  record(alone, table, weights, Tail::kUnmarked);
  for (const int num_threads : {1, 2, 3, 7}) {
    Program program(kernels, num_threads, kMaxLength);
    record(program, table, weights);
    for (const std::vector<int>& lengths : batches) {
      test_chunks(lengths, num_threads);
      check(run(program, Tokens(lengths)) == run(alone, Tokens(lengths)),
            std::string(kernels.isa) + " replay with " + std::to_string(num_threads) + " threads");
    }
  }
  const Tokens batch({33, 12, 5}), single({12});
  const std::vector<float> together = run(alone, batch), by_itself = run(alone, single);
  check(std::equal(by_itself.begin(), by_itself.end(), together.begin() + kWidth),
        "a sequence alone gives the bits that it gives in a batch");
}

std::vector<float> run_stretch(Program& program, const Tokens& tokens, const Stretch& stretch) {
  std::vector<float> out = poisoned(tokens.ids.size() * kWidth);
  if (stretch.to_pause == Stretch::kWhole) out.resize((tokens.cu_seqlens.size() - 1) * kWidth);
  program.run(tokens.batch(), out.data(), kWidth, stretch);
  return out;
}

void test_pauses(const Kernels& kernels) {
  const std::vector<float> table = random_floats(kVocabulary * kWidth, 1);
  const std::vector<float> weights = random_floats(3 * kWidth * kWidth, 2);
  for (const int num_threads : {1, 2, 3}) {
    Program program(kernels, num_threads, kMaxLength);
    record(program, table, weights);
    for (const std::vector<int>& lengths : {std::vector<int>{12}, std::vector<int>(60, 33)}) {
      const Tokens tokens(lengths);
      const std::vector<float> embedded = run_stretch(program, tokens, {Stretch::kWhole, 0});
      const std::vector<float> states = run_stretch(program, tokens, {0, 1, embedded.data()});
      check(run_stretch(program, tokens, {Stretch::kWhole, 1}) == states,
            "two stretches give the bits of one");
      check(
          run_stretch(program, tokens, {1, Stretch::kWhole, states.data()}) == run(program, tokens),
          "a run that paused gives the bits of one that did not");
      check(run_stretch(program, tokens, {1, 1, states.data()}) == states,
            "an empty stretch returns the states that it was given");
    }
  }
  const Tokens all({33, 12, 5}), kept({33, 5});
  Program program(kernels, 2, kMaxLength);
  record(program, table, weights);
  std::vector<float> states = run_stretch(program, all, {Stretch::kWhole, 0});
  states.erase(states.begin() + 33 * kWidth, states.begin() + 45 * kWidth);
  check(run_stretch(program, kept, {0, Stretch::kWhole, states.data()}) == run(program, kept),
        "sequences that are kept at a pause get the bits that they would get alone");
}

void test_concurrent_callers(const Kernels& kernels) {
  const std::vector<float> table = random_floats(kVocabulary * kWidth, 1);
  const std::vector<float> weights = random_floats(3 * kWidth * kWidth, 2);
  Program program(kernels, 2, kMaxLength);
  record(program, table, weights);
  const std::vector<float> expected = run(program, Tokens({40, 9, 33}));
  std::atomic<bool> agree{true};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        if (run(program, Tokens({40, 9, 33})) != expected) agree = false;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  check(agree, "concurrent callers get their own results");
}

}  // namespace
}  // namespace zen::test

int main() {
  for (const zen::Kernels* kernels : zen::available_kernels()) {
    zen::test::test_replay(*kernels);
    zen::test::test_pauses(*kernels);
    zen::test::test_concurrent_callers(*kernels);
  }
  return zen::test::report("program_test");
}
