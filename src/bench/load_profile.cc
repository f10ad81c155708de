#include "bench/load_profile.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "engine/plan_report.h"

namespace lowbit {
namespace {

using Json = nlohmann::ordered_json;
using Part = LoadProfile::Part;

constexpr std::string_view kNames[kLoadPhases] = {"open", "read", "quantize", "pack", "plan"};
constexpr std::string_view kMeanings[kLoadPhases] = {
    "files, config and tokenizer", "tensors into memory, as stored", "codes chosen",
    "arranged for the kernels and uploaded", "kernels chosen, none by measuring"};

struct Phase {
  double seconds = 0, bytes = 0;
};

std::array<Phase, kLoadPhases> phases_of(const LoadProfile& profile) {
  std::array<Phase, kLoadPhases> phases{};
  for (const Part& part : profile.parts()) {
    Phase& phase = phases[static_cast<size_t>(part.phase)];
    phase.seconds += part.seconds;
    phase.bytes += part.bytes;
  }
  return phases;
}

std::string milliseconds(double seconds) { return fmt::format("{:.2f}", seconds * 1e3); }

}  // namespace

void LoadProfile::spent(LoadPhase phase, std::string_view what, double seconds, size_t bytes) {
  parts_.push_back({phase, std::string(what), seconds, static_cast<double>(bytes)});
}

std::string load_text(const LoadProfile& profile, double total_seconds, StepPlan plan) {
  std::vector<std::vector<std::string>> table = {{"load", "ms", "share", "bytes", ""}};
  const auto add = [&](std::string_view name, const Phase& phase, std::string_view meaning) {
    table.push_back({std::string(name), milliseconds(phase.seconds),
                     fmt::format("{:.1f} %", 100 * phase.seconds / total_seconds),
                     phase.bytes > 0 ? format_bytes(phase.bytes) : "", std::string(meaning)});
  };
  const std::array<Phase, kLoadPhases> phases = phases_of(profile);
  double other = total_seconds;
  for (size_t i = 0; i < kLoadPhases; ++i) {
    add(kNames[i], phases[i], kMeanings[i]);
    other -= phases[i].seconds;
  }
  table.push_back({"tune", "0.00", "0.0 %", "", "kernels are tuned when they are written"});
  table.push_back({"capture", "0.00", "0.0 %", "",
                   plan == StepPlan::kGraph ? "steps are captured when they first run"
                                            : "plan eager: steps are not captured"});
  add("other", {std::max(other, 0.0), 0}, "");
  add("all", {total_seconds, 0}, "");

  std::vector<Part> slowest = profile.parts();
  std::stable_sort(slowest.begin(), slowest.end(),
                   [](const Part& a, const Part& b) { return a.seconds > b.seconds; });
  slowest.resize(std::min<size_t>(slowest.size(), 5));
  std::string text = format_table(table) + "longest:";
  for (const Part& part : slowest) {
    text += fmt::format(" {} {} {} ms;", kNames[static_cast<size_t>(part.phase)],
                        printable(part.what), milliseconds(part.seconds));
  }
  text.back() = '\n';
  return text;
}

std::string load_report(const LoadProfile& profile, const LoadedModel& loaded) {
  return load_text(profile, loaded.load_seconds, loaded.plan) +
         "linears (n x k), kernels by rows m of the activation\n" + linears_text(*loaded.model);
}

std::string load_json(const LoadProfile& profile, const LoadedModel& loaded) {
  Json json = {{"load_seconds", loaded.load_seconds}};
  const std::array<Phase, kLoadPhases> phases = phases_of(profile);
  for (size_t i = 0; i < kLoadPhases; ++i) {
    json["phases"][std::string(kNames[i])] = {{"seconds", phases[i].seconds},
                                              {"bytes", phases[i].bytes}};
  }
  json["parts"] = Json::array();
  for (const Part& part : profile.parts()) {
    json["parts"].push_back({{"phase", kNames[static_cast<size_t>(part.phase)]},
                             {"what", part.what},
                             {"seconds", part.seconds},
                             {"bytes", part.bytes}});
  }
  json["plan"] = name(loaded.plan);
  json["linears"] = linears_json(*loaded.model);
  return json.dump(1) + "\n";
}

}  // namespace lowbit
