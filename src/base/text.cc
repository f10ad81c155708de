#include "base/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "base/utf8.h"

namespace lowbit {
namespace {

char lower(char c) { return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Of texts whose letters are the same in either case.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row[b.size()];
}

std::string scaled(double value, const char* const* units, size_t count) {
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < count) value /= 1000, ++unit;
  const int decimals = unit == 0 || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, decimals, units[unit]);
}

// Columns a terminal needs for `text`: one per character.
size_t width(std::string_view text) {
  size_t columns = 0;
  for (size_t i = 0; i < text.size(); ++columns) i += decode_utf8(text.substr(i)).bytes;
  return columns;
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string joined;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) joined += separator;
    joined += part;
  }
  return joined;
}

std::optional<long long> parse_int(std::string_view text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_double(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string suggestion(std::string_view name, const std::vector<std::string>& candidates) {
  struct Near {
    size_t distance;
    std::string_view text;
  };
  std::vector<Near> near;
  const size_t limit = std::max<size_t>(2, name.size() / 3);
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(name, candidate);
    const auto same = [&](const Near& other) { return other.text == candidate; };
    if (distance > limit || std::any_of(near.begin(), near.end(), same)) continue;
    near.push_back({distance, candidate});
  }
  std::stable_sort(near.begin(), near.end(),
                   [](const Near& a, const Near& b) { return a.distance < b.distance; });
  if (near.size() > 3) near.resize(3);
  std::string text;
  for (size_t i = 0; i < near.size(); ++i) {
    text += i == 0 ? ", did you mean " : i + 1 == near.size() ? " or " : ", ";
    text += fmt::format("`{}`", near[i].text);
  }
  return text.empty() ? text : text + "?";
}

std::string list_lines(std::string_view head, const std::vector<std::string>& items) {
  constexpr size_t kShown = 4;
  std::string text = fmt::format("{}:", head);
  const size_t shown = items.size() > kShown + 1 ? kShown : items.size();
  for (size_t i = 0; i < shown; ++i) text += "\n  " + items[i];
  if (shown < items.size()) text += fmt::format("\n  and {} more", items.size() - shown);
  return text;
}

std::string one_line(std::string_view text) {
  std::string line;
  for (const std::string_view part : split(text, '\n')) {
    const std::string_view words = trim(part);
    if (!line.empty()) line += line.ends_with(':') ? " " : "; ";
    line += words;
  }
  return line;
}

std::string printable(std::string_view text, size_t limit) {
  std::string safe;
  for (size_t i = 0; i < text.size();) {
    if (safe.size() >= limit) return safe + "...";
    const Utf8Char c = decode_utf8(text.substr(i));
    const bool plain = c.valid && c.code_point >= 0x20 && c.code_point != 0x7f;
    for (size_t j = 0; j < c.bytes; ++j) {
      plain ? safe.push_back(text[i + j])
            : static_cast<void>(safe +=
                                fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i + j])));
    }
    i += c.bytes;
  }
  return safe;
}

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width(row[c]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - width(row[c]), ' ');
      line += (c == 0 ? "" : "  ") + row[c] + pad;
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string format_bytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  return scaled(bytes, kUnits, std::size(kUnits));
}

std::string format_count(double count) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T"};
  std::string text = scaled(count, kUnits, std::size(kUnits));
  if (text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace lowbit
