// kernel_profile, oom_profile and profile_compile of low-bit-inference's configs: what a case shows
// of itself beside its speed. Timed runs have no hook of theirs; a profile is taken from a
// generation of its own after them, and from the load before.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bench/load_profile.h"
#include "bench/measure.h"
#include "bench/memory_timeline.h"

namespace lowbit {

struct ProfileKeys {
  bool kernels = false, memory = false, load = false;
  int32_t max_entries = 100000;  // that a memory timeline keeps
  std::string folder = {};       // for files; "": none are written
  bool any() const { return kernels || memory || load; }
  bool operator==(const ProfileKeys&) const = default;
};

// The fields of a config that say what is profiled, under the suite's names.
template <class Visitor, class Config>
void visit_profiles(Visitor& v, Config& c) {
  v.field("kernel_profile", c.kernel_profile,
          "every kernel of prefill and decode, as a table and a trace");
  v.field("oom_profile", c.oom_profile, "memory by what it is taken for, step by step");
  v.field("memory_snapshot_max_entries", c.memory_snapshot_max_entries,
          "of oom_profile: the last events that are kept");
  v.field("profile_compile", c.profile_compile,
          "where load time went, the plan and why not others");
}

// For the process that runs a case; and back.
std::string profile_text(const ProfileKeys& keys);
ProfileKeys parse_profile(const std::string& json);

class Profiler {
 public:
  using OnText = std::function<void(std::string_view)>;  // hears each line of the tables

  Profiler(const ProfileKeys& keys, const Backend& backend, const OnText& on_text);

  // Before the model is loaded, and before the stepper is made.
  void listen(LoadOptions* options);
  void listen(StepperOptions* options);
  // The model is loaded and the stepper has its memory.
  void ready(const LoadedModel& loaded);
  // A generation with the hooks attached; sequence 0 must be empty or hold the depth.
  void run(const LoadedModel& loaded, Stepper& stepper, const SpeedOptions& options,
           const Fingerprint& machine);
  // The case has failed, for want of memory or else.
  void failed(bool out_of_memory);
  // Leaves the memory timeline in the record; fails it if a kernel was faster than it can be.
  void finish(Record* record) const;

 private:
  void run_kernels(const LoadedModel& loaded, Stepper& stepper, const SpeedOptions& options,
                   const Fingerprint& machine);
  void run_memory(Stepper& stepper, const SpeedOptions& options);
  void say(std::string_view text) const;
  // Its path is said.
  void write(const std::string& name, const std::string& text) const;
  void write_snapshot(const std::string& iteration) const;

  ProfileKeys keys_;
  OnText on_text_;
  std::string stamp_;  // Jan_02_15_04_05, local time
  std::string wrong_;  // kernels that were faster than they can be
  std::unique_ptr<LoadProfile> load_;
  std::unique_ptr<MemoryTimeline> memory_;
};

}  // namespace lowbit
