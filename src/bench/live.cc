#include "bench/live.h"

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/rng.h"
#include "base/timer.h"
#include "bench/ratio.h"

namespace lowbit {
namespace {

// Two loads of one model need not be equally fast, and no pair between them shows it. Both sides
// are loaded again after this many times the seconds that loading took, so that it counts as noise;
// the pairs between two loads are alike then, which their autocorrelation shows.
constexpr double kRunsPerLoad = 4;

// A loaded side, until the next load.
struct Loaded {
  Loaded(const BenchCase& c, const Backend& backend, const SpeedOptions& options)
      : model(load(c.model, backend, load_options(c, backend))),
        stepper(*model.model, backend, stepper_options(options, model.plan)) {}

  LoadedModel model;
  Stepper stepper;
};

struct Side {
  Side(const BenchCase& c, const Backend& backend)
      : keys(c),
        options(speed_options(c, open_checkpoint(c.model)->tokenizer().get())),
        record(blank_record(c)) {
    describe(&record, backend);
  }

  // Loads anew; then one run to warm up.
  void reload(const Backend& backend) {
    const bool first = !loaded;
    loaded.reset();
    loaded = std::make_unique<Loaded>(keys, backend, options);
    if (first) {
      record.random_weights = loaded->model.checkpoint->synthetic();
      describe(&record, loaded->model, loaded->stepper);
      record.fingerprint.logits_hash = logits_hash(loaded->stepper);
      record.fingerprint.model_hash = loaded->model.checkpoint->hash();
    }
    SpeedOptions warm_up = options;
    warm_up.new_tokens = std::min(warm_up.new_tokens, 16);
    time_run(loaded->stepper, warm_up);
  }

  BenchCase keys;
  SpeedOptions options;
  Record record;
  std::unique_ptr<Loaded> loaded;
  std::vector<RunTiming> runs;
};

bool narrow(std::span<const RunTiming> a, std::span<const RunTiming> b, double RunTiming::*member,
            const LiveOptions& options) {
  std::vector<double> x, y;
  for (const RunTiming& run : a) x.push_back(run.*member);
  for (const RunTiming& run : b) y.push_back(run.*member);
  const Ratio ratio = ratio_of_pairs(x, y, options.confidence);
  return ratio.known && ratio.hi - ratio.lo <= options.width;
}

}  // namespace

bool precise_pairs(std::span<const RunTiming> a, std::span<const RunTiming> b,
                   const LiveOptions& options) {
  if (static_cast<int64_t>(a.size()) < options.min_pairs) return false;
  return narrow(a, b, &RunTiming::ttft, options) &&
         (a[0].decode_steps == 0 || narrow(a, b, &RunTiming::decode, options));
}

std::pair<Record, Record> measure_live(const BenchCase& a, const BenchCase& b,
                                       const Backend& backend, const LiveOptions& options) {
  if (a.device != b.device || a.threads != b.threads) {
    throw_error(
        "A and B run in one process: give both the same device and threads, or store the results "
        "of two runs (`lowbit bench out=FILE`) and compare the files");
  }
  if ((a.new_tokens == 1) != (b.new_tokens == 1)) {
    throw_error("new_tokens: {} and {}: one side would have no decode step to compare",
                a.new_tokens, b.new_tokens);
  }
  Side first(a, backend), second(b, backend);
  Rng rng(static_cast<uint64_t>(a.seed), 0x11fe);
  const auto in_random_order = [&](auto body) {
    const bool swap = (rng.next() & 1) != 0;
    body(swap ? second : first);
    body(swap ? first : second);
  };
  auto next_look = static_cast<size_t>(options.min_pairs);
  double reload_at = 0;
  const Timer timer;
  do {
    if (timer.seconds() >= reload_at) {
      options.on_phase("loading");
      const Timer load_timer;
      in_random_order([&](Side& side) { side.reload(backend); });
      reload_at = timer.seconds() + kRunsPerLoad * load_timer.seconds();
      options.on_phase("measuring");
    }
    in_random_order(
        [&](Side& side) { side.runs.push_back(time_run(side.loaded->stepper, side.options)); });
    if (first.runs.size() < next_look) continue;
    if (precise_pairs(first.runs, second.runs, options)) break;
    next_look = first.runs.size() + 1 + first.runs.size() / 20;
  } while (timer.seconds() < options.max_seconds);
  for (Side* side : {&first, &second}) add_speed(&side->record, side->runs, side->options);
  return {std::move(first.record), std::move(second.record)};
}

}  // namespace lowbit
