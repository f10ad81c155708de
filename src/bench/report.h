// Tables of records. Pure functions: the same records always give the same text.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record.h"

namespace lowbit {

// Each table's cases by decode speed, those without one last: a file of records has them in the
// random order in which they ran.
std::vector<Record> fastest_first(std::span<const Record> records);

// One table per model and setting, aligned for a terminal, with notes below: what the quality
// figures are about, which formats are resident as something else, which are slower than bf16, what
// was skipped and what failed.
std::string report_table(std::span<const Record> records);

// The same as GitHub Markdown.
std::string report_markdown(std::span<const Record> records);

// One row per record and the same columns for all files: what was run, then median, lo and hi of
// every metric in the units of bench/metrics.h, empty where it was not measured (RFC 4180).
std::string report_csv(std::span<const Record> records);
std::string csv_field(const std::string& text);  // in quotes where it needs them (RFC 4180)

// "812 ± 9", in the unit that fits the value: how a progress line shows one figure.
std::string show(std::string_view tag, const Estimate& estimate);
std::string show_with_unit(std::string_view tag, const Estimate& estimate);  // "812 ± 9 tokens/s"

}  // namespace lowbit
