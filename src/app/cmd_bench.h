// lowbit bench: speed, memory and quality of models and formats, as a table and as JSON lines.
#pragma once

#include <string>
#include <vector>

namespace lowbit {

int cmd_bench(const std::vector<std::string>& args);

}  // namespace lowbit
