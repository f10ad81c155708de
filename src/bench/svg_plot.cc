#include "bench/svg_plot.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace lowbit {
namespace {

constexpr double kLeft = 58, kRight = 14, kTop = 14, kBottom = 46;
constexpr double kRowHeight = 24, kNameWidth = 136, kTextWidth = 108;
constexpr double kCharacter = 6.4;  // mean width at 12 pixels
constexpr double kLargest = 8.1;    // in a wide font at the 13.5 pixels of a phone

double characters(std::string_view text) {
  return static_cast<double>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view text,
                    std::string_view style = "t") {
  return fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n",
                     style, x, y, anchor, html_escaped(text));
}

std::string line_at(double x1, double y1, double x2, double y2, std::string_view style) {
  return fmt::format(
      "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", style, x1,
      y1, x2, y2);
}

std::string open_svg(const std::string& what, double height) {
  return fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">\n",
                     Plot::kWidth, height, html_escaped(what));
}

std::string tip_of(const std::string& tip) {
  return tip.empty() ? "" : "<title>" + html_escaped(tip) + "</title>";
}

// What a name may take; longer ones are cut, whole in their tip.
std::string cut(const std::string& name, double width) {
  const auto most = static_cast<size_t>(width / kLargest);
  return name.size() <= most ? name : name.substr(0, most - 1) + "…";
}

// The axis under rows of bars, with its title and grid.
std::string row_axis(const PlotAxis& axis, double bottom) {
  std::string svg;
  for (const double tick : ticks_of(axis)) {
    svg += line_at(axis.at(tick), kTop, axis.at(tick), bottom, "grid");
    svg += text_at(axis.at(tick), bottom + 16, "middle", short_number(tick), "tick");
  }
  return svg + text_at((axis.from + axis.to) / 2, bottom + 36, "middle", axis.title, "axis");
}

PlotAxis axis_of_rows(const std::string& title, std::span<const double> values) {
  PlotAxis axis = axis_over(title, values, /*log=*/false);
  axis.from = kNameWidth;
  axis.to = Plot::kWidth - kTextWidth;
  return axis;
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string short_number(double value) {
  constexpr std::pair<double, const char*> kUnits[] = {
      {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  for (const auto& [unit, name] : kUnits) {
    if (std::abs(value) >= unit) return fmt::format("{:.3g}{}", value / unit, name);
  }
  return fmt::format("{:.3g}", value);
}

double PlotAxis::at(double value) const {
  const double inside = std::clamp(value, lo, hi);
  const double share = log ? std::log(inside / lo) / std::log(hi / lo) : (inside - lo) / (hi - lo);
  return from + share * (to - from);
}

PlotAxis axis_over(std::string title, std::span<const double> values, bool log) {
  double least = INFINITY, most = 0;
  for (const double value : values) {
    if (value > 0) least = std::min(least, value);
    most = std::max(most, value);
  }
  PlotAxis axis{.title = std::move(title), .log = log};
  if (!(most > 0)) return axis.log = false, axis;
  if (log) {
    axis.lo = std::pow(10, std::floor(std::log10(least) - 0.05));
    axis.hi = std::pow(10, std::ceil(std::log10(most) + 0.05));
    return axis;
  }
  axis.hi = most * 1.08;
  const double step = ticks_of(axis)[1];
  axis.hi = std::ceil(axis.hi / step - 0.5) * step;
  if (axis.hi < most) axis.hi += step;
  return axis;
}

std::vector<double> ticks_of(const PlotAxis& axis) {
  std::vector<double> ticks;
  if (axis.log) {
    const double decades = std::log10(axis.hi / axis.lo);
    for (double power = axis.lo; power <= axis.hi * 1.0001; power *= 10) {
      for (const double step : {1, 2, 5}) {
        const bool wanted = step == 1 || decades < 2.5;
        if (wanted && power * step <= axis.hi * 1.0001) ticks.push_back(power * step);
      }
    }
    return ticks;
  }
  const double raw = (axis.hi - axis.lo) / 5, unit = std::pow(10, std::floor(std::log10(raw)));
  double step = unit * 10;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (unit * factor >= raw * 0.999) {
      step = unit * factor;
      break;
    }
  }
  for (int i = 0; axis.lo + i * step <= axis.hi * 1.0001; ++i) ticks.push_back(axis.lo + i * step);
  return ticks;
}

Plot::Plot(std::string what, PlotAxis x, PlotAxis y)
    : what_(std::move(what)), x_(std::move(x)), y_(std::move(y)) {
  x_.from = kLeft;
  x_.to = kWidth - kRight;
  y_.from = kHeight - kBottom;
  y_.to = kTop;
}

void Plot::point(double x, double y, double radius, std::string_view style,
                 const std::string& tip) {
  const double px = x_.at(x), py = y_.at(y);
  marks_ +=
      fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\">{}</circle>\n",
                  style, px, py, radius, tip_of(tip));
  taken_.push_back({px - 3, py - 3, px + 3, py + 3});
}

void Plot::whisker_x(double lo, double hi, double y, std::string_view style) {
  marks_ += line_at(x_.at(lo), y_.at(y), x_.at(hi), y_.at(y), style);
}

void Plot::whisker_y(double x, double lo, double hi, std::string_view style) {
  marks_ += line_at(x_.at(x), y_.at(lo), x_.at(x), y_.at(hi), style);
}

void Plot::line(std::span<const std::pair<double, double>> points, std::string_view style) {
  std::string path;
  for (const auto& [x, y] : points) {
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", x_.at(x), y_.at(y));
  }
  marks_ += fmt::format("<polyline class=\"{}\" points=\"{}\"/>\n", style, path);
}

void Plot::area(std::span<const std::pair<double, double>> lower,
                std::span<const std::pair<double, double>> upper, std::string_view style,
                const std::string& tip) {
  std::string path;
  const auto add = [&](const std::pair<double, double>& point) {
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", x_.at(point.first),
                        y_.at(point.second));
  };
  std::for_each(lower.begin(), lower.end(), add);
  std::for_each(upper.rbegin(), upper.rend(), add);
  marks_ +=
      fmt::format("<polygon class=\"{}\" points=\"{}\">{}</polygon>\n", style, path, tip_of(tip));
}

void Plot::label(double x, double y, const std::string& text, bool must) {
  const double px = x_.at(x), py = y_.at(y), width = characters(text) * kCharacter, gap = 7;
  struct Place {
    double x, y;
    const char* anchor;
  };
  const Place places[] = {{px + gap, py + 4, "start"}, {px - gap, py + 4, "end"},
                          {px + 2, py - 8, "start"},   {px + 2, py + 16, "start"},
                          {px - 2, py - 8, "end"},     {px - 2, py + 16, "end"}};
  const auto box_of = [&](const Place& place) -> Box {
    const double x0 = *place.anchor == 's' ? place.x : place.x - width;
    return {x0, place.y - 10, x0 + width, place.y + 2};
  };
  const auto free = [&](const Box& box) {
    return box.x0 > kLeft && box.x1 < kWidth && box.y0 > 2 && box.y1 < kHeight - kBottom &&
           std::none_of(taken_.begin(), taken_.end(),
                        [&](const Box& other) { return box.overlaps(other); });
  };
  for (const Place& place : places) {
    const bool last_resort = must && &place == std::end(places) - 1;
    if (!free(box_of(place)) && !last_resort) continue;
    taken_.push_back(box_of(place));
    labels_ += text_at(place.x, place.y, place.anchor, text);
    return;
  }
}

std::string Plot::svg() const {
  std::string svg = open_svg(what_, kHeight);
  for (const double tick : ticks_of(x_)) {
    svg += line_at(x_.at(tick), y_.from, x_.at(tick), y_.to, "grid");
    svg += text_at(x_.at(tick), y_.from + 16, "middle", short_number(tick), "tick");
  }
  for (const double tick : ticks_of(y_)) {
    svg += line_at(x_.from, y_.at(tick), x_.to, y_.at(tick), "grid");
    svg += text_at(x_.from - 6, y_.at(tick) + 4, "end", short_number(tick), "tick");
  }
  svg += text_at((x_.from + x_.to) / 2, kHeight - 8, "middle", x_.title, "axis");
  svg += fmt::format(
      "<text class=\"axis\" transform=\"translate(13 {:.1f}) rotate(-90)\" "
      "text-anchor=\"middle\">{}</text>\n",
      (y_.from + y_.to) / 2, html_escaped(y_.title));
  return svg + marks_ + labels_ + "</svg>\n";
}

std::string bar_chart(const std::string& what, const std::string& title,
                      std::span<const BarRow> rows) {
  std::vector<double> values;
  for (const BarRow& row : rows) values.insert(values.end(), {row.value, row.hi, row.also});
  const PlotAxis axis = axis_of_rows(title, values);
  const double bottom = kTop + kRowHeight * static_cast<double>(rows.size());
  std::string svg = open_svg(what, bottom + kBottom) + row_axis(axis, bottom);
  double y = kTop + kRowHeight / 2;
  for (const BarRow& row : rows) {
    svg += text_at(kNameWidth - 8, y + 4, "end", cut(row.name, kNameWidth - 10));
    svg += fmt::format(
        "<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"12\" "
        "rx=\"2\">{}</rect>\n",
        axis.from, y - 6, axis.at(row.value) - axis.from, tip_of(row.name + ": " + row.tip));
    double end = std::max(axis.at(row.value), axis.at(row.hi));
    if (row.hi > row.lo) svg += line_at(axis.at(row.lo), y, axis.at(row.hi), y, "whisker");
    if (row.also >= 0) {
      svg += line_at(axis.at(row.also), y - 8, axis.at(row.also), y + 8, "also");
      end = std::max(end, axis.at(row.also));
    }
    svg += text_at(end + 6, y + 4, "start", row.text, "tick");
    y += kRowHeight;
  }
  return svg + "</svg>\n";
}

std::string range_chart(const std::string& what, const std::string& title,
                        std::span<const RangeRow> rows) {
  std::vector<double> values;
  for (const RangeRow& row : rows) values.push_back(row.q99);
  const PlotAxis axis = axis_of_rows(title, values);
  const double bottom = kTop + kRowHeight * static_cast<double>(rows.size());
  std::string svg = open_svg(what, bottom + kBottom) + row_axis(axis, bottom);
  double y = kTop + kRowHeight / 2;
  for (const RangeRow& row : rows) {
    svg += text_at(kNameWidth - 8, y + 4, "end", cut(row.name, kNameWidth - 10));
    svg += line_at(axis.at(row.q01), y, axis.at(row.q99), y, "thin");
    svg += line_at(axis.at(row.q10), y, axis.at(row.q90), y, "thick");
    svg += line_at(axis.at(row.q99), y - 6, axis.at(row.q99), y + 6, "thin");
    svg += fmt::format("<circle class=\"front\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\">{}</circle>\n",
                       axis.at(row.q50), y, tip_of(row.name + ": " + row.tip));
    svg += text_at(axis.at(row.q99) + 7, y + 4, "start", row.text, "tick");
    y += kRowHeight;
  }
  return svg + "</svg>\n";
}

}  // namespace lowbit
