// zen_fast._C: numpy arrays in, numpy arrays out.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "ceiling.h"
#include "cpu_isa.h"
#include "ops.h"
#include "program.h"

namespace py = pybind11;

namespace {

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using ByteArray = py::array_t<int8_t, py::array::c_style>;
// Per sequence: every layer's keys and values of each token of its prefix, or none.
using PrefixList = std::vector<std::optional<FloatArray>>;
using IdArray = py::array_t<int32_t, py::array::c_style>;
using ViewTuple = std::tuple<int, int, int>;  // slot, column, width

const zen::Kernels& kernels_for(const std::string& isa) {
  const zen::Kernels* kernels = zen::find_kernels(isa);
  if (kernels == nullptr) throw py::value_error("no kernels for '" + isa + "' on this processor");
  return *kernels;
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const zen::Kernels* kernels : zen::available_kernels()) names.emplace_back(kernels->isa);
  return names;
}

std::map<std::string, double> kernel_gmacs(const std::string& isa, int num_threads) {
  constexpr int kSamples = 5;
  std::map<std::string, double> best;
  for (const zen::Ceiling& ceiling : zen::ceilings(kernels_for(isa))) {
    for (int sample = 0; sample < kSamples; ++sample) {
      best[ceiling.name] = std::max(best[ceiling.name], zen::measure(ceiling, num_threads));
    }
  }
  return best;
}

zen::Activation activation_named(const std::optional<std::string>& name) {
  if (!name) return zen::Activation::kNone;
  static const std::map<std::string, zen::Activation> kActivations = {
      {"gelu", zen::Activation::kGelu}, {"gelu_tanh", zen::Activation::kGeluTanh},
      {"relu", zen::Activation::kRelu}, {"silu", zen::Activation::kSilu},
      {"tanh", zen::Activation::kTanh},
  };
  return kActivations.at(*name);
}

zen::View view(const ViewTuple& v) { return {std::get<0>(v), std::get<1>(v), std::get<2>(v)}; }

const float* data_or_null(const std::optional<FloatArray>& array) {
  return array ? array->data() : nullptr;
}

void require(bool condition, const char* message) {
  if (!condition) throw py::value_error(message);
}

// A Program with the arrays that its ops read in place, and the bounds of the ids they look up.
class RecordedProgram {
 public:
  RecordedProgram(const std::string& isa, int num_threads, int max_length)
      : program_(kernels_for(isa), num_threads, max_length) {}

  std::string isa() const { return kernels().isa; }

  int add_slot(const std::string& axis, int offset, int width) {
    return program_.add_slot(axis == "tokens" ? zen::Axis::kTokens : zen::Axis::kSequences, offset,
                             width);
  }

  void embed(const std::vector<std::tuple<std::string, py::array, float>>& tables,
             const ViewTuple& out) {
    std::vector<zen::EmbeddingSource> sources;
    for (const auto& [index, rows, scale] : tables) {
      const bool is_half = rows.dtype().kind() == 'f' && rows.itemsize() == 2;
      require(is_half || rows.dtype().is(py::dtype::of<float>()), "tables are fp32 or fp16");
      require(rows.flags() & py::array::c_style, "tables are contiguous");
      require(rows.ndim() == 2 && rows.shape(1) == view(out).width, "tables are (rows, width)");
      const zen::IdKind kind = index == "token"      ? zen::IdKind::kToken
                               : index == "position" ? zen::IdKind::kPosition
                                                     : zen::IdKind::kTokenType;
      sources.push_back({kind, rows.data(), is_half, scale});
      bound_ids(kind, rows.shape(0));
      kept_alive_.push_back(rows);
    }
    program_.add(zen::make_embed(kernels(), std::move(sources), view(out)));
  }

  void linear(const ViewTuple& x, const ViewTuple& out, const FloatArray& weight,
              const std::optional<FloatArray>& bias, const std::optional<std::string>& activation,
              const std::optional<ViewTuple>& residual) {
    require(weight.ndim() == 2 && weight.shape(0) == view(out).width &&
                weight.shape(1) == view(x).width,
            "weight is (out, in)");
    require(!bias || bias->size() == view(out).width, "bias is (out,)");
    program_.add(zen::make_linear(kernels(), view(x), view(out), weight.data(), data_or_null(bias),
                                  activation_named(activation),
                                  residual ? view(*residual) : zen::View{0, 0, 0}));
  }

  void quantize(const ViewTuple& x, const ViewTuple& out,
                const std::optional<FloatArray>& input_scales) {
    require(!input_scales || input_scales->size() == view(x).width, "input_scales is (in,)");
    require(view(out).width == zen::quantized_row_floats(view(x).width),
            "out has quantized_row_floats(x) columns");
    program_.add(zen::make_quantize(kernels(), view(x), view(out), data_or_null(input_scales)));
  }

  void quantized_linear(const ViewTuple& x, const ViewTuple& out, const ByteArray& values,
                        const FloatArray& scales, const std::optional<FloatArray>& bias,
                        const std::optional<std::string>& activation,
                        const std::optional<ViewTuple>& residual) {
    require(values.ndim() == 2 && values.shape(0) == view(out).width &&
                view(x).width == zen::quantized_row_floats(static_cast<int>(values.shape(1))),
            "values are (out, in)");
    require(scales.size() == view(out).width, "scales is (out,)");
    require(!bias || bias->size() == view(out).width, "bias is (out,)");
    const zen::QuantizedMatrix weight{values.data(), scales.data(),
                                      static_cast<int>(values.shape(0)),
                                      static_cast<int>(values.shape(1))};
    program_.add(zen::make_quantized_linear(kernels(), view(x), view(out), weight,
                                            data_or_null(bias), activation_named(activation),
                                            residual ? view(*residual) : zen::View{0, 0, 0}));
  }

  void norm(const ViewTuple& x, const ViewTuple& out, const FloatArray& weight,
            const std::optional<FloatArray>& bias, float eps, bool centred,
            const std::optional<ViewTuple>& residual) {
    require(weight.size() > 0 && view(x).width % weight.size() == 0,
            "x is as wide as the weight, or several times as wide");
    require(!bias || bias->size() == weight.size(), "bias is as wide as the weight");
    const zen::NormWeights norm{weight.data(), data_or_null(bias), static_cast<int>(weight.size()),
                                eps, centred};
    program_.add(zen::make_norm(kernels(), view(x), view(out), norm,
                                residual ? view(*residual) : zen::View{0, 0, 0}));
  }

  void gate(const ViewTuple& x, const ViewTuple& out, const std::string& activation,
            bool activate_first) {
    program_.add(zen::make_gate(kernels(), view(x), view(out), activation_named(activation),
                                activate_first));
  }

  void rotary(const ViewTuple& x, const ViewTuple& out, int num_heads,
              const std::vector<double>& inverse_frequencies) {
    bound_ids(zen::IdKind::kPosition, program_.max_length());
    auto& tables = rotary_tables_[inverse_frequencies];
    if (!tables) {
      tables =
          std::make_shared<const zen::RotaryTables>(inverse_frequencies, program_.max_length());
    }
    program_.add(zen::make_rotary(kernels(), view(x), view(out), num_heads, tables));
  }

  void attention(const ViewTuple& query, const ViewTuple& key, const ViewTuple& value,
                 const ViewTuple& out, int layer, int num_heads, int num_kv_heads, float scale,
                 float cap, bool causal, bool query_independent, std::optional<int> window,
                 bool in_shorts, const std::optional<FloatArray>& relative_keys,
                 const std::optional<FloatArray>& relative_queries,
                 const std::vector<int32_t>& bucket_of_distance,
                 const std::optional<FloatArray>& position_bias) {
    require(num_kv_heads > 0 && num_heads % num_kv_heads == 0, "kv heads are shared out evenly");
    require(!in_shorts || !(causal || query_independent), "in shorts, a row depends on every key");
    has_prefixes_ = has_prefixes_ && (causal || query_independent);
    kv_stride_ = std::max(kv_stride_, 2 * ptrdiff_t{layer + 1} * view(key).width);
    const zen::AttentionPattern pattern{layer,    num_heads, num_kv_heads,      scale,
                                        cap,      causal,    query_independent, window.value_or(-1),
                                        in_shorts};
    zen::RelativeTables relative;
    relative.keys = data_or_null(relative_keys);
    relative.queries = data_or_null(relative_queries);
    relative.bucket_of_distance = bucket_of_distance;
    for (const auto& table : {relative_keys, relative_queries}) {
      if (!table) continue;
      require(table->ndim() == 2 && table->shape(1) == view(out).width,
              "relative tables are (rows, width)");
      require(static_cast<int>(bucket_of_distance.size()) == 2 * program_.max_length() - 1,
              "bucket_of_distance covers every distance");
      require(std::is_sorted(bucket_of_distance.begin(), bucket_of_distance.end()),
              "buckets never decrease with the distance");
      relative.num_buckets = static_cast<int>(table->shape(0));
      for (const int32_t bucket : bucket_of_distance) {
        require(bucket >= 0 && bucket < relative.num_buckets, "buckets are rows of the tables");
      }
    }
    zen::PositionBias bias;
    if (position_bias) {
      require(position_bias->ndim() == 2 && position_bias->shape(0) == num_heads &&
                  position_bias->shape(1) == 2 * program_.max_length() - 1,
              "position_bias is (heads, offsets)");
      bias = {position_bias->data(), static_cast<int>(position_bias->shape(1))};
    }
    program_.add(zen::make_attention(kernels(), view(query), view(key), view(value), view(out),
                                     pattern, relative, bias));
  }

  void pool(const ViewTuple& x, const ViewTuple& out, const std::string& pooling) {
    program_.add(pooling == "mean" ? zen::make_mean_pool(kernels(), view(x), view(out))
                                   : zen::make_token_pool(view(x), view(out), pooling == "last"));
  }

  void neighbours(const ViewTuple& x, const ViewTuple& out, int count) {
    program_.add(zen::make_neighbours(view(x), view(out), count));
  }

  int pause(const ViewTuple& x) { return program_.add_pause(view(x)); }

  void begin_tail(const std::vector<ViewTuple>& rows) {
    std::vector<zen::View> views;
    for (const ViewTuple& each : rows) views.push_back(view(each));
    require(!views.empty(), "a tail reads something");
    program_.begin_tail(std::move(views));
  }

  void output(const ViewTuple& x) {
    num_labels_ = view(x).width;
    program_.add(zen::make_output(view(x)));
  }

  std::vector<double> op_seconds() const {
    std::vector<double> seconds;
    for (const int64_t nanoseconds : program_.op_nanoseconds()) {
      seconds.push_back(1e-9 * static_cast<double>(nanoseconds));
    }
    return seconds;
  }

  py::array_t<float> run(const IdArray& token_ids, const IdArray& token_type_ids,
                         const IdArray& position_ids, const IdArray& cu_seqlens,
                         const IdArray& head_lengths, const PrefixList& prefixes,
                         std::optional<int> from_pause, std::optional<int> to_pause,
                         const std::optional<FloatArray>& states) {
    return replay(token_ids, token_type_ids, position_ids, cu_seqlens, head_lengths, prefixes,
                  nullptr, from_pause, to_pause, states);
  }

  // Keys and values of each sequence's own tokens, (length, floats of one token) each.
  std::vector<py::array_t<float>> keys_values(
      const IdArray& token_ids, const IdArray& token_type_ids, const IdArray& position_ids,
      const IdArray& cu_seqlens, const IdArray& head_lengths, const PrefixList& prefixes) {
    require(has_prefixes_, "tokens of this model depend on what comes after them");
    check_sequences(cu_seqlens, token_ids.size(), prefixes);
    std::vector<py::array_t<float>> arrays;
    std::vector<float*> kept;
    for (py::ssize_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
      const py::ssize_t length = cu_seqlens.at(i + 1) - cu_seqlens.at(i);
      arrays.emplace_back(std::vector<py::ssize_t>{length, kv_stride_});
      kept.push_back(arrays.back().mutable_data());
    }
    replay(token_ids, token_type_ids, position_ids, cu_seqlens, head_lengths, prefixes, kept.data(),
           std::nullopt, std::nullopt, std::nullopt);
    return arrays;
  }

 private:
  const zen::Kernels& kernels() const { return program_.kernels(); }

  py::array_t<float> replay(const IdArray& token_ids, const IdArray& token_type_ids,
                            const IdArray& position_ids, const IdArray& cu_seqlens,
                            const IdArray& head_lengths, const PrefixList& prefixes,
                            float* const* kept, std::optional<int> from_pause,
                            std::optional<int> to_pause, const std::optional<FloatArray>& states) {
    check_sequences(cu_seqlens, token_ids.size(), prefixes);
    check_ids(token_ids, zen::IdKind::kToken, token_ids.size(), "token_ids");
    check_ids(token_type_ids, zen::IdKind::kTokenType, token_ids.size(), "token_type_ids");
    check_ids(position_ids, zen::IdKind::kPosition, token_ids.size(), "position_ids");
    check_heads(head_lengths, cu_seqlens);
    zen::Batch batch{};
    batch.token_ids = token_ids.data();
    batch.token_type_ids = token_type_ids.data();
    batch.position_ids = position_ids.data();
    batch.cu_seqlens = cu_seqlens.data();
    batch.head_lengths = head_lengths.data();
    batch.num_tokens = static_cast<int>(token_ids.size());
    batch.num_sequences = static_cast<int>(cu_seqlens.size()) - 1;
    std::vector<zen::Prefix> rows;
    for (const auto& prefix : prefixes) {
      rows.push_back(prefix ? zen::Prefix{prefix->data(), static_cast<int>(prefix->shape(0))}
                            : zen::Prefix{nullptr, 0});
    }
    batch.prefixes = rows.empty() ? nullptr : rows.data();
    batch.kept = kept;
    batch.kv_stride = kv_stride_;
    const zen::Stretch stretch = checked_stretch(from_pause, to_pause, data_or_null(states),
                                                 states ? states->size() : 0, batch.num_tokens);
    const bool is_whole = stretch.to_pause == zen::Stretch::kWhole;
    const int num_rows = is_whole ? batch.num_sequences : batch.num_tokens;
    const int width = is_whole ? num_labels_ : program_.pause_width(stretch.to_pause);
    py::array_t<float> result(
        {static_cast<py::ssize_t>(num_rows), static_cast<py::ssize_t>(width)});
    float* out = result.mutable_data();
    py::gil_scoped_release release;
    program_.run(batch, out, num_labels_, stretch);
    return result;
  }

  void check_sequences(const IdArray& cu_seqlens, py::ssize_t num_tokens,
                       const PrefixList& prefixes) const {
    require(cu_seqlens.ndim() == 1 && cu_seqlens.size() >= 2 && cu_seqlens.at(0) == 0 &&
                cu_seqlens.at(cu_seqlens.size() - 1) == num_tokens,
            "cu_seqlens runs from 0 to the number of tokens");
    require(prefixes.empty() || (has_prefixes_ && static_cast<py::ssize_t>(prefixes.size()) ==
                                                      cu_seqlens.size() - 1),
            "prefixes are the sequences', of a model whose first tokens see nothing behind them");
    for (py::ssize_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
      py::ssize_t length = cu_seqlens.at(i + 1) - cu_seqlens.at(i);
      require(length >= 1, "every sequence has a token");
      if (!prefixes.empty() && prefixes[static_cast<size_t>(i)]) {
        const FloatArray& prefix = *prefixes[static_cast<size_t>(i)];
        require(prefix.ndim() == 2 && prefix.shape(1) == kv_stride_,
                "a prefix is (length, floats of one token)");
        length += prefix.shape(0);
      }
      require(length <= program_.max_length(), "every sequence fits max_length");
    }
  }

  void check_heads(const IdArray& head_lengths, const IdArray& cu_seqlens) const {
    require(head_lengths.ndim() == 1 && head_lengths.size() == cu_seqlens.size() - 1,
            "head_lengths are the sequences'");
    for (py::ssize_t i = 0; i < head_lengths.size(); ++i) {
      require(
          head_lengths.at(i) >= 0 && head_lengths.at(i) <= cu_seqlens.at(i + 1) - cu_seqlens.at(i),
          "a head is part of its sequence");
    }
  }

  zen::Stretch checked_stretch(std::optional<int> from_pause, std::optional<int> to_pause,
                               const float* states, py::ssize_t num_floats, int num_tokens) const {
    for (const std::optional<int>& pause : {from_pause, to_pause}) {
      require(!pause || (*pause >= 0 && *pause < program_.num_pauses()), "pauses are counted");
    }
    require(!from_pause || !to_pause || *from_pause <= *to_pause, "a run goes forward");
    const int width = from_pause ? program_.pause_width(*from_pause) : 0;
    require(num_floats == static_cast<py::ssize_t>(width) * num_tokens,
            "states are (num_tokens, width), and given exactly where a run does not begin at the "
            "start");
    return {from_pause.value_or(zen::Stretch::kWhole), to_pause.value_or(zen::Stretch::kWhole),
            states};
  }

  // The kernels look rows up unchecked, so every id is checked here.
  void check_ids(const IdArray& ids, zen::IdKind kind, py::ssize_t num_tokens,
                 const std::string& name) const {
    require(ids.ndim() == 1 && ids.size() == num_tokens, "id vectors are (num_tokens,)");
    const auto bound = id_bounds_.find(kind);
    if (bound == id_bounds_.end()) return;
    for (py::ssize_t i = 0; i < num_tokens; ++i) {
      const int32_t id = ids.data()[i];
      if (id < 0 || id >= bound->second) {
        throw py::index_error(name + "[" + std::to_string(i) + "] is " + std::to_string(id) +
                              "; the table has " + std::to_string(bound->second) + " rows");
      }
    }
  }

  // An id must be in the smallest of the tables that it is looked up in.
  void bound_ids(zen::IdKind kind, py::ssize_t num_rows) {
    const auto [bound, is_first] = id_bounds_.try_emplace(kind, num_rows);
    if (!is_first) bound->second = std::min(bound->second, num_rows);
  }

  zen::Program program_;
  std::map<zen::IdKind, py::ssize_t> id_bounds_;
  std::map<std::vector<double>, std::shared_ptr<const zen::RotaryTables>> rotary_tables_;
  std::vector<py::object> kept_alive_;
  int num_labels_ = 0;
  bool has_prefixes_ = true;
  ptrdiff_t kv_stride_ = 0;  // floats of one token's keys and values in all layers
};

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "CPU kernels of zen_fast";
  m.def("available_isas", &available_isas,
        "Kernel sets that this processor and system can run, slowest first.");
  m.def("row_stride", &zen::row_stride, py::arg("width"),
        "Distance between the rows of a matrix of this width in the arena, in floats.");
  m.def("quantized_row_floats", &zen::quantized_row_floats, py::arg("width"),
        "Columns that a matrix of this width takes in the arena once it is quantized.");
  m.def("kernel_gmacs", &kernel_gmacs, py::arg("isa"), py::arg("num_threads"),
        "GMAC/s of each matrix kernel with operands in L1, all threads together, best of a few.",
        py::call_guard<py::gil_scoped_release>());
  py::class_<RecordedProgram>(m, "Program")
      .def(py::init<const std::string&, int, int>(), py::arg("isa"), py::arg("num_threads"),
           py::arg("max_length"))
      .def_property_readonly("isa", &RecordedProgram::isa)
      .def("op_seconds", &RecordedProgram::op_seconds,
           "Seconds spent in each op since the program was made, all threads together.")
      .def("add_slot", &RecordedProgram::add_slot, py::arg("axis"), py::arg("offset"),
           py::arg("width"))
      .def("embed", &RecordedProgram::embed, py::arg("tables"), py::arg("out"))
      .def("linear", &RecordedProgram::linear, py::arg("x"), py::arg("out"), py::arg("weight"),
           py::arg("bias"), py::arg("activation"), py::arg("residual") = py::none())
      .def("quantize", &RecordedProgram::quantize, py::arg("x"), py::arg("out"),
           py::arg("input_scales"))
      .def("quantized_linear", &RecordedProgram::quantized_linear, py::arg("x"), py::arg("out"),
           py::arg("values"), py::arg("scales"), py::arg("bias"), py::arg("activation"),
           py::arg("residual") = py::none())
      .def("norm", &RecordedProgram::norm, py::arg("x"), py::arg("out"), py::arg("weight"),
           py::arg("bias"), py::arg("eps"), py::arg("centred"), py::arg("residual") = py::none())
      .def("gate", &RecordedProgram::gate, py::arg("x"), py::arg("out"), py::arg("activation"),
           py::arg("activate_first"))
      .def("rotary", &RecordedProgram::rotary, py::arg("x"), py::arg("out"), py::arg("num_heads"),
           py::arg("inverse_frequencies"))
      .def("attention", &RecordedProgram::attention, py::arg("query"), py::arg("key"),
           py::arg("value"), py::arg("out"), py::arg("layer"), py::arg("num_heads"),
           py::arg("num_kv_heads"), py::arg("scale"), py::arg("cap"), py::arg("causal"),
           py::arg("query_independent"), py::arg("window"), py::arg("in_shorts"),
           py::arg("relative_keys"), py::arg("relative_queries"), py::arg("bucket_of_distance"),
           py::arg("position_bias"))
      .def("pool", &RecordedProgram::pool, py::arg("x"), py::arg("out"), py::arg("pooling"))
      .def("neighbours", &RecordedProgram::neighbours, py::arg("x"), py::arg("out"),
           py::arg("count"))
      .def("pause", &RecordedProgram::pause, py::arg("x"),
           "Marks a place where a run may stop or continue, x being all that later ops read.")
      .def("begin_tail", &RecordedProgram::begin_tail, py::arg("rows"),
           "Marks the place after which ops know only sequences, and read only these of before.")
      .def("output", &RecordedProgram::output, py::arg("x"))
      .def(
          "run", &RecordedProgram::run, py::arg("token_ids"), py::arg("token_type_ids"),
          py::arg("position_ids"), py::arg("cu_seqlens"), py::arg("head_lengths"),
          py::arg("prefixes") = PrefixList{}, py::arg("from_pause") = py::none(),
          py::arg("to_pause") = py::none(), py::arg("states") = py::none(),
          "Logits (num_sequences, num_labels) of a packed batch, or the states (num_tokens, width) "
          "at to_pause; releases the GIL.")
      .def("keys_values", &RecordedProgram::keys_values, py::arg("token_ids"),
           py::arg("token_type_ids"), py::arg("position_ids"), py::arg("cu_seqlens"),
           py::arg("head_lengths"), py::arg("prefixes") = PrefixList{},
           "Every layer's keys and values of each sequence's own tokens; releases the GIL.");
}
