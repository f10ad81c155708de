// What `lowbit bench` takes: keys of the YAML file and of key=value, in one list.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "formats/format.h"

namespace lowbit {

struct BenchConfig {
  std::vector<std::string> models;
  std::vector<std::string> formats = {"bf16",  "int8", "fp8",  "fp6",  "int4",    "mxfp4",
                                      "nvfp4", "int3", "int2", "int1", "ternary", "int8+int8"};
  std::string device = "cpu";
  int32_t threads = 0;
  int32_t prompt_tokens = 128;
  int32_t new_tokens = 64;
  int32_t ctx = 0;
  std::string kv_format = "bf16";
  int64_t seed = 0;
  int32_t min_samples = 6;
  double max_seconds = 3;
  double ci_width = 0.0075;
  std::string quality = "auto";
  std::string text;
  int32_t quality_tokens = 2048;
  std::string out;
  std::string output = "table";
};

template <class Visitor>
void visit(Visitor& v, BenchConfig& c) {
  v.field("model", c.models, "folders, .gguf files, synthetic:NAME; none: the embedded model");
  v.field(
      "format", c.formats,
      "formats, or other tools' names for them; `all` families of ours, `stored` as in the file");
  v.field("device", c.device, "backend: cpu or ref");
  v.field("threads", c.threads, "CPU threads; 0: one per core");
  v.field("prompt_tokens", c.prompt_tokens, "tokens of the prompt (random ids)");
  v.field("new_tokens", c.new_tokens, "tokens drawn after it: one by the prompt, then one a step");
  v.field("ctx", c.ctx, "window of the quality figures; 0: 512, or the model's context if shorter");
  v.field("kv_format", c.kv_format,
          "format of the KV cache: bf16, f32, int8, fp8, int4, mxfp8, ...");
  v.field("seed", c.seed, "of the prompt and of the self-generated text");
  v.field("min_samples", c.min_samples, "repetitions at least, time permitting; 6 give a 95 % CI");
  v.field("max_seconds", c.max_seconds, "of repetitions per case; one always runs to its end");
  v.field("ci_width", c.ci_width, "stop when the 95 % interval is this narrow, / the median");
  v.field("quality", c.quality, "none, self (text that the model generates), text, auto");
  v.field("text", c.text, "text file for perplexity and KL");
  v.field("quality_tokens", c.quality_tokens, "tokens of text to score at most; 0: all of it");
  v.field("out", c.out, "file that one JSON line per case is appended to");
  v.field("output", c.output, "table, md or json on standard output");
}

// Error names the key for anything out of range, unknown or contradictory.
void check(const BenchConfig& config);

// `formats` with "all" replaced and our own names made canonical; "stored" and the names of other
// tools stay.
std::vector<std::string> expand_formats(const std::vector<std::string>& formats);

// The configuration of one case, as its record shows it: one model, one format, no output options.
nlohmann::ordered_json case_json(const BenchConfig& config, const std::string& model,
                                 const std::string& format);

}  // namespace lowbit
