#include "quantize/autoround_name.h"

#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

struct Field {
  std::string_view name;
  long long least, most;
};
constexpr Field kNumbers[] = {{"quant_lm_head", 0, 1},        {"iters", 1, 100000},
                              {"groupsize", 8, 256},          {"batch_size", 1, 1 << 20},
                              {"seqlen", 1, 1 << 20},         {"nsamples", 1, 1 << 20},
                              {"grad_acc_steps", 1, 1 << 20}, {"compile", 0, 1}};
constexpr size_t kUsed = 3;  // of the numbers

}  // namespace

void read_autoround_name(std::string_view fields, Method* method) {
  if (fields.empty()) return;
  std::vector<std::string_view> given = split(fields, '-');
  if (fields[0] != '-' || given.size() < 2 || given.size() > 2 + std::size(kNumbers)) {
    throw_error(
        "write autoround, or autoround-<device>-<quant_lm_head>-<iters>-<groupsize>-<batch_size>-"
        "<seqlen>-<nsamples>-<grad_acc_steps>-<compile>, as autoround-cuda-0-200-64");
  }
  if (given[1].empty()) throw_error("device: is empty; write autoround-cuda-0-200-64");
  given.erase(given.begin(), given.begin() + 2);
  long long values[] = {0, 0, 128};
  std::string unused = "device";
  for (size_t i = 0; i < given.size(); ++i) {
    const Field& field = kNumbers[i];
    const auto value = parse_int(given[i]);
    if (!value || *value < field.least || *value > field.most) {
      throw_error("{}: `{}` must be {} to {}, as in autoround-cuda-0-200-64-8-2048-128-1-0",
                  field.name, printable(given[i]), field.least, field.most);
    }
    if (i < kUsed) {
      values[i] = *value;
    } else {
      unused += fmt::format(", {}", field.name);
    }
  }
  method->scope.head = values[0] == 1 ? "same" : "bf16";
  method->iterations = static_cast<int32_t>(values[1]);
  method->formats.weights = parse_format(fmt::format("int4-g{}", values[2]));
  method->note += fmt::format(". No effect here: {}", unused);
}

}  // namespace lowbit
