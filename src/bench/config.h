// What `lowbit bench` takes: keys of the YAML file and of key=value, in one list. Keys that have
// several values make a sweep: every combination of them is a case.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "formats/format.h"
#include "ops/backend.h"

namespace lowbit {

// How a case is measured; the same for all cases of a sweep.
struct MeasureKeys {
  int64_t seed = 0;
  int32_t min_samples = 6;
  double max_seconds = 3;
  double ci_width = 0.0075;
  std::string quality = "auto";
  std::string text;
  int32_t quality_tokens = 2048;
  std::string calibration;
  int32_t calibration_tokens = 32768;
  std::string prompt;
  int32_t skip_first = 0, wait = 0, warmup = 0, active = 0, repeat = 1;
  double temperature = 0, top_p = 1;
  int32_t top_k = 0;
};

template <class T>
using One = T;
template <class T>
using Several = std::vector<T>;

// What is measured: one value each in a case, any number in a config.
template <template <class> class Axis>
struct CaseKeys : MeasureKeys {
  Axis<std::string> model;
  Axis<std::string> format = {"standard"};
  Axis<std::string> head = {""};
  Axis<std::string> device = {"cpu"};
  Axis<std::string> plan = {"auto"};
  Axis<int32_t> threads = {0};
  Axis<int32_t> prompt_tokens = {128};
  Axis<int32_t> new_tokens = {64};
  Axis<int32_t> depth = {0};
  Axis<int32_t> batch = {1};
  Axis<int32_t> cache_size = {0};
  Axis<int32_t> ctx = {0};
  Axis<std::string> kv_format = {"bf16"};
};

using BenchCase = CaseKeys<One>;

struct BenchConfig : CaseKeys<Several> {
  double timeout = 0;
  std::string out;
  std::string output = "table";
};

template <class Visitor, template <class> class Axis>
void visit(Visitor& v, CaseKeys<Axis>& c) {
  v.field("model", c.model, "folders, .gguf files, synthetic:NAME; none: the embedded model");
  v.field("format", c.format,
          "formats, or other tools' names for them; `standard` a dozen to choose from, `all` "
          "families of ours, `stored` as in the file");
  v.field("head", c.head,
          "format of the output head, same (as the layers) or stored; empty: as the name says");
  v.field("device", c.device, "backend: cpu, ref or cuda");
  v.field("plan", c.plan, kPlanHelp);
  v.field("threads", c.threads, "CPU threads; 0: one per core");
  v.field("prompt_tokens", c.prompt_tokens, "tokens of the prompt (random ids)");
  v.field("new_tokens", c.new_tokens, "tokens drawn after it: one by the prompt, then one a step");
  v.field("depth", c.depth, "tokens of context before the prompt (random ids), not timed");
  v.field("batch", c.batch, "sequences that decode together, each after a prompt of its own");
  v.field("cache_size", c.cache_size,
          "tokens of a sequence that the cache has room for; 0: as many as the case needs");
  v.field("ctx", c.ctx, "window of the quality figures; 0: 512, or the model's context if shorter");
  v.field("kv_format", c.kv_format,
          "format of the KV cache: bf16, f32, int8, fp8, int4, mxfp8, ...");
  v.field("seed", c.seed, "of the prompt, of the self-generated text and of the order of cases");
  v.field("min_samples", c.min_samples, "repetitions at least, time permitting; 6 give a 95 % CI");
  v.field("max_seconds", c.max_seconds, "of repetitions per case; one always runs to its end");
  v.field("ci_width", c.ci_width, "stop when the 95 % interval is this narrow, / the median");
  v.field("quality", c.quality, "none, self (text that the model generates), text, auto");
  v.field("text", c.text, "text file for perplexity and KL");
  v.field("quality_tokens", c.quality_tokens, "tokens of text to score at most; 0: all of it");
  v.field("calibration", c.calibration,
          "text file for methods that look at inputs (awq-uint4-64, int4wo-64-gptq)");
  v.field("calibration_tokens", c.calibration_tokens, "tokens of it to look at");
  v.field("prompt", c.prompt,
          "text of the prompt, instead of random ids; a model without a tokenizer gets those");
  v.field("skip_first", c.skip_first, "with active: runs at the start that are not recorded");
  v.field("wait", c.wait, "with active: runs of each cycle that are not recorded");
  v.field("warmup", c.warmup, "with active: runs after those that are not recorded either");
  v.field("active", c.active, "runs of each cycle that are recorded; 0: as many as ci_width needs");
  v.field("repeat", c.repeat, "with active: cycles; 0 means 1");
  v.field("temperature", c.temperature, "of the draws; 0: greedy");
  v.field("top_p", c.top_p, "draw from the most likely tokens that hold this probability; 1: off");
  v.field("top_k", c.top_k, "draw from the k most likely tokens; 0: off");
}

template <class Visitor>
void visit(Visitor& v, BenchConfig& c) {
  visit(v, static_cast<CaseKeys<Several>&>(c));
  v.field("timeout", c.timeout, "seconds after which a case has failed; 0: none");
  v.field("out", c.out,
          "file that each case is appended to: JSON lines, or a database if it ends in .sqlite");
  v.field("output", c.output, "table, md or json; csv, jsonl or sql: with llama-bench's fields");
}

// Error names the key for anything out of range, unknown or contradictory.
void check(const BenchConfig& config);

// `formats` with "all" and "standard" replaced and our own names made canonical; "stored" and the
// names of other tools stay.
std::vector<std::string> expand_formats(const std::vector<std::string>& formats);

// Every combination, each once: models outermost, formats innermost.
std::vector<BenchCase> cases_of(const BenchConfig& config);

// The configuration of one case, as its record shows it; equal cases have equal JSON.
nlohmann::ordered_json case_json(const BenchCase& c);

// The same as text. Error: a name that is not UTF-8.
std::string case_text(const BenchCase& c);

// The command that runs it: every key that is not at its default, quoted for a shell.
std::string repro_command(const BenchCase& c);

// The inverse of case_text(). Error: not an object of exactly these keys.
BenchCase parse_case(std::string_view json);

}  // namespace lowbit
