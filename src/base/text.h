// Small text helpers that several parsers and error messages share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

std::vector<std::string_view> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);  // ASCII white space at both ends
std::string join(const std::vector<std::string>& parts, std::string_view separator);

// Whole-string parses: nullopt unless every character was used and the value fits.
std::optional<long long> parse_int(std::string_view text);
std::optional<double> parse_double(std::string_view text);

// The candidates closest to `name` by edit distance, whatever the case of their letters (at most
// three, none if nothing is near), as ", did you mean `a` or `b`?"; "" when there is nothing to
// suggest.
std::string suggestion(std::string_view name, const std::vector<std::string>& candidates);

// "head:" and the first of the items on lines of their own, "and 12 more" instead of the rest: how
// an Error lists things.
std::string list_lines(std::string_view head, const std::vector<std::string>& items);
// Such a text on one line, for a table.
std::string one_line(std::string_view text);

// A copy that is safe to print on one line: control characters and broken UTF-8 become \xNN,
// and what is longer than `limit` bytes is cut with "...".
std::string printable(std::string_view text, size_t limit = 60);

// Rows as columns, left-aligned, two spaces between them.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

// 1234567 -> "1.2 MB" (powers of 1000, as bandwidths are).
std::string format_bytes(double bytes);
// 8030261248 -> "8.03 G"
std::string format_count(double count);

}  // namespace lowbit
