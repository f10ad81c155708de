// The options that mean the same on every command that loads a model.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/loaded_model.h"
#include "quantize/method.h"

namespace lowbit {

// What the layers become.
struct QuantizeOptions {
  std::string format;
  std::string quantizer;
  std::string prepare;    // "": as the method of `format` has it
  std::string head;       // "": as the method of `format` has it, else "same"
  std::string embedding;  // the same, else "stored"
  std::string mixed;
  bool allow_skip = false;
};

template <class Visitor>
void visit(Visitor& v, QuantizeOptions& c) {
  v.field(
      "format", c.format,
      "weights, weights+activations, or another tool's name (`lowbit formats`); empty: as stored");
  v.field("quantizer", c.quantizer,
          "how codes are chosen; empty: as the format's name says, or rtn");
  v.field("prepare", c.prepare,
          "before codes are chosen: awq scales up the columns that read large inputs, spinquant "
          "rotates, bsr-0.9-64 zeroes blocks; several with +");
  v.field("head", c.head, "output head: same (as the layers; the default), stored, or a format");
  v.field("embedding", c.embedding, "token embedding: stored (the default), same, or a format");
  v.field("mixed", c.mixed, "YAML file that gives layers their formats (docs/quantizing.md)");
  v.field("allow_skip", c.allow_skip,
          "keep layers as stored whose shape the format cannot take, instead of an error");
}

// Error names the flag.
LayerPolicy layer_policy(const QuantizeOptions& options);

struct ModelOptions {
  std::string model;
  QuantizeOptions quantize;
  CalibrationText calibration;
  std::string device;
  std::string plan = "auto";
  std::string kv_format = "bf16";
  int32_t threads = 0;
};

template <class Visitor>
void visit(Visitor& v, ModelOptions& c) {
  v.field("model", c.model,
          "Hugging Face folder, .gguf file, embedded:NAME or synthetic:NAME[@SEED]");
  visit(v, c.quantize);
  visit(v, c.calibration);
  v.field("device", c.device, "cpu, ref or cuda; empty: cpu");
  v.field("plan", c.plan, kPlanHelp);
  v.field("kv_format", c.kv_format,
          "of the key/value cache: bf16, f32, int8, fp8, int4, mxfp8, ...");
  v.field("threads", c.threads, "of the cpu backend; 0: one per core");
}

// The backend that --device names; the default is cpu where this build has it.
const Backend& chosen_backend(const ModelOptions& options);

// What `flag` says; its error names the flag, and all of a pair of which one half is wrong.
Method parse_format_flag(const std::string& flag, const std::string& text);

// What --format and --kv-format ask for. Error for names that are not formats.
LoadOptions load_options(const ModelOptions& options);

// Sets the threads, loads the model and shows the progress of a long load. With `plan_only` no
// weights are read (LoadOptions). `trace`, if not null, hears of memory.
LoadedModel load_model_for(const ModelOptions& options, bool plan_only = false,
                           MemoryTrace* trace = nullptr);

// What a preparation does that nobody would guess: "bsr-0.9-64: ...", or none.
std::vector<std::string> preparation_notes(const Preparation& prepare);

// "int4 on cpu (AMD EPYC ...), KV bf16; kernels cpu.gemv.int4.avx2, ...": what really runs, in one
// line.
std::string what_runs(const LoadedModel& loaded, const ModelOptions& options);

// The names of all kernels that the plans chose, each once, in order of first use.
std::vector<std::string> kernels_used(const Model& model);

}  // namespace lowbit
