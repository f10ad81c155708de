// Plots of a report as one picture that needs no page around it: for a README.
#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "bench/report_groups.h"
#include "bench/report_html.h"
#include "bench/report_page.h"
#include "bench/svg_plot.h"

namespace lowbit {
namespace {

constexpr double kGap = 20, kHeading = 34, kTitle = 22, kLine = 15;
constexpr size_t kLetters = 72;  // of a legend that fit beside each other

std::string text_at(double x, double y, const char* style, const std::string& text) {
  return fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"{}\">{}</text>\n", x, y, style,
                     html_escaped(text));
}

std::vector<std::string> lines_of(const std::string& legend) {
  std::vector<std::string> lines(1);
  for (const std::string_view word : split(legend, ' ')) {
    if (lines.back().size() + 1 + word.size() > kLetters) lines.emplace_back();
    if (!lines.back().empty()) lines.back() += ' ';
    lines.back() += word;
  }
  return lines;
}

// Its upper left corner at (x, y). All are as wide, and as high if their legends are.
std::string picture_at(double x, double y, const Picture& picture, size_t legend_lines) {
  std::string svg = text_at(x, y + kTitle - 6, "title", picture.title);
  y += kTitle;
  for (const std::string& line : lines_of(picture.legend)) {
    svg += text_at(x, y + kLine - 4, "tick", line);
    y += kLine;
  }
  y += kLine * static_cast<double>(legend_lines - lines_of(picture.legend).size());
  // A plot begins with "<svg".
  return svg + fmt::format("<svg x=\"{:.0f}\" y=\"{:.0f}\" width=\"{:.0f}\" height=\"{:.0f}\"{}", x,
                           y, Plot::kWidth, Plot::kHeight, picture.svg.substr(4));
}

}  // namespace

std::string report_svg(std::span<const Record> records) {
  std::vector<const Record*> machine;
  for (const Record& record : records) {
    if (record.kind == "roofline") machine.push_back(&record);
  }
  std::string svg;
  double width = 2 * kGap + Plot::kWidth, height = kGap;
  for (const Group& group : groups_of(records)) {
    std::vector<Picture> pictures = {pareto_plot(group.records),
                                     roofline_plot(group.records, machine)};
    std::erase_if(pictures, [](const Picture& picture) { return picture.svg.empty(); });
    if (pictures.empty()) continue;
    svg += text_at(kGap, height + kHeading - 18, "heading", group.title);
    height += kHeading;
    size_t legend_lines = 0;
    for (const Picture& picture : pictures) {
      legend_lines = std::max(legend_lines, lines_of(picture.legend).size());
    }
    double x = kGap;
    for (const Picture& picture : pictures) {
      svg += picture_at(x, height, picture, legend_lines);
      x += Plot::kWidth + kGap;
    }
    width = std::max(width, x);
    height += kTitle + kLine * static_cast<double>(legend_lines) + Plot::kHeight + kGap;
  }
  if (svg.empty()) {
    svg = text_at(kGap, height + kLine, "heading", "No case ran that decodes: nothing to plot.");
    height += kHeading;
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\">\n<style>{2}{3}svg .title{{font-weight:600}}\n"
      "svg .heading{{font-size:14px;font-weight:600}}\n</style>\n"
      "<rect width=\"{0:.0f}\" height=\"{1:.0f}\" style=\"fill:var(--panel)\"/>\n{4}</svg>\n",
      width, height, kColours, kPlotStyle, svg);
}

}  // namespace lowbit
