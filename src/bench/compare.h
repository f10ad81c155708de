// Two sets of records side by side: which cases match, how far their numbers are apart, whether
// that is more than noise, and what else differs between the two.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "bench/ratio.h"
#include "bench/record.h"

namespace lowbit {

enum class Verdict : uint8_t {
  kSame,    // "no difference": the interval of the ratio holds 1
  kBetter,  // B is, by the metric's own direction
  kWorse,
  kHigher,  // where neither direction is better
  kLower,
  kUnknown,  // too few samples, or measured once
};
std::string_view name(Verdict verdict);

struct CompareOptions {
  double confidence = 0.99;
  std::vector<std::string> metrics = {};  // tags; empty: those of the default table that both have
  std::vector<std::string> ignore = {};   // config keys in which matching cases may differ
  bool paired = false;                    // samples were taken in turns (bench/live.h)
};

struct ComparedMetric {
  std::string tag;
  Estimate a, b;
  Ratio ratio;  // b / a
  Verdict verdict;
};

struct ComparedCase {
  std::string name;
  std::vector<ComparedMetric> metrics;
};

// A field of the fingerprints, or of the configs, that differs, and in how many of the cases.
struct Difference {
  std::string field, a, b;
  int64_t cases = 0;
};

struct Comparison {
  double confidence = 0.99;
  std::vector<ComparedCase> cases;
  std::vector<Difference> differences;
  std::vector<std::string> notes;  // cases without a partner, repeated or failed ones
};

// Cases match if their configs agree in every key that both have, but for those that say how long
// to measure and those that are ignored; what one says of its calibration text or of a tool's name
// the other must say too. Where a case was repeated the last one counts. Error: unknown metric or
// key, no case matches.
Comparison compare(std::span<const Record> a, std::span<const Record> b,
                   const CompareOptions& options);

// A header and one row per case and metric; then what differs and what could not be compared.
std::vector<std::vector<std::string>> comparison_rows(const Comparison& comparison);
std::vector<std::string> comparison_notes(const Comparison& comparison);
std::string comparison_markdown(const Comparison& comparison);
nlohmann::ordered_json comparison_json(const Comparison& comparison);

}  // namespace lowbit
