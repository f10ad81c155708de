#include "bench/profiler.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/fingerprint.h"
#include "bench/kernel_profile.h"
#include "bench/stats.h"
#include "bench/work.h"

namespace lowbit {
namespace {

// A kernel profile: generations until there are so many or so much time has passed.
constexpr int kGenerations = 3;
constexpr double kSeconds = 5;
constexpr int32_t kDecodeSteps = 8;  // of each

// Two readings of a host's clock; what CUDA says of its events.
constexpr double kHostClock = 50e-9, kDeviceClock = 0.5e-6;

constexpr size_t kRecordEntries = 200;  // of a timeline, in the record

// One key of a ProfileKeys that a config sets.
struct Profile {
  const char* key;
  bool ProfileKeys::*wanted;
};
constexpr Profile kProfiles[] = {{"kernel_profile", &ProfileKeys::kernels},
                                 {"oom_profile", &ProfileKeys::memory},
                                 {"profile_compile", &ProfileKeys::load}};

// One generation with `before` and `after` around each of its steps, by the step's name.
template <class Before, class After>
void generate(Stepper& stepper, const SpeedOptions& options, const Before& before,
              const After& after) {
  fill_context(stepper, options);
  std::string name = fmt::format("prefill of {} tokens", options.prompt_tokens);
  if (options.batch > 1) name = fmt::format("{} x {}", options.batch, name);
  before(name);
  prefill_all(stepper, options);
  start_decode_all(stepper, options);
  stepper.drawn();
  after(name);
  for (int32_t drawn = 1; drawn < options.new_tokens; ++drawn) {
    name = fmt::format("decode at {}", stepper.length(0) + 1);
    before(name);
    stepper.decode();
    stepper.drawn();
    after(name);
  }
  truncate_all(stepper, options);
}

// The steps of all generations that stand at `begin` to `end` of each.
std::vector<TimedStep> steps_at(std::span<const TimedStep> all, size_t per_generation, size_t begin,
                                size_t end) {
  std::vector<TimedStep> steps;
  for (size_t i = 0; i < all.size(); ++i) {
    const size_t at = i % per_generation;
    if (begin <= at && at < end) steps.push_back(all[i]);
  }
  return steps;
}

}  // namespace

std::string profile_text(const ProfileKeys& keys) {
  nlohmann::ordered_json json;
  for (const Profile& profile : kProfiles) json[profile.key] = keys.*profile.wanted;
  json["memory_snapshot_max_entries"] = keys.max_entries;
  json["folder"] = keys.folder;
  return json.dump();
}

ProfileKeys parse_profile(const std::string& text) {
  const auto json = nlohmann::json::parse(text);
  ProfileKeys keys;
  for (const Profile& profile : kProfiles) json.at(profile.key).get_to(keys.*profile.wanted);
  json.at("memory_snapshot_max_entries").get_to(keys.max_entries);
  json.at("folder").get_to(keys.folder);
  return keys;
}

Profiler::Profiler(const ProfileKeys& keys, const Backend& backend, const OnText& on_text)
    : keys_(keys), on_text_(on_text), stamp_(local_time("%b_%d_%H_%M_%S")) {
  if (keys_.load) load_ = std::make_unique<LoadProfile>();
  if (keys_.memory) {
    memory_ =
        std::make_unique<MemoryTimeline>(static_cast<size_t>(keys_.max_entries), backend.device);
  }
}

void Profiler::listen(LoadOptions* options) {
  options->load_trace = load_.get();
  options->memory_trace = memory_.get();
}

void Profiler::listen(StepperOptions* options) { options->memory_trace = memory_.get(); }

void Profiler::ready(const LoadedModel& loaded) {
  if (load_) {
    const std::string report = load_report(*load_, loaded);
    say(report);
    write(fmt::format("profile_compile_{}.txt", stamp_), report);
    write(fmt::format("profile_compile_{}.json", stamp_), load_json(*load_, loaded));
  }
  if (memory_) write_snapshot("0");
}

void Profiler::run(const LoadedModel& loaded, Stepper& stepper, const SpeedOptions& options,
                   const Fingerprint& machine) {
  if (keys_.kernels) run_kernels(loaded, stepper, options, machine);
  if (keys_.memory) run_memory(stepper, options);
}

void Profiler::run_kernels(const LoadedModel& loaded, Stepper& stepper, const SpeedOptions& speed,
                           const Fingerprint& machine) {
  SpeedOptions options = speed;
  options.new_tokens = std::min(speed.new_tokens, kDecodeSteps + 1);
  const auto per_generation = static_cast<size_t>(options.new_tokens);
  OpTimeline timeline(*loaded.backend);
  std::vector<double> untraced_prefill, untraced_decode;
  const Timer timer;
  for (int i = 0; i < kGenerations && (i == 0 || timer.seconds() < kSeconds); ++i) {
    const RunTiming untraced = time_run(stepper, options);  // in turns, for comparison
    untraced_prefill.push_back(untraced.ttft);              // the draw is in it too
    untraced_decode.insert(untraced_decode.end(), untraced.steps.begin(), untraced.steps.end());
    stepper.set_trace(&timeline);
    generate(
        stepper, options, [&](const std::string& name) { timeline.start_step(name); },
        [](const std::string&) {});
    stepper.set_trace(nullptr);
  }

  const WorkCounter counter(loaded);
  KernelLimits limits;
  limits.kernels = loaded.backend->linear_kernels;
  limits.ceilings = known_ceilings(machine);
  limits.clock_seconds = loaded.backend->device ? kDeviceClock : kHostClock;
  const auto profiled = [&](const std::vector<TimedStep>& steps, double step_bytes) {
    limits.step_bytes = step_bytes;
    StepProfile profile = profile_of(steps, limits);
    if (above_ceiling(profile).empty()) return profile;
    raise_ceilings(profile, *loaded.backend, &*limits.ceilings);
    profile = profile_of(steps, limits);
    if (wrong_.empty()) wrong_ = above_ceiling(profile);
    return profile;
  };
  const std::span<const TimedStep> timed = timeline.steps();
  StepProfile prefill =
      profiled(steps_at(timed, per_generation, 0, 1),
               counter.prefill_all(options.batch, options.prompt_tokens).working_set());
  prefill.untraced_seconds = median(untraced_prefill);
  std::string summary = kernel_summary(prefill), every = every_kernel(prefill);
  if (per_generation > 1) {
    const double context = options.depth + options.prompt_tokens + options.new_tokens / 2.0;
    StepProfile decode = profiled(steps_at(timed, per_generation, 1, per_generation),
                                  counter.decode(options.batch, context).bytes);
    decode.untraced_seconds = median(untraced_decode);
    summary += "\n" + kernel_summary(decode);
    every += "\n" + every_kernel(decode);
  }
  std::string note;
  if (timeline.mark_seconds() > 0) {
    note = fmt::format(
        "times: between two events in the stream, less the {:.2f} us that two take around a kernel "
        "beside what it does\n",
        timeline.mark_seconds() * 1e6);
  }
  if (!limits.ceilings) {
    note += "of ceiling: not known; `lowbit roofline` measures and keeps this machine's ceilings\n";
  } else if (!limits.ceilings->unstable.empty()) {
    note += fmt::format("of ceiling: to be distrusted: the ceilings were measured while {}\n",
                        join(limits.ceilings->unstable, "; "));
  }
  say(summary + note);
  write(fmt::format("kernel_profile_{}.txt", stamp_), summary + note + "\n" + every);
  const std::string trace = chrome_json(timeline);
  write(fmt::format("chrome_trace_{}.json", stamp_), trace);
  write("trace.json", trace);
}

void Profiler::run_memory(Stepper& stepper, const SpeedOptions& options) {
  generate(
      stepper, options, [](const std::string&) {},
      [&](const std::string& name) {
        memory_->stepped(name, stepper.state().used_bytes(), stepper.scratch_used());
      });
  say(memory_text(*memory_));
  write_snapshot("1");
}

void Profiler::failed(bool out_of_memory) {
  if (!memory_) return;
  if (out_of_memory && !memory_->failure()) {  // not through a call that the timeline hears
    const std::string last =
        memory_->entries().empty() ? "the first tensor" : memory_->entries().back().event;
    memory_->failed(MemoryPart::kTemporary, "what followed " + last, 0);
  }
  if (!memory_->failure()) return;
  say(memory_text(*memory_));
  write_snapshot("OOM");
}

void Profiler::finish(Record* record) const {
  if (memory_) record->memory = thinned(memory_->entries(), kRecordEntries);
  if (wrong_.empty() || record->status != Status::kOk) return;
  record->status = Status::kFail;
  record->reason = "kernel_profile: " + wrong_;
}

void Profiler::say(std::string_view text) const {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  for (const std::string_view line : split(text, '\n')) on_text_(line);
}

void Profiler::write(const std::string& name, const std::string& text) const {
  if (keys_.folder.empty()) return;
  const std::string path = keys_.folder + "/" + name;
  write_file_atomically(path, text);
  say("wrote " + path);
}

void Profiler::write_snapshot(const std::string& iteration) const {
  write(fmt::format("memory_snapshot_{}_{}.json", iteration, stamp_),
        snapshot_json(*memory_, iteration));
}

}  // namespace lowbit
