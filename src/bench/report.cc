#include "bench/report.h"

#include <algorithm>

#include "bench/report_groups.h"

namespace lowbit {
namespace {

// Characters on the screen, for texts whose only multi-byte characters are one column wide.
size_t width_of(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string pad(const std::string& text, size_t width, bool right) {
  const std::string space(width - std::min(width, width_of(text)), ' ');
  return right ? space + text : text + space;
}

// The column's lines: title, unit, one per record; all of one width.
std::vector<std::string> aligned(const Column& column) {
  size_t value = 0, half = 0;
  for (const Cell& cell : column.cells) {
    value = std::max(value, width_of(cell.value));
    half = std::max(half, width_of(cell.half));
  }
  const size_t tail = half == 0 ? 0 : half + 2;  // " ±12"
  const std::string title(column.metric->title);
  const size_t width = std::max({value + tail, width_of(title), width_of(column.style.unit)});
  std::vector<std::string> lines = {pad(title, width, true), pad(column.style.unit, width, true)};
  for (const Cell& cell : column.cells) {
    const std::string suffix = cell.half.empty() ? "" : " ±" + cell.half;
    lines.push_back(pad(cell.value + pad(suffix, tail, false), width, true));
  }
  return lines;
}

}  // namespace

std::string report_table(std::span<const Record> records) {
  std::string text;
  for (const Group& group : groups_of(records)) {
    size_t names = width_of("format");
    for (const Record* record : group.records) names = std::max(names, width_of(row_name(*record)));
    std::vector<std::string> lines = {pad("format", names, false), std::string(names, ' ')};
    for (const Record* record : group.records)
      lines.push_back(pad(row_name(*record), names, false));
    for (const Column& column : group.columns) {
      const std::vector<std::string> cells = aligned(column);
      for (size_t i = 0; i < lines.size(); ++i) lines[i] += "  " + cells[i];
    }
    text += (text.empty() ? "" : "\n") + group.title + "\n\n";
    for (const std::string& line : lines) {
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    text += "\n";
    for (const std::string& note : notes_of(group)) text += note + "\n";
  }
  return text;
}

std::string report_markdown(std::span<const Record> records) {
  std::string text;
  for (const Group& group : groups_of(records)) {
    text += (text.empty() ? "**" : "\n**") + group.title + "**\n\n";
    std::string header = "| format |", rule = "|---|";
    for (const Column& column : group.columns) {
      header += fmt::format(" {}{} |", column.metric->title,
                            column.style.unit.empty() ? "" : " (" + column.style.unit + ")");
      rule += "---:|";
    }
    text += header + "\n" + rule + "\n";
    for (size_t i = 0; i < group.records.size(); ++i) {
      text += "| " + row_name(*group.records[i]) + " |";
      for (const Column& column : group.columns) {
        const Cell& cell = column.cells[i];
        text += fmt::format(" {}{} |", cell.value, cell.half.empty() ? "" : " ± " + cell.half);
      }
      text += "\n";
    }
    text += "\n";
    for (const std::string& note : notes_of(group)) text += "- " + note + "\n";
  }
  return text;
}

}  // namespace lowbit
