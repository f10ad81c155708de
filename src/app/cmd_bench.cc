#include "app/cmd_bench.h"

#include "base/check.h"

namespace lowbit {

int cmd_bench(const std::vector<std::string>&) { throw_error("bench is not part of this build"); }

}  // namespace lowbit
