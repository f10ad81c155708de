// What tables of records have in common: which records may stand in one table, its columns, how
// numbers are written, the notes below.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bench/metrics.h"
#include "bench/record.h"

namespace lowbit {

// How the numbers of one column are written.
struct Style {
  double factor = 1;
  std::string unit;
};

struct Cell {
  std::string value, half;  // half of the interval's width; "" for an exact number
};

struct Column {
  const Metric* metric;
  Style style;
  std::vector<Cell> cells;  // one per record
};

// Records that may stand in one table.
struct Group {
  std::string title;
  std::vector<const Record*> records;
  std::vector<Column> columns;
};

// In the order of the records, without those of machines. Columns: of the metrics that are shown by
// default, or of `all` that any record has.
std::vector<Group> groups_of(std::span<const Record> records, bool all = false);

// What the quality figures are about, which formats are resident as something else, which are
// unstable or slower than bf16, what was skipped and what failed.
std::vector<std::string> notes_of(const Group& group);

// What was asked for and what it means: "int4-g32", "int4wo-32: int4-g32-asym (fail)".
std::string row_name(const Record& record);

// A key of the config; `otherwise` in records that have none, which are of another kind or older.
int32_t config_number(const Record& record, const char* key, int32_t otherwise);

}  // namespace lowbit
