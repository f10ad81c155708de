// The target before anything runs: how many tokens a second this machine can do at most, and which
// of its resources says so.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/machine_ceilings.h"
#include "bench/work.h"

namespace lowbit {

struct RooflineConfig {
  std::string model = {};
  std::vector<std::string> format = {"standard"};
  std::vector<int32_t> batch = {1}, context = {0};
  std::string device = "cpu";
  int32_t threads = 0;
  std::string kv_format = "bf16";
  double bandwidth = 0, compute = 0;
  bool fresh = false;
  std::string output = "table";
};

template <class Visitor>
void visit(Visitor& v, RooflineConfig& c) {
  v.field("model", c.model, "folder, .gguf file, synthetic:NAME; none: the embedded model");
  v.field("format", c.format, "formats, as `lowbit bench` takes them");
  v.field("batch", c.batch, "sequences that decode together");
  v.field("context", c.context,
          "tokens of the prompt, and positions that a decode step attends to; 0: 512, or the "
          "model's context if shorter");
  v.field("device", c.device, "backend: cpu, cuda or ref");
  v.field("threads", c.threads, "CPU threads; 0: one per core");
  v.field("kv_format", c.kv_format, "format of the KV cache");
  v.field("bandwidth", c.bandwidth,
          "GB/s of another machine's memory, with compute: predict for that one");
  v.field("compute", c.compute, "TFLOP/s of another machine, with bandwidth");
  v.field("fresh", c.fresh, "measure this machine again although it has a stored result");
  v.field("output", c.output, "table, md or json on standard output");
}

// Error names the key for anything out of range or contradictory.
void check(const RooflineConfig& config);

inline constexpr const char* kCompute = "compute";  // the resource that is no level

// A limit and what sets it.
struct Limit {
  double tokens_per_second = 0;
  Work work = {};  // of one step, or of the whole prompt
  double memory_seconds = 0, compute_seconds = 0;
  std::string resource = {};  // kCompute, or the level that holds what is read: "L3", "memory"
};

Limit limit_of(const Work& work, double tokens, const Ceilings& ceilings);
// The same where what is read lies in that level.
Limit limit_in(const Level& level, const Work& work, double tokens, const Ceilings& ceilings);

// The smallest batch at which computing takes longer than reading; 0: none up to `most`, because
// each sequence reads as much state as it computes with.
int32_t compute_bound_batch(const WorkCounter& counter, double context, const Ceilings& ceilings,
                            int32_t most = 4096);

struct RooflineRow {
  std::string format, resident;
  int32_t batch = 1, context = 0;
  Limit decode = {}, prefill = {};
  int32_t compute_bound_from = 0;
};

// One row per format, batch and context. Reads no weights.
std::vector<RooflineRow> roofline(const RooflineConfig& config, const Backend& backend,
                                  const Ceilings& ceilings);

std::vector<std::vector<std::string>> roofline_table(std::span<const RooflineRow> rows);
// "L3 41.2 GB/s (up to 32 MB), ...; 230 GFLOP/s f32, ...", the date last.
std::string ceilings_text(const Ceilings& ceilings);
nlohmann::ordered_json roofline_json(std::span<const RooflineRow> rows, const Ceilings& ceilings);

}  // namespace lowbit
