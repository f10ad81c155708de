// Repeated timings of one model, and the metrics that follow from them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/device_watch.h"
#include "bench/machine_ceilings.h"
#include "bench/record.h"
#include "bench/work.h"
#include "engine/stepper.h"

namespace lowbit {

// One generation: a prompt, its first token, then one token a step, of all sequences. Seconds.
struct RunTiming {
  double prefill = 0;  // forward passes over the prompt
  double ttft = 0;     // prefill, drawing the first token and bringing its id to the host
  double decode = 0;   // all decode steps
  int32_t decode_steps = 0;
  std::vector<double> steps = {};  // each decode step alone
  double begin = 0, end = 0;       // of the steady clock, around all of it
};

// A fixed number of runs, as torch.profiler.schedule counts them: skip_first once, then cycles of
// wait, warmup and active, of which the last are recorded. active = 0: no schedule.
struct Schedule {
  int32_t skip_first = 0, wait = 0, warmup = 0, active = 0, repeat = 1;

  int64_t cycle() const { return int64_t{wait} + warmup + active; }
  int64_t total() const { return skip_first + (repeat > 1 ? repeat : 1) * cycle(); }
  bool records(int64_t run) const {
    return run >= skip_first && (run - skip_first) % cycle() >= int64_t{wait} + warmup;
  }
};

struct SpeedOptions {
  int32_t prompt_tokens = 128, new_tokens = 64;
  int32_t depth = 0;       // tokens of context before the prompt, not timed
  int32_t batch = 1;       // sequences, all of the same lengths
  int32_t cache_size = 0;  // tokens of each that the cache has room for; 0: what is needed
  uint64_t seed = 0;       // of the prompt's random ids; decode feeds what the model draws
  int32_t min_samples = 6;
  double max_seconds = 3;
  double ci_width = 0.0075;
  std::vector<int32_t> prompt = {};  // its prompt_tokens ids, if they are not random
  SampleParams sampling = {0, 0, 1, 0};
  Schedule schedule = {};                      // with active > 0 it decides and not ci_width
  std::function<void()> between_runs = [] {};  // before each run and after the last
};

// The ids of a sequence's prompt: those given, or random ones.
std::vector<int32_t> prompt_ids(int32_t vocab, const SpeedOptions& options, int32_t sequence = 0);

// Leaves `depth` tokens in every sequence; those of the run before, if they are still there.
void fill_context(Stepper& stepper, const SpeedOptions& options);

// Error: depth, prompt and new tokens do not fit a context of so many tokens.
void check_context(const SpeedOptions& options, int64_t context);

// The prompts of all sequences: each in steps of its own, but the last token of several in one step
// of them all.
void prefill_all(Stepper& stepper, const SpeedOptions& options);
// Draws the first token of each.
void start_decode_all(Stepper& stepper, const SpeedOptions& options);
// Back to `depth` tokens.
void truncate_all(Stepper& stepper, const SpeedOptions& options);

// Sequences hold nothing, or the depth that a run with the same options left. Error: depth,
// prompt and new tokens do not fit the stepper's context. No trace may be attached.
RunTiming time_run(Stepper& stepper, const SpeedOptions& options);

// True once the last of these warm-up runs was not over 1 % faster than the fastest before it.
bool is_warm(std::span<const double> seconds);

// Warm-up runs until they are, for a quarter of max_seconds at most; then runs until there are
// min_samples of them and the intervals of ttft and of the decode time are no wider than ci_width
// of their medians, or until max_seconds have passed.
std::vector<RunTiming> measure_speed(Stepper& stepper, const SpeedOptions& options);

// True once the runs so far are enough.
bool precise_enough(std::span<const RunTiming> runs, const SpeedOptions& options);

inline constexpr int64_t kDriftRuns = 5;  // fewer are not judged

// "" or how far the second half of these times, in the order they were taken, is from the first: a
// machine whose speed moves by over 1 % meanwhile gives a median of nothing in particular. Of fewer
// than ten times the halves differ by chance: they must also rise or fall so clearly that chance
// does so in less than 5 % of cases.
std::string drift_of(std::string_view what, std::span<const double> seconds);

// prefill_tps, decode_tps, tps, ttft, tpot, latency, percentiles of the steps, llama-bench's times.
// Without decode steps (new_tokens = 1) there is no decode_tps and no tpot. Drift makes the record
// unstable.
void add_speed(Record* record, std::span<const RunTiming> runs, const SpeedOptions& options);

// energy_per_token, power, clock and temperature, from samples that cover the runs; what they tell
// of a device that is slowed down or shared makes the record unstable.
void add_energy(Record* record, std::span<const RunTiming> runs,
                std::span<const DeviceSample> samples, int32_t drawn_tokens);

// The largest share of `ceilings` that any run reached, of the prompt or of decode steps.
double highest_share(std::span<const RunTiming> runs, const Work& decode, const Work& prefill,
                     const Ceilings& ceilings);

// flop_rate, flop_ceiling and flop_fraction of decode steps of which each does `decode` for `batch`
// tokens, and the same of prompts that do `prefill`; a fraction above one beyond its interval is a
// failure, as below.
void add_work(Record* record, std::span<const RunTiming> runs, const Work& decode,
              const Work& prefill, const Ceilings& ceilings, int32_t batch = 1);

// bandwidth, ceiling and ceiling_fraction. A fraction above one beyond its interval makes the
// record a failure: a number above the roof is a wrong number.
void add_ceiling(Record* record, std::span<const RunTiming> runs, double bytes_per_step,
                 double ceiling_bytes_per_second);

// The same of prompts that read so many bytes: prefill_bandwidth, prefill_ceiling and
// prefill_ceiling_fraction.
void add_prefill_ceiling(Record* record, std::span<const RunTiming> runs, double prompt_bytes,
                         double ceiling_bytes_per_second);

}  // namespace lowbit
