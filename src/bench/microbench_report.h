// Results of torchao's microbenchmarks in its columns, and ours beside them. Pure functions of
// cases and their records, which are equally many.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/microbench.h"

namespace lowbit {

// Rows of text, the header first: torchao's columns, warm times in microseconds, then, as another
// table, cold ones with their intervals, shares and kernels.
std::vector<std::vector<std::string>> microbench_rows(std::span<const MicrobenchCase> cases,
                                                      std::span<const Record> records);
std::vector<std::vector<std::string>> microbench_own_rows(std::span<const MicrobenchCase> cases,
                                                          std::span<const Record> records);

// What the tables leave out, a line each: cases that did not run, times that may be disturbed, and
// why a figure is `-` (cases with the same reason together).
std::vector<std::string> microbench_notes(std::span<const MicrobenchCase> cases,
                                          std::span<const Record> records);

// Their CSV, whose times are warm medians in milliseconds, then ours in the units of their names.
std::string microbench_csv(std::span<const MicrobenchCase> cases, std::span<const Record> records);

// The rows that torchao's dashboard takes (benchmarks/dashboard): four metrics of each case that
// ran, its times warm medians in milliseconds, and the cold one as a fifth.
std::string microbench_dashboard(std::span<const MicrobenchCase> cases,
                                 std::span<const Record> records);

}  // namespace lowbit
