#include "app/output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/check.h"
#include "base/utf8.h"

namespace lowbit {
namespace {

[[noreturn]] void fail_output() {
  const int error = errno;
  if (error == EPIPE) throw OutputClosed{};
  throw_error("standard output: cannot write: {}", std::strerror(error));
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

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail_output();
}

void flush_output() {
  if (std::fflush(stdout) != 0) fail_output();
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

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

void note(std::string_view line) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

}  // namespace lowbit
