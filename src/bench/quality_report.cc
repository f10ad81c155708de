// What `lowbit quality` prints: a table, and a picture. Pure functions of the records.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/text.h"
#include "bench/quality_table.h"

namespace lowbit {
namespace {

struct Point {
  const Record* record;
  double bits = 0, kl = 0;  // stored bits per weight, mean KL
  bool front = false;       // no other has fewer bits and less KL
};

double value_of(const Record& record, std::string_view tag) {
  const Estimate* estimate = record.find(tag);
  return estimate ? estimate->median : NAN;
}

std::string label_of(const Record& record) {
  const std::string quantizer = record.config_text("quantizer");
  if (std::string named = record.config_text("named"); !named.empty()) return named;
  return quantizer.empty() || quantizer == "rtn" ? record.format : record.format + "@" + quantizer;
}

enum class Kind { kWeights, kPairs, kCaches };
constexpr std::string_view kTitles[] = {"Weight formats", "Weights and activations",
                                        "Key/value cache, weights as stored"};

Kind kind_of(const Record& record) {
  if (record.format.find('+') != std::string::npos) return Kind::kPairs;
  const bool cache = record.format == "stored" && record.config_text("kv_format") != "bf16";
  return cache ? Kind::kCaches : Kind::kWeights;
}

// What orders the rows: bits per weight, or bytes of the cache; 0 of what was never loaded.
double size_of(const Record& record) {
  const Estimate* size =
      record.find(kind_of(record) == Kind::kCaches ? "kv_bytes_per_token" : "stored_bits");
  return size ? size->median : 0;
}

std::vector<const Record*> rows_of(std::span<const Record> records, Kind kind) {
  std::vector<const Record*> rows;
  for (const Record& record : records) {
    if (kind_of(record) == kind) rows.push_back(&record);
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Record* a, const Record* b) { return size_of(*a) > size_of(*b); });
  return rows;
}

std::string or_default(std::string text, const char* fallback) {
  return text.empty() ? fallback : std::move(text);
}

std::string row_text(const Record& record) {
  const bool cache = kind_of(record) == Kind::kCaches;
  const std::string what = cache ? record.config_text("kv_format") : label_of(record);
  if (record.status != Status::kOk) {
    return fmt::format("| {} | {}: {} | | | | | | |\n", what, name(record.status), record.reason);
  }
  const auto number = [&](const char* tag, int decimals, double factor = 1) {
    return fmt::format("{:.{}f}", value_of(record, tag) * factor, decimals);
  };
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", what,
                     cache ? number("kv_bytes_per_token", 0) : number("stored_bits", 3),
                     number("model_bytes", 2, 1e-6), number("perplexity", 3), number("kl_mean", 5),
                     number("kl_p99", 4), number("kl_max", 3), number("top1_agreement", 2, 100));
}

// Points by rising bits, those of the Pareto front marked.
std::vector<Point> points_of(std::span<const Record> records) {
  std::vector<Point> points;
  for (const Record& record : records) {
    const double bits = value_of(record, "stored_bits"), kl = value_of(record, "kl_mean");
    const bool plotted = kind_of(record) != Kind::kCaches && record.format != "stored" &&
                         record.status == Status::kOk && kl > 0 && bits > 0;
    if (plotted) points.push_back({&record, bits, kl});
  }
  std::stable_sort(points.begin(), points.end(), [](const Point& a, const Point& b) {
    return a.bits != b.bits ? a.bits < b.bits : a.kl < b.kl;
  });
  double best = INFINITY;
  for (Point& point : points) {
    point.front = point.kl < best;
    best = std::min(best, point.kl);
  }
  return points;
}

constexpr double kWidth = 1100, kHeight = 720, kLeft = 80, kRight = 170, kTop = 50, kBottom = 60;

// Data to pixels.
struct Axes {
  double bits_max, log_lo, log_hi;
  double x(double bits) const { return kLeft + bits / bits_max * (kWidth - kLeft - kRight); }
  double y(double kl) const {
    const double at = (std::log10(kl) - log_lo) / (log_hi - log_lo);
    return kHeight - kBottom - at * (kHeight - kTop - kBottom);
  }
};

Axes axes_of(const std::vector<Point>& points) {
  Axes axes{1, 0, 0};
  double lo = INFINITY, hi = 0;
  for (const Point& point : points) {
    axes.bits_max = std::max(axes.bits_max, std::ceil(point.bits + 0.2));
    lo = std::min(lo, point.kl);
    hi = std::max(hi, point.kl);
  }
  axes.log_lo = points.empty() ? -1 : std::floor(std::log10(lo));
  axes.log_hi = points.empty() ? 0 : std::max(std::ceil(std::log10(hi)), axes.log_lo + 1);
  return axes;
}

std::string line(double x1, double y1, double x2, double y2, const char* color) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2,
      y2, color);
}

std::string text(double x, double y, std::string_view anchor, const std::string& content,
                 int size = 12) {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-size=\"{}\">{}</text>\n", x, y,
      anchor, size, content);
}

std::string grid(const Axes& axes) {
  std::string svg;
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  for (int bits = 0; bits <= static_cast<int>(axes.bits_max); ++bits) {
    svg += line(axes.x(bits), kTop, axes.x(bits), bottom, "#ddd");
    svg += text(axes.x(bits), bottom + 20, "middle", std::to_string(bits));
  }
  for (int power = static_cast<int>(axes.log_lo); power <= static_cast<int>(axes.log_hi); ++power) {
    const double y = axes.y(std::pow(10.0, power));
    svg += line(kLeft, y, right, y, "#ddd");
    svg += text(kLeft - 8, y + 4, "end", fmt::format("1e{}", power));
  }
  svg += text((kLeft + right) / 2, kHeight - 15, "middle", "bits per weight, scales included", 14);
  return svg + text(kLeft, kTop - 20, "start",
                    "mean KL divergence from the weights as stored (nats a token); "
                    "lower left is better",
                    14);
}

// Rows that one command measured on one machine and day.
struct Run {
  std::string text;
  int32_t rows = 0;
};

std::string run_text(const Record& record) {
  const Fingerprint& f = record.fingerprint;
  return fmt::format("{}, commit {}{}, {} ({} thread{}){}",
                     record.llama_bench.test_time.substr(0, 10), f.commit.substr(0, 12),
                     f.dirty ? " with changes" : "", f.cpu, f.threads, f.threads == 1 ? "" : "s",
                     record.repro.empty() ? "" : ", by `" + record.repro + "`");
}

std::string runs_text(std::span<const Record> records) {
  std::vector<Run> runs;
  for (const Record& record : records) {
    std::string text = run_text(record);
    const auto same = [&](const Run& run) { return run.text == text; };
    const auto known = std::find_if(runs.begin(), runs.end(), same);
    if (known == runs.end()) {
      runs.push_back({std::move(text), 1});
    } else {
      ++known->rows;
    }
  }
  std::string out = runs.empty() ? "" : "\nMeasured:\n\n";
  for (const Run& run : runs) {
    out += fmt::format("* {} row{} on {}\n", run.rows, run.rows == 1 ? "" : "s", run.text);
  }
  return out;
}

}  // namespace

std::string quality_markdown(std::span<const Record> records, std::span<const std::string> notes) {
  std::string out;
  for (const Kind kind : {Kind::kWeights, Kind::kPairs, Kind::kCaches}) {
    const std::vector<const Record*> rows = rows_of(records, kind);
    if (rows.empty()) continue;
    const bool cache = kind == Kind::kCaches;
    out += fmt::format(
        "{}## {}\n\n| {} | {} | weights MB | perplexity | KL mean | KL 99 % | KL max | top-1 % |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|\n",
        out.empty() ? "" : "\n", kTitles[static_cast<size_t>(kind)], cache ? "cache" : "format",
        cache ? "bytes/token" : "bits/weight");
    for (const Record* record : rows) out += row_text(*record);
  }
  std::vector<std::string> calibrations;
  for (const Record& record : records) {
    std::string seen = record.config_text("calibration");
    const auto known = std::find(calibrations.begin(), calibrations.end(), seen);
    if (!seen.empty() && known == calibrations.end()) calibrations.push_back(std::move(seen));
  }
  for (const Record& record : records) {
    if (!record.quality) continue;
    const QualityText& q = *record.quality;
    out += fmt::format(
        "\n{} on {}: {} tokens scored in windows of {}; KL (nats a token) and top-1 agreement "
        "against {}.\nHead: {}; embedding: {}. Bits per weight: of all Linears as the format "
        "stores them.\n",
        record.llama_bench.model_filename, q.text, q.tokens, q.ctx, q.reference,
        or_default(record.config_text("head"), "same, unless a name says otherwise"),
        or_default(record.config_text("embedding"), "stored"));
    break;
  }
  if (!calibrations.empty()) {
    out += fmt::format("\nQuantizers that look at inputs were given {}.\n",
                       join(calibrations, "; or "));
  }
  if (!notes.empty()) out += "\nWhat may surprise:\n\n";
  for (const std::string& note : notes) out += "* " + note + "\n";
  return out + runs_text(records);
}

std::string quality_svg(std::span<const Record> records) {
  const std::vector<Point> points = points_of(records);
  const Axes axes = axes_of(points);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" font-family=\"sans-serif\">\n<rect width=\"{0}\" height=\"{1}\" "
      "fill=\"white\"/>\n",
      kWidth, kHeight);
  svg += grid(axes);
  std::string path;
  for (const Point& point : points) {
    if (!point.front) continue;
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", axes.x(point.bits),
                        axes.y(point.kl));
  }
  svg += fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"#c33\" stroke-width=\"1.5\"/>\n", path);
  for (const Point& point : points) {
    const bool pair = kind_of(*point.record) == Kind::kPairs;
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"><title>{}: {:.3f} bits, KL "
        "{:.5f}</title></circle>\n",
        axes.x(point.bits), axes.y(point.kl), point.front ? 5 : 3.5,
        point.front ? "#c33"
        : pair      ? "#38c"
                    : "#777",
        label_of(*point.record), point.bits, point.kl);
    svg += text(axes.x(point.bits) + 7, axes.y(point.kl) + 4, "start", label_of(*point.record),
                point.front ? 12 : 9);
  }
  return svg + "</svg>\n";
}

}  // namespace lowbit
