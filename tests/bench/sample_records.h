// Records with fixed numbers for the tests of what is written from records.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "bench/measure.h"

namespace lowbit {

// Four layers that are loaded, then two steps.
inline std::vector<MemoryEntry> sample_memory() {
  std::vector<MemoryEntry> entries;
  for (int i = 0; i < 6; ++i) {
    MemoryEntry& entry = entries.emplace_back();
    entry.event = i < 4 ? "weights: layers." + std::to_string(i) : "decode at " + std::to_string(i);
    entry.seconds = 0.25 * i;
    entry.taken = {3.67e6 * std::min(i + 1, 4), i < 4 ? 0 : 1.3e6, i < 4 ? 0 : 2e6,
                   i < 4 ? 0.5e6 : 4e6};
    entry.state_used = i < 4 ? 0 : 0.3e6;
    entry.temporary_used = i < 4 ? 0 : 0.1e6;
    entry.resident = 5e6 + 3e6 * i;
  }
  return entries;
}

// bf16 that ran, int4 that ran slower than bf16, one that was decoded to bf16, one that was
// skipped, one that failed, and random weights in a table of their own.
inline std::vector<Record> sample_records() {
  const auto base = [](const std::string& model, const std::string& format) {
    Record r;
    r.config = {{"model", model}, {"format", format}, {"prompt_tokens", 128}};
    r.repro = "lowbit bench model=" + model + " format=" + format;
    r.format = r.resident = format;
    r.fingerprint.version = "0.1.0";
    r.fingerprint.commit = "0123abc";
    r.fingerprint.cpu = "Some CPU";
    r.fingerprint.threads = 2;
    r.fingerprint.device = "cpu";
    r.fingerprint.kernels = {{"qkv", 1, 4, "cpu.gemv." + format + ".avx2"},
                             {"qkv", 5, 512, "cpu.gemm." + format + ".avx2"}};
    r.fingerprint.logits_hash = "00ff00ff00ff00ff";
    r.fingerprint.model_hash = "0f0f0f0f0f0f0f0f";
    r.llama_bench.model_filename = model;
    r.llama_bench.backends = "cpu";
    r.llama_bench.n_threads = 2;
    r.llama_bench.type_k = r.llama_bench.type_v = "bf16";
    r.llama_bench.test_time = "2026-01-02T03:04:05Z";
    return r;
  };
  const auto measured = [&](Record r, double slowness, double bytes) {
    r.llama_bench.model_n_params = 7'340'000;
    std::vector<RunTiming> runs;
    for (const int i : {0, 3, 1, 5, 2, 4}) {  // in no order: nothing drifts
      const double noise = 1 + 0.01 * i;
      runs.push_back(
          {0.05 * slowness * noise, 0.052 * slowness * noise, 0.063 * slowness * noise, 63});
      for (int step = 0; step < 63; ++step) {  // one in sixteen takes twice as long
        runs.back().steps.push_back(0.001 * slowness * noise * (step % 16 == 15 ? 1.9375 : 0.9375));
      }
    }
    r.set("model_bytes", exact(bytes));
    r.set("bits_per_weight", exact(bytes * 8 / 7.34e6));
    add_speed(&r, runs, {.prompt_tokens = 128, .new_tokens = 64});
    r.set("bytes_per_token", exact(bytes + 655'360));
    add_ceiling(&r, runs, bytes + 655'360, 40e9);
    r.roof = "L3, as lowbit roofline measured it 2026-01-01T00:00:00Z";
    add_work(&r, runs, {.bytes = bytes + 655'360, .float_flops = 15e6},
             {.bytes = bytes + 589'824, .float_flops = 1.9e9},
             {.levels = {{"L3", 0, 40e9}},
              .float_flops = 200e9,
              .integer_flops = 800e9,
              .measured = "2026-01-01T00:00:00Z"});
    r.set("peak_memory", exact(bytes * 2 + 30e6));
    r.not_measured.emplace_back("energy_per_token", "no <RAPL> here");
    return r;
  };
  const auto scored = [](Record r, double perplexity, double kl, int64_t hits) {
    r.set("perplexity", mean_estimate(perplexity, 0.4, 2048));
    r.set("kl_mean", mean_estimate(kl, kl / 50, 2048));
    r.set("top1_agreement", fraction_estimate(hits, 2048));
    r.quality = QualityText{"self-generated, 8 x 256 tokens, temperature 1, seed 0",
                            "bf16 as stored", 257, 2048};
    return r;
  };
  std::vector<Record> records;
  records.push_back(scored(measured(base("prose", "bf16"), 1, 14.68e6), 24.5, 0, 2048));
  records.back().memory = sample_memory();
  records.push_back(scored(measured(base("prose", "int4"), 1.5, 4.13e6), 25.71, 0.0421, 1875));
  records.push_back(scored(measured(base("prose", "q4_0"), 1.0, 14.68e6), 25.9, 0.0512, 1850));
  records.back().resident = "bf16";
  records.push_back(base("prose", "f32"));
  records.back().status = Status::kSkip;
  records.back().reason = "needs about 32.0 GB of memory for its weights; 20.1 GB are free";
  records.push_back(measured(base("prose", "int8"), 1, 7.5e6));
  records.back().status = Status::kFail;
  records.back().reason = "decode reads too much";
  records.push_back(measured(base("synthetic:tiny", "bf16"), 1, 5.9e6));
  records.back().random_weights = true;
  return records;
}

}  // namespace lowbit
