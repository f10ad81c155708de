#include "bench/measure.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/rng.h"
#include "base/timer.h"
#include "bench/sampling.h"

namespace lowbit {
namespace {

std::vector<int32_t> random_ids(int32_t vocab, uint64_t seed, int32_t count) {
  const Rng rng(seed);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(rng.bits(i) % static_cast<uint64_t>(vocab));
  }
  return ids;
}

// Of a sequence's random ids; those of its context are one further.
uint64_t seed_of(const SpeedOptions& options, int32_t sequence) {
  return options.seed + 2 * static_cast<uint64_t>(sequence);
}

template <class Function>
std::vector<double> each(std::span<const RunTiming> runs, Function function) {
  std::vector<double> values;
  for (const RunTiming& run : runs) values.push_back(function(run));
  return values;
}

// token_p50, p90 and p99, and the distribution of all steps.
void add_token_times(Record* record, std::span<const RunTiming> runs) {
  std::vector<double> all;
  for (const RunTiming& run : runs) all.insert(all.end(), run.steps.begin(), run.steps.end());
  if (all.empty()) return;
  constexpr std::pair<std::string_view, double> kQuantiles[] = {
      {"token_p50", 0.5}, {"token_p90", 0.9}, {"token_p99", 0.99}};
  for (const auto& row : kQuantiles) {
    record->set(row.first,
                each(runs, [&](const RunTiming& r) { return quantile(r.steps, row.second); }));
  }
  for (int percent = 0; percent <= 100; ++percent) {
    record->token_seconds.push_back(quantile(all, percent / 100.0));
  }
}

// `reason`: of the median of the value that was set last, which is a fraction of a ceiling.
template <class Reason>
void fail_above_ceiling(Record* record, const Reason& reason) {
  const Estimate& fraction = record->values.back().estimate;
  if (fraction.lo <= 1 || record->status != Status::kOk) return;
  record->status = Status::kFail;
  record->reason = reason(fraction.median);
}
void fail_above_flops(Record* record, std::string_view what) {
  fail_above_ceiling(record, [&](double fraction) {
    return fmt::format(
        "{} does {:.0f} % of the operations that this machine does at most: operations or times "
        "are wrong, or the machine was busy while the ceiling was measured (`lowbit roofline "
        "fresh=true`)",
        what, fraction * 100);
  });
}

struct BandwidthTags {
  std::string_view what, rate, ceiling, fraction;
};

// Bytes per second of each run, and how much of `ceiling` that is.
void add_bandwidth(Record* record, const BandwidthTags& tags, const std::vector<double>& rates,
                   double ceiling) {
  LB_CHECK(!rates.empty() && ceiling > 0);
  std::vector<double> fractions;
  for (const double rate : rates) fractions.push_back(rate / ceiling);
  record->set(tags.rate, rates);
  record->set(tags.ceiling, exact(ceiling));
  record->set(tags.fraction, fractions);
  fail_above_ceiling(record, [&](double fraction) {
    return fmt::format(
        "{} reads {:.2f} GB/s, {:.0f} % of the {:.2f} GB/s that this machine reads at most: bytes "
        "or times are wrong, or the machine was busy while the ceiling was measured",
        tags.what, median(rates) / 1e9, fraction * 100, ceiling / 1e9);
  });
}

// What `work` could run at if nothing but multiply-adds took time.
double flop_ceiling(const Work& work, const Ceilings& ceilings) {
  return work.flops() / compute_seconds(work, ceilings);
}

}  // namespace

std::vector<int32_t> prompt_ids(int32_t vocab, const SpeedOptions& options, int32_t sequence) {
  if (!options.prompt.empty()) return options.prompt;
  return random_ids(vocab, seed_of(options, sequence), options.prompt_tokens);
}

void fill_context(Stepper& stepper, const SpeedOptions& options) {
  for (int32_t s = 0; s < options.batch; ++s) {
    if (options.depth > 0 && stepper.length(s) >= options.depth) {
      stepper.truncate(s, options.depth);
      continue;
    }
    stepper.truncate(s, 0);
    if (options.depth == 0) continue;
    stepper.prefill(s, random_ids(stepper.vocab_size(), seed_of(options, s) + 1, options.depth));
  }
}

void prefill_all(Stepper& stepper, const SpeedOptions& options) {
  if (options.batch == 1) return stepper.prefill(0, prompt_ids(stepper.vocab_size(), options));
  std::vector<std::vector<int32_t>> prompts;
  std::vector<Chunk> last;
  for (int32_t s = 0; s < options.batch; ++s) {
    prompts.push_back(prompt_ids(stepper.vocab_size(), options, s));
    std::span<const int32_t> rest = prompts.back();
    last.push_back({s, rest.last(1), 1});
    rest = rest.first(rest.size() - 1);
    while (!rest.empty()) {
      const size_t count = std::min(rest.size(), static_cast<size_t>(stepper.max_step_tokens()));
      const Chunk chunk{s, rest.first(count), 0};
      stepper.step({&chunk, 1});
      rest = rest.subspan(count);
    }
  }
  stepper.step(last);
}

void start_decode_all(Stepper& stepper, const SpeedOptions& options) {
  std::vector<int32_t> sequences;
  std::vector<SampleParams> params;
  for (int32_t s = 0; s < options.batch; ++s) {
    sequences.push_back(s);
    params.push_back(options.sampling);
    params.back().seed += static_cast<uint64_t>(s);
  }
  stepper.start_decode(sequences, params);
}

void truncate_all(Stepper& stepper, const SpeedOptions& options) {
  for (int32_t s = 0; s < options.batch; ++s) stepper.truncate(s, options.depth);
}

void check_context(const SpeedOptions& options, int64_t context) {
  const int64_t length = int64_t{options.depth} + options.prompt_tokens + options.new_tokens - 1;
  if (length <= context) return;
  throw_error("{}prompt_tokens = {} and new_tokens = {} need a context of {}; the model has {}",
              options.depth > 0 ? fmt::format("depth = {}, ", options.depth) : "",
              options.prompt_tokens, options.new_tokens, length, context);
}

RunTiming time_run(Stepper& stepper, const SpeedOptions& options) {
  check_context(options, stepper.max_context());
  fill_context(stepper, options);
  stepper.synchronize();
  RunTiming run;
  run.steps.reserve(static_cast<size_t>(options.new_tokens));
  run.begin = now_seconds();
  Timer timer;
  prefill_all(stepper, options);
  stepper.synchronize();
  run.prefill = timer.seconds();
  start_decode_all(stepper, options);
  stepper.drawn();
  run.ttft = timer.seconds();
  timer.restart();
  double last = 0;
  for (int32_t enqueued = 1; run.decode_steps + 1 < options.new_tokens; ++run.decode_steps) {
    const int32_t wanted = run.decode_steps + 2 + stepper.ahead();
    for (; enqueued < std::min(options.new_tokens, wanted); ++enqueued) stepper.decode();
    stepper.drawn();
    const double now = timer.seconds();
    run.steps.push_back(now - last);
    last = now;
  }
  run.decode = last;
  run.end = now_seconds();
  truncate_all(stepper, options);
  return run;
}

bool precise_enough(std::span<const RunTiming> runs, const SpeedOptions& options) {
  if (static_cast<int64_t>(runs.size()) < options.min_samples) return false;
  const auto width = [&](auto member) {
    return series_estimate(each(runs, [&](const RunTiming& run) { return run.*member; }))
        .relative_width();
  };
  return width(&RunTiming::ttft) <= options.ci_width &&
         (runs[0].decode_steps == 0 || width(&RunTiming::decode) <= options.ci_width);
}

bool is_warm(std::span<const double> seconds) {
  constexpr double kFaster = 0.99;
  if (seconds.size() < 2) return false;
  const auto before = seconds.first(seconds.size() - 1);
  return seconds.back() > kFaster * *std::min_element(before.begin(), before.end());
}

namespace {

void warm_up(Stepper& stepper, const SpeedOptions& options) {
  SpeedOptions few = options;
  few.new_tokens = std::min(options.new_tokens, 16);
  std::vector<double> seconds;
  const Timer timer;
  do {
    const RunTiming run = time_run(stepper, few);
    seconds.push_back(run.ttft + run.decode);
  } while (!is_warm(seconds) && timer.seconds() < options.max_seconds / 4);
}

}  // namespace

std::vector<RunTiming> measure_speed(Stepper& stepper, const SpeedOptions& options) {
  if (options.schedule.active > 0) {
    std::vector<RunTiming> recorded;
    for (int64_t run = 0; run < options.schedule.total(); ++run) {
      options.between_runs();
      const RunTiming timing = time_run(stepper, options);
      if (options.schedule.records(run)) recorded.push_back(timing);
    }
    options.between_runs();
    return recorded;
  }
  warm_up(stepper, options);
  std::vector<RunTiming> runs;
  const auto take = [&] {
    options.between_runs();
    runs.push_back(time_run(stepper, options));
  };
  sample_until(static_cast<size_t>(options.min_samples), options.max_seconds, take,
               [&] { return precise_enough(runs, options); });
  options.between_runs();
  return runs;
}

std::string drift_of(std::string_view what, std::span<const double> seconds) {
  constexpr double kMost = 0.01, kByChance = 0.05;
  constexpr size_t kMany = 10;
  if (static_cast<int64_t>(seconds.size()) < kDriftRuns) return "";
  const size_t half = seconds.size() / 2;
  const double change = median(seconds.subspan(half)) / median(seconds.first(half)) - 1;
  if (std::abs(change) <= kMost) return "";
  if (seconds.size() < kMany && trend_probability(seconds) >= kByChance) return "";
  return fmt::format("{}: the second half of its {} runs took {:.1f} % {} than the first", what,
                     seconds.size(), std::abs(change) * 100, change > 0 ? "longer" : "less");
}

void add_speed(Record* record, std::span<const RunTiming> runs, const SpeedOptions& options) {
  LB_CHECK(!runs.empty());
  const double batch = options.batch;
  const double prompt = batch * options.prompt_tokens, tokens = batch * options.new_tokens;
  const bool decodes = runs[0].decode_steps > 0;
  record->set("prefill_tps", each(runs, [&](const RunTiming& r) { return prompt / r.prefill; }));
  if (decodes) {
    record->set("decode_tps",
                each(runs, [&](const RunTiming& r) { return batch * r.decode_steps / r.decode; }));
  }
  record->set("tps", each(runs, [&](const RunTiming& r) { return tokens / (r.ttft + r.decode); }));
  record->set("ttft", each(runs, [](const RunTiming& r) { return r.ttft; }));
  if (decodes) {
    record->set("tpot", each(runs, [](const RunTiming& r) { return r.decode / r.decode_steps; }));
  }
  record->set("latency", each(runs, [](const RunTiming& r) { return r.ttft + r.decode; }));
  add_token_times(record, runs);

  const auto note_drift = [&](std::string_view what, double RunTiming::*member) {
    std::string drift = drift_of(what, each(runs, [&](const RunTiming& r) { return r.*member; }));
    if (!drift.empty()) record->unstable.push_back(std::move(drift));
  };
  note_drift("ttft", &RunTiming::ttft);
  if (decodes) note_drift("decode", &RunTiming::decode);

  LlamaBenchFields& fields = record->llama_bench;
  fields.n_prompt = options.prompt_tokens;
  fields.n_gen = options.new_tokens - 1;
  fields.n_depth = options.depth;
  const double processed = prompt + tokens - batch;
  std::vector<double> ns;
  for (const RunTiming& run : runs) {
    ns.push_back(std::round((run.ttft + run.decode) * 1e9));
    fields.samples_ns.push_back(static_cast<int64_t>(ns.back()));
    fields.samples_ts.push_back(processed * 1e9 / ns.back());
  }
  fields.avg_ns = static_cast<int64_t>(std::llround(mean(ns)));
  fields.stddev_ns = static_cast<int64_t>(std::llround(standard_deviation(ns)));
  fields.avg_ts = mean(fields.samples_ts);
  fields.stddev_ts = standard_deviation(fields.samples_ts);
}

void add_energy(Record* record, std::span<const RunTiming> runs,
                std::span<const DeviceSample> samples, int32_t drawn_tokens) {
  std::vector<double> energy, power;
  for (const RunTiming& run : runs) {
    const double joules = joules_between(samples, run.begin, run.end);
    if (!std::isfinite(joules)) continue;
    energy.push_back(joules / drawn_tokens);
    power.push_back(joules / (run.end - run.begin));
  }
  if (energy.empty()) {
    record->not_measured.emplace_back("energy_per_token", "the device told no energy or power");
  } else {
    record->set("energy_per_token", energy);
    record->set("power", power);
  }
  const DeviceSummary summary = summarize(samples);
  if (std::isfinite(summary.megahertz)) record->set("device_clock", exact(summary.megahertz));
  if (std::isfinite(summary.celsius)) record->set("device_temperature", exact(summary.celsius));
  record->unstable.insert(record->unstable.end(), summary.unstable.begin(), summary.unstable.end());
}

double highest_share(std::span<const RunTiming> runs, const Work& decode, const Work& prefill,
                     const Ceilings& ceilings) {
  double share = 0;
  for (const RunTiming& r : runs) {
    share = std::max(share, prefill.flops() / r.prefill / flop_ceiling(prefill, ceilings));
    if (r.decode_steps == 0) continue;
    share = std::max(share,
                     decode.flops() * r.decode_steps / r.decode / flop_ceiling(decode, ceilings));
  }
  return share;
}

void add_work(Record* record, std::span<const RunTiming> runs, const Work& decode,
              const Work& prefill, const Ceilings& ceilings, int32_t batch) {
  record->set("prefill_bytes", exact(prefill.bytes));
  record->set("prefill_flops", exact(prefill.flops()));
  const double most = flop_ceiling(prefill, ceilings);
  const auto rate = [&](const RunTiming& r) { return prefill.flops() / r.prefill; };
  record->set("prefill_flop_rate", each(runs, rate));
  record->set("prefill_flop_ceiling", exact(most));
  record->set("prefill_flop_fraction",
              each(runs, [&](const RunTiming& r) { return rate(r) / most; }));
  fail_above_flops(record, "prefill");
  if (runs[0].decode_steps == 0) return;
  record->set("flops_per_token", exact(decode.flops() / batch));
  const double step_most = flop_ceiling(decode, ceilings);
  const auto step_rate = [&](const RunTiming& r) {
    return decode.flops() * r.decode_steps / r.decode;
  };
  record->set("flop_rate", each(runs, step_rate));
  record->set("flop_ceiling", exact(step_most));
  record->set("flop_fraction",
              each(runs, [&](const RunTiming& r) { return step_rate(r) / step_most; }));
  fail_above_flops(record, "decode");
}

void add_ceiling(Record* record, std::span<const RunTiming> runs, double bytes_per_step,
                 double ceiling_bytes_per_second) {
  LB_CHECK(!runs.empty() && runs[0].decode_steps > 0);
  add_bandwidth(
      record, {"decode", "bandwidth", "ceiling", "ceiling_fraction"},
      each(runs, [&](const RunTiming& r) { return bytes_per_step * r.decode_steps / r.decode; }),
      ceiling_bytes_per_second);
}

void add_prefill_ceiling(Record* record, std::span<const RunTiming> runs, double prompt_bytes,
                         double ceiling_bytes_per_second) {
  add_bandwidth(record,
                {"prefill", "prefill_bandwidth", "prefill_ceiling", "prefill_ceiling_fraction"},
                each(runs, [&](const RunTiming& r) { return prompt_bytes / r.prefill; }),
                ceiling_bytes_per_second);
}

}  // namespace lowbit
