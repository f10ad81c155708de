// Standard output of the commands. A full disk is an Error; a reader that went away (`| head`) ends
// the command quietly.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

// Thrown when nobody reads standard output any more; run() ends with exit code 0.
struct OutputClosed {};

void print(std::string_view text);
void flush_output();

// Rows as columns, left-aligned, two spaces between them.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

// 1234567 -> "1.2 MB" (powers of 1000, as bandwidths are).
std::string format_bytes(double bytes);
// 8030261248 -> "8.03 G"
std::string format_count(double count);

bool stderr_is_terminal();

// Messages beside the result (timing, progress): one line on standard error.
void note(std::string_view line);

}  // namespace lowbit
