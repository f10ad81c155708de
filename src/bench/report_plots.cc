// The pictures of the HTML report.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/text.h"
#include "bench/report.h"
#include "bench/report_groups.h"
#include "bench/report_html.h"
#include "bench/svg_plot.h"

namespace lowbit {
namespace {

constexpr double kDot = 4.5;

using Rows = std::span<const Record* const>;

bool has(const Record& record, std::string_view tag) {
  return record.status == Status::kOk && record.find(tag);
}

std::vector<double> highest(Rows records, std::string_view tag, double factor = 1) {
  std::vector<double> values;
  for (const Record* record : records) {
    if (has(*record, tag)) values.push_back(record->find(tag)->hi * factor);
  }
  return values;
}

// "decode 812 ± 9 tokens/s"
std::string figure(const Record& record, std::string_view tag) {
  const Estimate* estimate = record.find(tag);
  return estimate ? fmt::format("{} {}", find_metric(tag).title, show_with_unit(tag, *estimate))
                  : "";
}

std::string figures(const Record& record, std::initializer_list<std::string_view> tags) {
  std::vector<std::string> texts;
  for (const std::string_view tag : tags) {
    if (record.find(tag)) texts.push_back(figure(record, tag));
  }
  return join(texts, ", ");
}

// What a plot of speed has on its other axis.
struct Cost {
  std::string_view tag, title;
  double factor;
  bool log;
};

Cost cost_of(Rows records) {
  const auto any = [&](std::string_view tag) {
    return std::any_of(records.begin(), records.end(), [&](const Record* record) {
      return has(*record, tag) && record->find(tag)->median > 0;
    });
  };
  if (any("kl_mean")) return {"kl_mean", "mean KL divergence, nats/token", 1, true};
  if (any("perplexity")) return {"perplexity", "perplexity", 1, false};
  return {"model_bytes", "weights, MB", 1e-6, false};
}

struct Point {
  const Record* record;
  double speed, cost, bytes;
  bool front = false;
};

// By falling speed; the front has no other that is faster and costs less.
std::vector<Point> points_of(Rows records, const Cost& cost) {
  std::vector<Point> points;
  for (const Record* record : records) {
    if (!has(*record, "decode_tps") || !has(*record, cost.tag)) continue;
    const Estimate* bytes = record->find("model_bytes");
    points.push_back({record, record->find("decode_tps")->median,
                      record->find(cost.tag)->median * cost.factor, bytes ? bytes->median : 0});
  }
  std::stable_sort(points.begin(), points.end(),
                   [](const Point& a, const Point& b) { return a.speed > b.speed; });
  double best = INFINITY;
  for (Point& point : points) {
    point.front = point.cost < best;
    best = std::min(best, point.cost);
  }
  return points;
}

}  // namespace

std::string panel(const Picture& picture) {
  if (picture.title.empty()) return "";
  return fmt::format("<div class=\"panel\"><h3>{}</h3>\n<p class=\"soft\">{}</p>\n{}</div>\n",
                     html_escaped(picture.title), html_escaped(picture.legend), picture.svg);
}

Picture pareto_plot(Rows records) {
  const Cost cost = cost_of(records);
  const std::vector<Point> points = points_of(records, cost);
  if (points.empty()) return {};
  double largest = 1;
  for (const Point& point : points) largest = std::max(largest, point.bytes);
  std::vector<double> costs = highest(records, cost.tag, cost.factor);
  PlotAxis y = axis_over(std::string(cost.title), costs, cost.log);
  // What changes nothing has no place on a log axis: at its lower edge.
  const double floor = y.log ? y.lo : 0;
  Plot plot("Decode speed against " + std::string(cost.title),
            axis_over("decode, tokens/s", highest(records, "decode_tps"), false), y);
  std::vector<std::pair<double, double>> front;
  for (const Point& p : points) {
    if (p.front) front.emplace_back(p.speed, std::max(p.cost, floor));
  }
  plot.line(front, "edge");
  for (const Point& p : points) {
    const Estimate &speed = *p.record->find("decode_tps"), &price = *p.record->find(cost.tag);
    const double at = std::max(p.cost, floor);
    plot.whisker_x(speed.lo, speed.hi, at, "faint");
    plot.whisker_y(p.speed, std::max(price.lo * cost.factor, floor),
                   std::max(price.hi * cost.factor, floor), "faint");
    plot.point(p.speed, at, 3 + 5 * std::sqrt(p.bytes / largest), p.front ? "front" : "other",
               fmt::format("{}: {}", row_name(*p.record),
                           figures(*p.record, {"decode_tps", cost.tag, "model_bytes"})));
  }
  for (const bool front_first : {true, false}) {
    for (const Point& p : points) {
      if (p.front == front_first) {
        plot.label(p.speed, std::max(p.cost, floor), row_name(*p.record));
      }
    }
  }
  return {"Speed, quality, memory",
          fmt::format("Lower right is better{}. Joined: no other is both faster and better. "
                      "Area: bytes of the weights; thin lines: 95 % intervals.",
                      cost.tag == "model_bytes" ? " (no quality was measured)" : ""),
          plot.svg()};
}

namespace {

struct Dot {
  const Record* record;
  double intensity, rate;  // FLOP/byte, GFLOP/s
  bool decode;
};

std::vector<Dot> dots_of(Rows records) {
  std::vector<Dot> dots;
  for (const Record* record : records) {
    if (has(*record, "flop_rate") && has(*record, "bytes_per_token")) {
      dots.push_back(
          {record,
           record->find("flops_per_token")->median / record->find("bytes_per_token")->median,
           record->find("flop_rate")->median * 1e-9, true});
    }
    if (has(*record, "prefill_flop_rate") && has(*record, "prefill_bytes")) {
      dots.push_back({record,
                      record->find("prefill_flops")->median / record->find("prefill_bytes")->median,
                      record->find("prefill_flop_rate")->median * 1e-9, false});
    }
  }
  return dots;
}

// A slope of memory, then the flat part of compute.
void draw_roof(Plot* plot, const PlotAxis& x, double gigabytes, double gigaflops,
               const std::string& name, std::string_view style) {
  const double knee = gigaflops / gigabytes;
  plot->line(std::vector<std::pair<double, double>>{{x.lo, x.lo * gigabytes},
                                                    {std::clamp(knee, x.lo, x.hi),
                                                     std::min(gigaflops, x.hi * gigabytes)},
                                                    {x.hi, std::min(gigaflops, x.hi * gigabytes)}},
             style);
  const double at = std::max(x.lo, std::min(x.lo * std::pow(x.hi / x.lo, 0.12), knee * 0.6));
  plot->label(at, at * gigabytes, name);
}

// The last measurement of what the records ran on: their GPU's, or the host's. Null: there is none.
const Record* machine_of(Rows records, Rows machine) {
  const Record* found = nullptr;
  for (const Record* m : machine) {
    if (m->fingerprint.gpu == records.front()->fingerprint.gpu) found = m;
  }
  return found;
}

}  // namespace

Picture roofline_plot(Rows records, Rows machine) {
  const std::vector<Dot> dots = dots_of(records);
  if (dots.empty()) return {};
  double bandwidth = 0, compute = 0;
  for (const Record* record : records) {
    if (has(*record, "ceiling")) bandwidth = std::max(bandwidth, record->find("ceiling")->median);
    for (const char* tag : {"flop_ceiling", "prefill_flop_ceiling"}) {
      if (has(*record, tag)) compute = std::max(compute, record->find(tag)->median);
    }
  }
  std::vector<double> xs, ys = {compute * 1e-9};
  for (const Dot& dot : dots) {
    xs.push_back(dot.intensity);
    ys.push_back(dot.rate);
  }
  const PlotAxis x = axis_over("operations per byte that must be read", xs, /*log=*/true);
  Plot plot("Roofline: operations per byte against operations per second", x,
            axis_over("GFLOP/s", ys, /*log=*/true));
  if (const Record* m = machine_of(records, machine)) {
    for (const char* tag : {"read_l1", "read_l2", "read_l3", "read_memory"}) {
      const Estimate *read = m->find(tag), *flops = m->find("float_ceiling");
      if (!read || !flops) continue;
      draw_roof(&plot, x, read->median * 1e-9, flops->median * 1e-9,
                fmt::format("{} {} GB/s", find_metric(tag).title, short_number(read->median / 1e9)),
                "roof2");
    }
  }
  if (bandwidth > 0 && compute > 0) {
    plot.label(x.hi * 0.8, compute * 1.25e-9,  // above its line
               fmt::format("{} GFLOP/s", short_number(compute * 1e-9)));
    draw_roof(&plot, x, bandwidth * 1e-9, compute * 1e-9,
              fmt::format("{} GB/s", short_number(bandwidth * 1e-9)), "roof");
  }
  for (const Dot& dot : dots) {
    plot.point(dot.intensity, dot.rate, kDot, dot.decode ? "front" : "second",
               fmt::format("{} {}: {}", row_name(*dot.record), dot.decode ? "decode" : "prefill",
                           dot.decode ? figures(*dot.record, {"flop_rate", "ceiling_fraction"})
                                      : figures(*dot.record, {"prefill_flop_rate"})));
  }
  for (const Dot& dot : dots) plot.label(dot.intensity, dot.rate, row_name(*dot.record));
  return {"Roofline",
          "Blue: decode, orange: prefill. The line is the highest roof of these cases; dashed: "
          "levels of the machine, where its roofline record is given.",
          plot.svg()};
}

std::string latency_chart(Rows records) {
  std::vector<const Record*> shown;
  double longest = 0;
  for (const Record* record : records) {
    if (record->status != Status::kOk || record->token_seconds.size() != 101) continue;
    shown.push_back(record);
    longest = std::max(longest, record->token_seconds[99]);
  }
  if (shown.empty()) return "";
  std::stable_sort(shown.begin(), shown.end(), [](const Record* a, const Record* b) {
    return a->token_seconds[50] < b->token_seconds[50];
  });
  const double unit = longest >= 1 ? 1 : longest >= 1e-3 ? 1e3 : 1e6;
  const char* name = longest >= 1 ? "s" : longest >= 1e-3 ? "ms" : "µs";
  std::vector<RangeRow> rows;
  for (const Record* record : shown) {
    const auto q = [&](size_t percent) { return record->token_seconds[percent] * unit; };
    rows.push_back({row_name(*record), q(1), q(10), q(50), q(90), q(99),
                    fmt::format("{:.3g}; {:.3g} {}", q(50), q(99), name),
                    figures(*record, {"token_p50", "token_p90", "token_p99"}) +
                        fmt::format(", slowest {:.3g} {}", q(100), name)});
  }
  return panel({"Time per token",
                "Of all decode steps: dot 50 %, thick 10 to 90 %, thin 1 to 99 %. Numbers: 50 %; "
                "99 %.",
                range_chart("Distribution of the time per token",
                            fmt::format("time of a decode step, {}", name), rows)});
}

std::string memory_chart(Rows records) {
  std::vector<BarRow> rows;
  for (const Record* record : records) {
    if (!has(*record, "model_bytes")) continue;
    const Estimate *peak = record->find("peak_memory"), *weights = record->find("model_bytes");
    rows.push_back({.name = row_name(*record),
                    .value = weights->median * 1e-6,
                    .lo = 0,
                    .hi = 0,
                    .also = peak ? peak->median * 1e-6 : -1,
                    .text = fmt::format("{}{}", short_number(weights->median * 1e-6),
                                        peak ? "; " + short_number(peak->median * 1e-6) : ""),
                    .tip = figures(*record, {"model_bytes", "kv_bytes", "peak_memory"})});
  }
  if (rows.empty()) return "";
  std::stable_sort(rows.begin(), rows.end(),
                   [](const BarRow& a, const BarRow& b) { return a.value < b.value; });
  return panel({"Memory",
                "Bar: weights as resident. Orange tick: the most that the process held, loading "
                "included.",
                bar_chart("Memory of each case", "MB", rows)});
}

namespace {

using Line = std::vector<std::pair<double, double>>;

// One record's timeline: what is taken, part on part.
std::string timeline_plot(const Record& record) {
  const std::vector<MemoryEntry>& entries = record.memory;
  std::vector<double> numbers, megabytes;
  size_t peak = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    numbers.push_back(static_cast<double>(i));
    megabytes.push_back(std::max(entries[i].total(), entries[i].resident) * 1e-6);
    if (entries[i].total() > entries[peak].total()) peak = i;
  }
  Plot plot("Memory of " + row_name(record) + " by what it is taken for, from loading to last step",
            axis_over("event, from loading to the last step", numbers, /*log=*/false),
            axis_over("MB", megabytes, /*log=*/false));
  Line below(entries.size()), resident;
  for (size_t i = 0; i < entries.size(); ++i) below[i] = {numbers[i], 0};
  for (size_t part = 0; part < kMemoryParts; ++part) {
    Line above = below;
    double most = 0;
    for (size_t i = 0; i < entries.size(); ++i) {
      above[i].second += entries[i].taken[part] * 1e-6;
      most = std::max(most, entries[i].taken[part]);
    }
    const auto part_name = name(static_cast<MemoryPart>(part));
    plot.area(below, above, fmt::format("part{}", part),
              fmt::format("{}: at most {}", part_name, format_bytes(most)));
    below = std::move(above);
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].resident > 0) resident.emplace_back(numbers[i], entries[i].resident * 1e-6);
  }
  if (!resident.empty()) plot.line(resident, "process");
  const std::string most = format_bytes(entries[peak].total());
  plot.point(numbers[peak], entries[peak].total() * 1e-6, kDot, "peak",
             fmt::format("{} at {}", most, entries[peak].event));
  plot.label(numbers[peak], entries[peak].total() * 1e-6, most, /*must=*/true);
  return plot.svg();
}

}  // namespace

std::string memory_timelines(Rows records) {
  std::string html;
  for (const Record* record : records) {
    if (record->memory.empty()) continue;
    const MemoryEntry& last = record->memory.back();
    std::string legend =
        "Blue: weights; orange: state (KV); light: workspace; gray: temporary. Dashed: the "
        "process. "
        "Dot: the most.";
    if (record->status != Status::kOk) legend += fmt::format(" Last event: {}.", last.event);
    html += panel({"Memory over time: " + row_name(*record), legend, timeline_plot(*record)});
  }
  return html;
}

std::string energy_chart(Rows records) {
  std::vector<BarRow> rows;
  double largest = 0;
  for (const Record* record : records) {
    if (has(*record, "energy_per_token")) {
      largest = std::max(largest, record->find("energy_per_token")->median);
    }
  }
  const double unit = largest >= 1 ? 1 : 1e3;
  for (const Record* record : records) {
    if (!has(*record, "energy_per_token")) continue;
    const Estimate& e = *record->find("energy_per_token");
    rows.push_back({.name = row_name(*record),
                    .value = e.median * unit,
                    .lo = e.lo * unit,
                    .hi = e.hi * unit,
                    .text = short_number(e.median * unit),
                    .tip = figures(*record, {"energy_per_token", "power"})});
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const BarRow& a, const BarRow& b) { return a.value < b.value; });
  if (!rows.empty()) {
    return panel({"Energy", "Per new token, the prompt's share included; lines: 95 % intervals.",
                  bar_chart("Energy per token", unit == 1 ? "J/token" : "mJ/token", rows)});
  }
  std::vector<std::string> reasons;
  for (const Record* record : records) {
    for (const auto& [tag, reason] : record->not_measured) {
      const bool seen = std::find(reasons.begin(), reasons.end(), reason) != reasons.end();
      if (tag == "energy_per_token" && !seen) reasons.push_back(reason);
    }
  }
  return reasons.empty() ? "" : panel({"Energy", "Not measured: " + join(reasons, "; "), ""});
}

}  // namespace lowbit
