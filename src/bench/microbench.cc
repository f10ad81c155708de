#include "bench/microbench.h"

#include <algorithm>
#include <new>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/bench_model.h"
#include "bench/device_ceiling.h"
#include "bench/host_load.h"
#include "bench/machine_ceilings.h"
#include "bench/measure.h"
#include "bench/op_timeline.h"
#include "bench/ratio.h"
#include "quantize/method.h"

namespace lowbit {
namespace {

constexpr std::string_view kBaseline = "baseline";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string dtype_format(const std::string& dtype) {
  const std::vector<std::string> known = {"torch.bfloat16", "torch.float16", "torch.float32"};
  constexpr const char* kFormats[] = {"bf16", "f16", "f32"};
  for (size_t i = 0; i < known.size(); ++i) {
    if (dtype == known[i] || dtype == known[i].substr(6)) return kFormats[i];
  }
  throw_error("high_precision_dtype `{}`: must be one of {}{}", printable(dtype), join(known, ", "),
              suggestion(dtype, known));
}

// What else a Linear may stand in there, and what lowbit has instead.
void check_model_type(const std::string& type) {
  if (type == "linear") return;
  constexpr std::string_view kActivations[] = {"sigmoid", "relu", "leakyrelu", "relu6",
                                               "gelu",    "silu", "hardswish"};
  std::vector<std::string> known = {"linear", "transformer_block"};
  for (const std::string_view act : kActivations) known.push_back(fmt::format("ln_linear_{}", act));
  if (std::find(known.begin(), known.end(), type) == known.end()) {
    throw_error("model_type `{}`: unknown{}; known: linear", printable(type),
                suggestion(type, known));
  }
}

// Why a row of that type cannot be had; "" for linear.
std::string no_such_model(const std::string& type) {
  if (type == "linear") return "";
  if (type == "transformer_block") {
    return "lowbit's blocks are Llama's (SwiGLU, rotary positions), no GELU MLP: `lowbit bench "
           "model=synthetic:llama3.1-8b` times whole models of them";
  }
  return "lowbit has RMSNorm and SwiGLU, no LayerNorm and no such activation alone: model_type "
         "linear times the product, `lowbit bench` whole models";
}

// The method of a recipe with a sparsity, as `-q` and `-s` of the llama harness name it; "" where
// torchao pairs the two in no run.
std::string sparse_method(const std::string& recipe, const std::string& sparsity) {
  const std::vector<std::string> known = {"semi-structured", "2:4", "block"};
  const bool semi = sparsity.starts_with("semi") || sparsity == "2:4";
  if (!semi && !sparsity.starts_with("block")) {
    throw_error("sparsity_config_recipe_names `{}`: unknown{}; known: {}", printable(sparsity),
                suggestion(sparsity, known), join(known, ", "));
  }
  if (!semi || recipe == kBaseline) return recipe == kBaseline ? std::string(kBaseline) : "";
  if (contains(recipe, "int8dq")) return "int8dq+semi-structured";
  if (contains(recipe, "float8dq")) return "float8dq+semi-structured";
  return contains(recipe, "marlin") ? "marlin+semi-structured" : "";
}

std::string no_such_sparsity(const std::string& sparsity) {
  if (sparsity.starts_with("block")) {
    return "no kernel here skips zero blocks: a block-sparse Linear takes the time of the dense "
           "one; semi-structured (2:4) does less, with int8dq, float8dq or marlin";
  }
  return "2:4 needs codes here: int8dq, float8dq or marlin, or a format like int4-24";
}

void check_compile_mode(const std::string& mode) {
  const std::vector<std::string> known = {"default", "reduce-overhead", "max-autotune",
                                          "max-autotune-no-cudagraphs"};
  if (std::find(known.begin(), known.end(), mode) != known.end()) return;
  throw_error("torch_compile_mode `{}`: unknown{}; known: {}", printable(mode),
              suggestion(mode, known), join(known, ", "));
}

// Baseline first, each once.
std::vector<std::string> recipes_of(const MicrobenchConfig& config) {
  std::vector<std::string> recipes = {std::string(kBaseline)};
  for (const std::string& recipe : config.quantization_config_recipe_names) {
    if (std::find(recipes.begin(), recipes.end(), recipe) == recipes.end()) {
      recipes.push_back(recipe);
    }
  }
  return recipes;
}

// A recipe that leaves Linears alone would be the baseline under another name.
void check_recipe(const std::string& recipe) {
  const Method method =
      with_context("quantization_config_recipe_names", [&] { return parse_method(recipe); });
  if (method.prepare.any()) {
    throw_error(
        "quantization_config_recipe_names: {}: {} is about the layers of a model, and changes no "
        "Linear's speed; write {}",
        recipe, name(method.prepare), name(method.formats));
  }
  if (method.scope.embedding != "stored" && !method.formats.weights.quantized()) {
    throw_error("quantization_config_recipe_names: {}: {}", recipe, method.note);
  }
}

// A recipe that is only made with a sparsity, as marlin is.
bool needs_sparsity(const std::string& recipe, const std::vector<std::string>& sparsities) {
  return recipe == "marlin" &&
         std::any_of(sparsities.begin(), sparsities.end(), [&](const std::string& sparsity) {
           return !sparse_method(recipe, sparsity).empty();
         });
}

std::string default_name(const MicrobenchCase& c, bool compiled) {
  return fmt::format("benchmark_{}_{}_m{}_k{}_n{}{}", c.quantization, c.model_type, c.m, c.k, c.n,
                     compiled ? "_compile" : "");
}

// One shape of an entry in every recipe.
void add_cases(const MicrobenchConfig& config, const MicrobenchParams& params,
               const NamedShape& shape, std::vector<MicrobenchCase>* cases) {
  MicrobenchCase c;
  c.shape = shape.name;
  c.m = shape.m;
  c.k = shape.k;
  c.n = shape.n;
  c.dtype = params.high_precision_dtype;
  c.dtype_format = dtype_format(params.high_precision_dtype);
  c.compile_mode = params.torch_compile_mode;
  c.device = params.device;
  c.model_type = params.model_type;
  c.output_dir = config.output_dir;
  c.profile = params.enable_profiler;
  c.memory_stats = params.enable_memory_profiler;
  const std::string no_model = no_such_model(params.model_type);
  const auto add = [&](const std::string& recipe, const std::string& sparsity,
                       const std::string& method, const std::string& skip) {
    MicrobenchCase one = c;
    one.quantization = recipe;
    one.sparsity = sparsity;
    one.method = method;
    one.skip = no_model.empty() ? skip : no_model;
    one.name = params.name.empty() ? default_name(one, params.use_torch_compile) : params.name;
    cases->push_back(std::move(one));
  };
  for (const std::string& recipe : recipes_of(config)) {
    if (!needs_sparsity(recipe, config.sparsity_config_recipe_names)) {
      add(recipe, "None", recipe, "");
    }
    for (const std::string& sparsity : config.sparsity_config_recipe_names) {
      const std::string method = sparse_method(recipe, sparsity);
      if (method.empty()) continue;
      add(recipe, sparsity, method, method == kBaseline ? no_such_sparsity(sparsity) : "");
    }
  }
}

Method method_of(const MicrobenchCase& c) {
  return parse_method(c.method == kBaseline ? c.dtype_format : c.method);
}

// baseline / quantized, with the interval that both samples leave.
Estimate speedup(const std::vector<double>& quantized, const std::vector<double>& baseline) {
  const Ratio ratio = ratio_of(quantized, baseline, 0.95);
  if (!ratio.known) return exact(median(baseline) / median(quantized));
  return {ratio.ratio, ratio.lo, ratio.hi,
          static_cast<int64_t>(std::min(quantized.size(), baseline.size()))};
}

std::vector<double> rates(const std::vector<double>& seconds, double amount) {
  std::vector<double> values;
  for (const double s : seconds) values.push_back(amount / s);
  return values;
}

// How near a call comes to what `lowbit roofline` has measured of this machine.
void add_roof(Record* record, const Backend& backend, const std::vector<double>& cold, double bytes,
              double flops, Products products) {
  const std::optional<Ceilings> known = known_ceilings(record->fingerprint);
  if (!known) {
    record->not_measured.emplace_back(
        "linear_of_roof", fmt::format("run `lowbit roofline device={}` once before", backend.name));
    return;
  }
  double bandwidth = known->levels.back().bytes_per_second, rate = known->flops(products);
  const auto least = [&] { return least_call_seconds(bytes, flops, bandwidth, rate); };
  if (series_estimate(cold).lo < least()) {  // before we call it wrong: was the machine busy?
    bandwidth = std::max(bandwidth, read_ceiling(backend, cold_bytes(backend), 1).bytes_per_second);
    rate = std::max(rate, compute_ceiling(backend, products, 1));
  }
  record->roof_unstable = known->unstable;
  add_of_roof(record, cold, least());
}

Record blank(const MicrobenchConfig& config, const MicrobenchCase& c) {
  Record record;
  record.kind = "linear";
  record.random_weights = true;
  record.format = record.resident = c.method == kBaseline ? c.dtype_format : c.method;
  record.config = {{"name", c.name},
                   {"model_type", c.model_type},
                   {"shape", c.shape},
                   {"m", c.m},
                   {"k", c.k},
                   {"n", c.n},
                   {"format", c.quantization},
                   {"sparsity", c.sparsity},
                   {"high_precision_dtype", c.dtype},
                   {"torch_compile_mode", c.compile_mode},
                   {"device", c.device},
                   {"threads", config.threads},
                   {"seed", config.seed},
                   {"min_samples", config.sampling.min_samples},
                   {"max_seconds", config.sampling.max_seconds},
                   {"ci_width", config.sampling.ci_width}};
  Fingerprint& print = record.fingerprint = machine_fingerprint();
  print.device = c.device;
  LlamaBenchFields& fields = record.llama_bench;
  fields.build_commit = print.commit;
  fields.cpu_info = print.cpu;
  fields.backends = c.device;
  fields.model_filename =
      fmt::format("{} {}, m {}, k {}, n {}", c.model_type, c.shape, c.m, c.k, c.n);
  fields.test_time = utc_now();
  return record;
}

}  // namespace

std::vector<MicrobenchCase> microbench_cases(const MicrobenchConfig& config) {
  if (config.benchmark_mode != "inference") {
    throw_error("benchmark_mode = `{}`: models are only run here, not trained; inference it is",
                printable(config.benchmark_mode));
  }
  for (const std::string& recipe : recipes_of(config)) {
    if (recipe != kBaseline && !needs_sparsity(recipe, config.sparsity_config_recipe_names)) {
      check_recipe(recipe);
    }
  }
  std::vector<MicrobenchCase> cases;
  if (config.model_params.empty()) throw_error("model_params: is missing; it says what to time");
  for (size_t i = 0; i < config.model_params.size(); ++i) {
    const MicrobenchParams& params = config.model_params[i];
    with_context(fmt::format("model_params[{}]", i), [&] {
      check_model_type(params.model_type);
      check_compile_mode(params.torch_compile_mode);
      if (params.matrix_shapes.empty()) throw_error("matrix_shapes: is missing");
      for (const MicrobenchShapes& entry : params.matrix_shapes) {
        for (const NamedShape& shape : shapes_of(entry)) add_cases(config, params, shape, &cases);
      }
    });
  }
  return cases;
}

std::vector<std::string> microbench_remarks(const MicrobenchConfig& config) {
  std::vector<std::string> remarks;
  const auto add = [&](bool applies, const char* remark) {
    const bool known = std::find(remarks.begin(), remarks.end(), remark) != remarks.end();
    if (applies && !known) remarks.emplace_back(remark);
  };
  for (const MicrobenchParams& p : config.model_params) {
    add(p.use_torch_compile || p.torch_compile_mode != "default",
        "use_torch_compile, torch_compile_mode: no effect, kernels are compiled already; eager and "
        "compiled columns have the same time");
    add(p.compile, "compile: no effect, it was never read");
    add(!p.sparsity.empty(), "sparsity: never read there; sparsity_config_recipe_names is");
    add(p.enable_memory_profiler,
        "enable_memory_profiler: no history is written; memory_stats has what is allocated");
  }
  return remarks;
}

double least_call_seconds(double bytes, double flops, double bandwidth, double flop_rate) {
  return std::max(bytes / bandwidth, flops / flop_rate);
}

void add_of_roof(Record* record, const std::vector<double>& seconds, double least_seconds) {
  record->set("linear_of_roof", rates(seconds, least_seconds));
  const Estimate& share = record->values.back().estimate;
  if (share.lo <= 1) return;
  record->status = Status::kFail;
  record->reason = fmt::format(
      "takes {:.0f} % of the least time that it can take here: the machine was busy while its "
      "ceilings were measured, or the time is wrong",
      100 / share.median);
}

std::string microbench_trace_path(const MicrobenchCase& c) {
  std::string file = fmt::format("{}_{}_{}_{}_quant_{}_sparsity_{}_profile.json", c.name, c.m, c.k,
                                 c.n, c.quantization, c.sparsity);
  std::replace(file.begin(), file.end(), '/', '_');
  return c.output_dir + "/inference/profiler/" + file;
}

LinearProblem Microbench::problem(const MicrobenchCase& c) const {
  const Method method = method_of(c);
  return {.m = c.m,
          .k = c.k,
          .n = c.n,
          .choice = {.format = method.formats.weights,
                     .quantizer = method.quantizer,
                     .activations = method.formats.activations,
                     .prefill_only = method.scope.prefill_only},
          .seed = static_cast<uint64_t>(config_.seed)};
}

const Microbench::Times& Microbench::baseline(const MicrobenchCase& c, const Backend& backend) {
  const std::string key = fmt::format("{} {} {} {} {} {} {}", c.model_type, c.m, c.k, c.n, c.dtype,
                                      c.device, c.compile_mode);
  const auto found = baselines_.find(key);
  if (found != baselines_.end()) return found->second;
  MicrobenchCase base = c;
  base.method = kBaseline;
  LinearBench bench(backend, problem(base));
  return baselines_.emplace(key, time(bench, backend)).first->second;
}

Microbench::Times Microbench::time(LinearBench& bench, const Backend& backend) const {
  const HostLoad before = host_load();
  Times times{bench.time_cold(config_.sampling, cold_bytes(backend)),
              bench.time_warm(config_.sampling),
              {}};
  if (!backend.device) times.disturbed = disturbances(before, host_load());
  return times;
}

void Microbench::measure(Record* record, const MicrobenchCase& c, const Backend& backend) {
  const LinearProblem p = problem(c);
  const int64_t cold_size = cold_bytes(backend);
  record->reason = too_large(p, cold_size, available_memory());
  if (!record->reason.empty()) {
    record->status = Status::kSkip;
    return;
  }
  const Times& base = baseline(c, backend);
  LinearBench bench(backend, p);
  const Linear& w = bench.weights();
  const std::string kernel(bench.kernel().name);
  record->format = name(w.format) + (w.activations ? "+" + name(*w.activations) : "");
  record->resident = name(w.resident);
  record->fingerprint.kernels = {{"linear", c.m, c.m, kernel}};
  const double bytes = static_cast<double>(w.bytes()), weights = static_cast<double>(c.n) * c.k;
  record->set("model_bytes", exact(bytes));
  record->set("bits_per_weight", exact(8 * bytes / weights));
  record->set("linear_memory", exact(static_cast<double>(bench.allocated())));
  const bool is_baseline = c.method == kBaseline;
  const Times own = is_baseline ? base : time(bench, backend);
  record->set("linear_time_warm", own.warm);
  record->set("linear_baseline_warm", base.warm);
  record->set("linear_speedup_warm", is_baseline ? exact(1) : speedup(own.warm, base.warm));
  for (std::string drift : {drift_of("cold", own.cold), drift_of("warm", own.warm)}) {
    if (!drift.empty()) record->unstable.push_back(std::move(drift));
  }
  for (const std::string& who : own.disturbed) record->unstable.push_back(who);
  for (const std::string& who : base.disturbed) {
    if (!is_baseline) record->unstable.push_back("the baseline: " + who);
  }
  if (own.cold.empty() || base.cold.empty()) {
    constexpr const char* kCached =
        "so small weights stay in a cache whatever is done; the warm time is true";
    record->not_measured.emplace_back("linear_time", kCached);
    record->not_measured.emplace_back("linear_of_roof", "it is of the cold time");
  } else {
    record->set("linear_time", own.cold);
    record->set("linear_baseline", base.cold);
    record->set("linear_speedup", is_baseline ? exact(1) : speedup(own.cold, base.cold));
    const double flops = 2 * weights * c.m;
    record->set("linear_bandwidth", rates(own.cold, bytes));
    record->set("linear_flop_rate", rates(own.cold, flops));
    add_roof(record, backend, own.cold, bytes, flops, bench.kernel().products);
  }
  if (!c.profile || c.output_dir.empty()) return;
  OpTimeline timeline(backend);
  for (int i = 0; i < 3; ++i) bench.call(w, nullptr);
  for (int i = 0; i < 3; ++i) bench.call(w, &timeline);
  write_file_atomically(microbench_trace_path(c), chrome_json(timeline));
}

Record Microbench::run(const MicrobenchCase& c, const Backend& backend) {
  Record record = blank(config_, c);
  describe(&record, backend);
  const auto fail = [&](const std::string& reason) {
    record.status = Status::kFail;
    record.reason = one_line(reason);
  };
  if (!c.skip.empty()) {
    record.status = Status::kSkip;
    record.reason = c.skip;
    return record;
  }
  try {
    measure(&record, c, backend);
  } catch (const Error& error) {
    fail(error.what());
  } catch (const std::bad_alloc&) {
    fail("out of memory");
  }
  return record;
}

}  // namespace lowbit
