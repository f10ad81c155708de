// Plots as SVG text: axes with ticks, marks, labels that keep out of each other's way. Colours come
// from the style sheet of the page (bench/report_page.h), so that they follow light and dark.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lowbit {

std::string html_escaped(std::string_view text);

// 1234 -> "1.2k", 0.00123 -> "0.00123": for ticks, at most three digits.
std::string short_number(double value);

// Numbers to pixels.
struct PlotAxis {
  std::string title;
  double lo = 0, hi = 1;
  bool log = false;
  double from = 0, to = 1;  // pixels of lo and hi; set by Plot

  double at(double value) const;  // outside [lo, hi]: at the edge
};

// From 0, or from a power of ten below on a log axis, to a round number above all values. Of no
// values: 0 to 1.
PlotAxis axis_over(std::string title, std::span<const double> values, bool log);

// Round numbers from lo to hi.
std::vector<double> ticks_of(const PlotAxis& axis);

class Plot {
 public:
  // `what` is read out to those who cannot see it.
  Plot(std::string what, PlotAxis x, PlotAxis y);

  void point(double x, double y, double radius, std::string_view style, const std::string& tip);
  // An interval, across a point.
  void whisker_x(double lo, double hi, double y, std::string_view style);
  void whisker_y(double x, double lo, double hi, std::string_view style);
  void line(std::span<const std::pair<double, double>> points, std::string_view style);
  // Between two lines over the same x, the lower one given first.
  void area(std::span<const std::pair<double, double>> lower,
            std::span<const std::pair<double, double>> upper, std::string_view style,
            const std::string& tip);
  // Beside a point where no other label is; left out where none fits, unless `must`.
  void label(double x, double y, const std::string& text, bool must = false);
  std::string svg() const;

  static constexpr double kWidth = 460, kHeight = 340;

 private:
  struct Box {
    double x0, y0, x1, y1;
    bool overlaps(const Box& b) const { return x0 < b.x1 && b.x0 < x1 && y0 < b.y1 && b.y0 < y1; }
  };
  std::string what_;
  PlotAxis x_, y_;
  std::string marks_, labels_;
  std::vector<Box> taken_;
};

// One row of a chart of bars: from 0 to `value`, with an interval and a text at the end.
struct BarRow {
  std::string name;
  double value = 0, lo = 0, hi = 0;  // lo = hi: no interval is drawn
  double also = -1;                  // a second figure, as a tick; below 0: none
  std::string text, tip;
};
std::string bar_chart(const std::string& what, const std::string& title,
                      std::span<const BarRow> rows);

// One row of a chart of distributions: five quantiles, the middle one as a dot.
struct RangeRow {
  std::string name;
  double q01 = 0, q10 = 0, q50 = 0, q90 = 0, q99 = 0;
  std::string text, tip;
};
std::string range_chart(const std::string& what, const std::string& title,
                        std::span<const RangeRow> rows);

}  // namespace lowbit
