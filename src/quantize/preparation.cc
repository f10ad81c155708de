#include "quantize/preparation.h"

#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {

std::string name(const Preparation& preparation) {
  std::vector<std::string> names;
  if (preparation.rotate) names.emplace_back("spinquant");
  if (preparation.prune.level > 0) {
    names.push_back(fmt::format("bsr-{}-{}", preparation.prune.level, preparation.prune.block));
  }
  if (preparation.awq) names.emplace_back("awq");
  return join(names, "+");
}

BlockSparsity parse_block_sparsity(std::string_view text) {
  constexpr long long kLeast = 2, kMost = 1024;
  const auto parts = split(text, '-');
  const double level = parts.size() == 3 ? parse_double(parts[1]).value_or(-1) : -1;
  const long long block = parts.size() == 3 ? parse_int(parts[2]).value_or(-1) : -1;
  if (parts[0] != "bsr" || level < 0 || block < 0) {
    throw_error(
        "`{}`: write bsr-<level>-<block>, as bsr-0.9-64: nine of ten blocks of 64 x 64 are "
        "zero",
        printable(text));
  }
  if (!(level > 0 && level < 1)) {
    throw_error("`{}`: the level must be above 0 and below 1, as in bsr-0.9-64", printable(text));
  }
  if (block < kLeast || block > kMost) {
    throw_error("`{}`: the block must be {} to {}, as in bsr-0.9-64", printable(text), kLeast,
                kMost);
  }
  return {level, static_cast<int32_t>(block)};
}

Preparation parse_preparation(std::string_view text) {
  const std::vector<std::string> known = {"awq", "spinquant", "bsr-0.9-64"};
  Preparation preparation;
  if (text.empty()) return preparation;
  for (const std::string_view part : split(text, '+')) {
    if (part == "awq") {
      preparation.awq = true;
    } else if (part == "spinquant") {
      preparation.rotate = true;
    } else if (part.starts_with("bsr")) {
      preparation.prune = parse_block_sparsity(part);
    } else {
      throw_error("`{}`: unknown{}; known: {}, and several with + between them", printable(part),
                  suggestion(part, known), join(known, ", "));
    }
  }
  return preparation;
}

}  // namespace lowbit
