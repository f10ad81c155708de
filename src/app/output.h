// Standard output of the commands. A full disk is an Error; a reader that went away (`| head`) ends
// the command quietly.
#pragma once

#include <string_view>

namespace lowbit {

// Thrown when nobody reads standard output any more; run() ends with exit code 0.
struct OutputClosed {};

void print(std::string_view text);
void flush_output();

bool stderr_is_terminal();

// Messages beside the result (timing, progress): one line on standard error.
void note(std::string_view line);

}  // namespace lowbit
