// The two lines that low-bit-inference ends with: means of per-run values, with its definitions.
#include <cmath>
#include <limits>

#include "base/check.h"
#include "bench/suite.h"
#include "load/checkpoint.h"
#include "models/llama_config.h"

namespace lowbit {
namespace {

const std::vector<double>* samples_of(const Record& record, std::string_view tag) {
  for (const Value& value : record.values) {
    if (value.tag == tag) return &value.samples;
  }
  return nullptr;
}

// As Python writes a float.
std::string python(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

// Of one generation, as a counter of torch operators sees it on unquantized weights: all Linears,
// the head for each new token, attention over a cache whose length is a power of two.
double generation_flops(const LlamaConfig& m, double prompt, double tokens) {
  const double h = m.hidden, q = double{1} * m.heads * m.head_dim,
               kv = double{1} * m.kv_heads * m.head_dim;
  const double linears = m.layers * (2 * h * q + 2 * h * kv + 3 * h * m.intermediate);
  const double cache = std::exp2(std::ceil(std::log2(prompt + tokens)));
  const double passes = prompt + tokens - 1;
  return 2 * linears * passes + 2 * h * m.vocab * tokens + 4 * q * cache * m.layers * passes;
}

double number_of(const Record& record, const char* key) {
  const auto found = record.config.find(key);
  return found != record.config.end() && found->is_number() ? found->get<double>() : 0;
}

// Stored bytes without the token table; nan where no decode step was counted.
double model_bytes(const Record& record, const LlamaConfig& m) {
  const Estimate* step = record.find("bytes_per_token");
  if (!step) return std::numeric_limits<double>::quiet_NaN();
  const double bits = parse_cache_format(record.config_text("kv_format")).bits_per_weight();
  const double state = 2.0 * m.layers * m.kv_heads * m.head_dim * bits / 8;
  const LlamaBenchFields& f = record.llama_bench;
  return step->median - state * (f.n_prompt + (f.n_gen + 1) / 2.0);
}

}  // namespace

std::string suite_lines(const Record& record) {
  const auto* prefill = samples_of(record, "prefill_tps");
  const auto* overall = samples_of(record, "tps");
  if (!prefill || !overall || prefill->empty()) return "";
  const LlamaConfig model =
      read_llama_config(open_checkpoint(record.config_text("model"))->config());
  const double prompt = record.llama_bench.n_prompt, tokens = number_of(record, "new_tokens");
  const auto runs = static_cast<double>(prefill->size());
  double tps = 0, ttft = 0, tpot = 0, prefill_rate = 0, decode_rate = 0, latency = 0;
  for (size_t i = 0; i < prefill->size(); ++i) {
    const double first = prompt / (*prefill)[i], all = tokens / (*overall)[i];
    latency += all / runs;
    ttft += first / runs;
    tps += tokens / all / runs;
    tpot += (all - first) / tokens / runs;
    prefill_rate += prompt / first / runs;
    decode_rate += tokens / (all - first) / runs;
  }
  const double flops = generation_flops(model, prompt, tokens) / 1e12 / latency;
  const Estimate* watts = record.find("power");
  const double power = watts ? watts->median : std::numeric_limits<double>::quiet_NaN();
  return fmt::format(
      "Profiling complete. Metrics: tokens per second (tps): {}, time to first token (ttft): {}, "
      "time per output token (tpot): {}, prefill throughput: {}, decode throughput: {}, latency: "
      "{}, iterations: {}\n"
      "GPU util: FLOPs (total generate flops/latency): {} TFLOPs, FLOP per token used "
      "(FLOPs/tps): {} TFLOP/token, Bandwidth used (tps*model_size): {} GB/s, Power used in last "
      "sample period: {} W.\n",
      python(tps), python(ttft), python(tpot), python(prefill_rate), python(decode_rate),
      python(latency), prefill->size(), python(flops), python(flops / tps),
      python(tps * model_bytes(record, model) / 1e9), python(power));
}

}  // namespace lowbit
