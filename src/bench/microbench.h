// torchao's microbenchmarks: its config's keys, its shapes, and the cases that they mean here. One
// case is one Linear, [m, k] times [k, n], in one format.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bench/linear_bench.h"
#include "bench/record.h"

namespace lowbit {

// An entry of matrix_shapes: a generator, or `custom` with its list.
struct MicrobenchShapes {
  std::string name;
  int32_t min_power = 0, max_power = 0;           // of two; 0: the generator's own
  std::vector<std::vector<int32_t>> shapes = {};  // custom: [m, k, n] each
};

template <class Visitor>
void visit(Visitor& v, MicrobenchShapes& c) {
  v.field("name", c.name, "custom, a model's or a series' name");
  v.field("min_power", c.min_power, "first power of two of a series");
  v.field("max_power", c.max_power, "last one");
}

// An entry of model_params.
struct MicrobenchParams {
  std::string name;
  std::vector<MicrobenchShapes> matrix_shapes;
  std::string high_precision_dtype = "torch.bfloat16";
  bool use_torch_compile = false, compile = false;
  std::string torch_compile_mode = "default", device = "cpu", model_type = "linear";
  std::string sparsity;
  bool enable_profiler = false, enable_memory_profiler = false;
};

template <class Visitor>
void visit(Visitor& v, MicrobenchParams& c) {
  v.field("name", c.name, "of the results; empty: made of recipe, model and shape");
  v.field("high_precision_dtype", c.high_precision_dtype,
          "of the baseline's weights: torch.bfloat16, torch.float16 or torch.float32");
  v.field("use_torch_compile", c.use_torch_compile, "no effect: kernels are compiled already");
  v.field("torch_compile_mode", c.torch_compile_mode, "no effect, but is in the results");
  v.field("device", c.device, "cpu or ref; cuda, xpu and mps where there is none: cpu, as there");
  v.field("model_type", c.model_type, "linear");
  v.field("enable_profiler", c.enable_profiler, "write a trace of three calls");
  v.field("enable_memory_profiler", c.enable_memory_profiler, "no effect: memory_stats tells it");
  v.field("compile", c.compile, "never read there, no effect here");
  v.field("sparsity", c.sparsity, "never read there; sparsity_config_recipe_names is");
}

struct MicrobenchConfig {
  std::string benchmark_mode = "inference";
  std::vector<std::string> quantization_config_recipe_names, sparsity_config_recipe_names;
  std::string output_dir = "benchmarks/microbenchmarks/results";
  std::vector<MicrobenchParams> model_params;
  // Ours beside them.
  int32_t threads = 0;
  int64_t seed = 0;
  LinearSampling sampling = {};
  std::string output_json_path, out, output = "table";
};

template <class Visitor>
void visit(Visitor& v, MicrobenchConfig& c) {
  v.field("benchmark_mode", c.benchmark_mode, "inference");
  v.field("quantization_config_recipe_names", c.quantization_config_recipe_names,
          "recipes, or any format of ours; the baseline is always timed, first");
  v.field("sparsity_config_recipe_names", c.sparsity_config_recipe_names,
          "semi-structured, with recipes of int8dq, float8dq and marlin");
  v.field("output_dir", c.output_dir, "the CSV goes to its folder inference; null: none");
  v.field("threads", c.threads, "of the cpu backend; 0: one per core");
  v.field("seed", c.seed, "of weights and inputs");
  v.field("min_samples", c.sampling.min_samples, "samples at least, time permitting");
  v.field("max_seconds", c.sampling.max_seconds, "of samples per figure; one call always ends");
  v.field("ci_width", c.sampling.ci_width, "stop when the 95 % interval is this narrow");
  v.field("output_json_path", c.output_json_path, "file for the rows of torchao's dashboard");
  v.field("out", c.out, "file for a record of each case: JSON lines, or .sqlite");
  v.field("output", c.output, "table, csv or json");
}

struct MicrobenchCase {
  std::string name = {}, quantization = {}, sparsity = "None";
  std::string method = {};  // what to parse: "int8dq+semi-structured"
  std::string skip = {};    // why it cannot be run; "": it can
  std::string shape = {};   // "llama_attn.wqkv"
  int32_t m = 0, k = 0, n = 0;
  std::string dtype = {}, dtype_format = {};  // "torch.bfloat16", "bf16"
  std::string compile_mode = {}, device = {}, model_type = {}, output_dir = {};
  bool profile = false, memory_stats = false;
};

// The shapes of an entry, named as they are there. Error: an unknown name, sizes out of range.
struct NamedShape {
  std::string name;
  int32_t m, k, n;
};
std::vector<NamedShape> shapes_of(const MicrobenchShapes& entry);

// Every case: entries outermost, then shapes, then recipes, each dense and then sparse where
// torchao pairs the two. Error, with a suggestion, for a name that is none of theirs or ours.
std::vector<MicrobenchCase> microbench_cases(const MicrobenchConfig& config);

// One line each: keys that have no effect here.
std::vector<std::string> microbench_remarks(const MicrobenchConfig& config);

// Runs cases; the baseline of equal model type, shape, type, device and mode is timed once.
class Microbench {
 public:
  explicit Microbench(const MicrobenchConfig& config) : config_(config) {}

  // kind "linear". What goes wrong becomes its status and reason.
  Record run(const MicrobenchCase& c, const Backend& backend);

 private:
  struct Times {
    std::vector<double> cold, warm;
    std::vector<std::string> disturbed;  // by whom
  };
  Times time(LinearBench& bench, const Backend& backend) const;
  void measure(Record* record, const MicrobenchCase& c, const Backend& backend);
  const Times& baseline(const MicrobenchCase& c, const Backend& backend);
  LinearProblem problem(const MicrobenchCase& c) const;

  const MicrobenchConfig& config_;
  std::map<std::string, Times> baselines_;
};

// Of a call of a Linear, on a machine that reads and multiplies so fast.
double least_call_seconds(double bytes, double flops, double bandwidth, double flop_rate);

// linear_of_roof. Calls that took less than that beyond their interval make the record a failure.
void add_of_roof(Record* record, const std::vector<double>& seconds, double least_seconds);

// output_dir/inference/profiler/..., as torchao names the trace of a case.
std::string microbench_trace_path(const MicrobenchCase& c);

}  // namespace lowbit
