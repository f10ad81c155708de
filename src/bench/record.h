// The result of one bench case: one line of JSON, complete enough to be read without the program
// that wrote it. The shape is fixed: fields may be added, a change of meaning needs a new
// schema_version.
//
//   schema_version, kind, status, reason
//   unstable      why the numbers of a case that ran are not to be trusted; [] if they are
//   config        what was asked for, by the names of bench/config.h
//   fingerprint   what it ran on, with which kernels
//   quality       which text the quality figures are about; null without any
//   values        {tag: {median, lo, hi, n}}, tags of bench/metrics.h
//   samples       {tag: [one number per repetition]}
//   repro         the command that runs this case again; files of text by their names alone
//   roof          what `ceiling` is the bandwidth of, and since when that is known
//   roof_unstable what disturbed the measurement of the ceilings; [] if nothing did
//   token_seconds 0, 1 ... 100 % quantiles of all decode steps of the case; [] without any
//   not_measured  {tag: why it has no value here}
//   memory        the timeline of oom_profile, as bench/memory_timeline.h has it; absent without
//   build_commit .. samples_ts   the same run under llama-bench's names and definitions
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/fingerprint.h"
#include "bench/memory_timeline.h"
#include "bench/stats.h"

namespace lowbit {

inline constexpr int kRecordVersion = 1;

enum class Status : uint8_t { kOk, kSkip, kFail };
std::string_view name(Status status);

// llama-bench's fields (tools/llama-bench of llama.cpp). n_gen counts tokens that are fed one at a
// time, so it is new_tokens - 1: the first new token costs no decode step.
struct LlamaBenchFields {
  std::string build_commit, cpu_info, gpu_info, backends, model_filename, model_type;
  int64_t model_size = 0, model_n_params = 0;
  int32_t n_batch = 0, n_threads = 0;
  std::string type_k, type_v;
  int32_t n_prompt = 0, n_gen = 0, n_depth = 0;
  std::string test_time;  // UTC, 2006-01-02T15:04:05Z
  int64_t avg_ns = 0, stddev_ns = 0;
  double avg_ts = 0, stddev_ts = 0;  // (n_prompt + n_gen) / time
  std::vector<int64_t> samples_ns;   // prefill and decode together
  std::vector<double> samples_ts;
  bool operator==(const LlamaBenchFields&) const = default;
};

// Where the quality figures come from.
struct QualityText {
  std::string text;       // ScoredText::label
  std::string reference;  // what KL is measured against: "bf16 as stored"
  int32_t ctx = 0;        // window
  int64_t tokens = 0;     // scored
  bool operator==(const QualityText&) const = default;
};

struct Value {
  std::string tag;
  Estimate estimate;
  std::vector<double> samples;
  bool operator==(const Value&) const = default;
};

struct Record {
  std::string kind = "model";
  Status status = Status::kOk;
  std::string reason;  // of skip and fail
  std::vector<std::string> unstable;
  nlohmann::ordered_json config = nlohmann::ordered_json::object();
  Fingerprint fingerprint;
  std::string format;           // canonical: "int4-g32"
  std::string resident;         // the format in memory; differs where no kernel reads `format`
  std::string head;             // the format of the output head; "" where it was not recorded
  bool random_weights = false;  // synthetic: speed and memory only
  std::optional<QualityText> quality;
  std::vector<Value> values;  // in the order they were measured
  std::string roof, repro;
  std::vector<std::string> roof_unstable;
  std::vector<double> token_seconds;
  std::vector<MemoryEntry> memory;
  std::vector<std::pair<std::string, std::string>> not_measured;
  LlamaBenchFields llama_bench;

  // The tag must be a row of kMetrics, the numbers finite.
  void set(std::string_view tag, const Estimate& estimate);
  // Their median; `samples` in the order they were taken (series_estimate).
  void set(std::string_view tag, std::vector<double> samples);
  const Estimate* find(std::string_view tag) const;  // nullptr: not measured
  const Value* find_value(std::string_view tag) const;
  std::string config_text(const char* key) const;  // "" if absent or not a string
  bool operator==(const Record&) const = default;
};

std::string to_json_line(const Record& record);

// Error names `source` and the field for anything that to_json_line() does not write.
Record parse_record(const std::string& source, std::string_view line);

// All records of a file of JSON lines or (bench/sqlite_file.h) a database. Error names file and
// line, or says that there are none.
std::vector<Record> read_records(const std::string& path);

nlohmann::ordered_json to_json(const Fingerprint& fingerprint);

}  // namespace lowbit
