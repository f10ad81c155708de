// `lowbit bench`: every model in every format, one case after the other.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/config.h"
#include "bench/measure.h"
#include "bench/record.h"
#include "engine/loaded_model.h"
#include "ops/backend.h"

namespace lowbit {

// What a caller sees while the cases run.
class BenchListener {
 public:
  virtual ~BenchListener() = default;
  virtual void on_case(int64_t index, int64_t total, const std::string& what) = 0;
  virtual void on_phase(std::string_view phase) = 0;  // "loading", "measuring", "scoring"
  virtual void on_record(const Record& record) = 0;
};

// The model that is benched when none is named: the embedded one, or its folder. Error: neither.
std::string default_bench_model();

// One record per model and format. What goes wrong in a case becomes its status and reason; Error
// is for a request that makes no sense: a bad key, a model or text that cannot be opened.
std::vector<Record> bench_models(const BenchConfig& config, const Backend& backend,
                                 BenchListener* listener = nullptr);

// What a case of this configuration loads and times.
LoadOptions load_options(const BenchConfig& config, const std::string& format);
SpeedOptions speed_options(const BenchConfig& config);

// A record that says what was asked for and on which machine, and nothing measured yet.
Record empty_record(const BenchConfig& config, const Backend& backend, const std::string& model,
                    const std::string& format);

// What is known about the model once it is loaded.
void describe(Record* record, const LoadedModel& loaded, const Stepper& stepper);

// A stepper for one sequence of the configuration's length.
StepperOptions stepper_options(const BenchConfig& config);

}  // namespace lowbit
