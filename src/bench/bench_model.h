// One case of `lowbit bench`: one model in one format, measured from loading to quality.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "bench/config.h"
#include "bench/measure.h"
#include "bench/profiler.h"
#include "bench/record.h"
#include "engine/loaded_model.h"
#include "ops/backend.h"

namespace lowbit {

// The model that is benched when none is named: the embedded one, or its folder. Error: neither.
std::string default_bench_model();

// Error, before hours are spent: a model or text that cannot be opened, windows that do not fit.
void check_case(const BenchCase& c);
// Error: prompt and new tokens are more than the model's context; such a case is a failed row.
void check_length(const BenchCase& c);

struct CaseOptions {
  // Called with "loading", "measuring", "scoring" as they begin.
  std::function<void(std::string_view)> on_phase = [](std::string_view) {};
  // Folder where cases leave the text that a model has generated to those that follow; "": none.
  std::string scratch = {};
  ProfileKeys profile = {};
  Profiler::OnText on_text = [](std::string_view) {};  // lines of the profiles' tables
};

// What goes wrong becomes the record's status and reason.
Record run_case(const BenchCase& c, const Backend& backend, const CaseOptions& options = {});

// What is known of a case that has not run: its configuration and the machine.
Record blank_record(const BenchCase& c);

// What a case loads and times.
LoadOptions load_options(const BenchCase& c, const Backend& backend);
// `tokenizer`: of the model, for a prompt that is text; nullptr if it has none.
SpeedOptions speed_options(const BenchCase& c, const Tokenizer* tokenizer);
StepperOptions stepper_options(const SpeedOptions& options, StepPlan plan);

// The backend that a case really runs on.
void describe(Record* record, const Backend& backend);

// What is known about the model once it is loaded.
void describe(Record* record, const LoadedModel& loaded, const Stepper& stepper);

}  // namespace lowbit
