// One page about records that opens anywhere, offline. A pure function: the same records give the
// same page.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/record.h"

namespace lowbit {

std::string report_html(std::span<const Record> records);

// Its plots of speed, quality, memory and rooflines as one picture (SVG), light and dark.
std::string report_svg(std::span<const Record> records);

// What to use, of records that may stand in one table, and why.
struct Advice {
  const Record* pick = nullptr;  // nullptr: nothing ran that could be recommended
  std::string why;
};

// The mean KL divergence, in nats a token, up to which a format counts as good.
inline constexpr double kGoodKl = 0.05;

// The fastest decode among the formats up to kGoodKl, or among all where no quality was measured;
// of those that are as fast within their intervals the one with the lowest KL, then the smallest.
// Unstable cases are recommended only if there are no others.
Advice advise(std::span<const Record* const> records);

// A plot with its heading and what its marks mean.
struct Picture {
  std::string title, legend, svg;  // all empty: nothing of the kind was measured
};

// Of records that may stand in one table. `machine`: records of kind roofline; the levels of the
// last are drawn too.
Picture pareto_plot(std::span<const Record* const> records);
Picture roofline_plot(std::span<const Record* const> records,
                      std::span<const Record* const> machine);

// Panels of a page; "" where nothing of the kind was measured.
std::string panel(const Picture& picture);
std::string latency_chart(std::span<const Record* const> records);
std::string memory_chart(std::span<const Record* const> records);
std::string memory_timelines(std::span<const Record* const> records);
std::string energy_chart(std::span<const Record* const> records);

}  // namespace lowbit
