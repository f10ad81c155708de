#include "app/bench_options.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/options.h"
#include "base/check.h"
#include "bench/metrics.h"

namespace lowbit {
namespace {

// The value of "-o json", "--out=FILE" and the like; nullopt if `args[*i]` is another argument.
std::optional<std::string> flag_value(const std::vector<std::string>& args, size_t* i,
                                      std::initializer_list<std::string_view> names) {
  const std::string& arg = args[*i];
  for (const std::string_view name : names) {
    if (name.starts_with("--") && arg.starts_with(std::string(name) + "=")) {
      return arg.substr(name.size() + 1);
    }
    if (arg != name) continue;
    if (*i + 1 == args.size()) throw_error("{} needs a value", arg);
    return args[++*i];
  }
  return std::nullopt;
}

bool is_yaml(const std::string& arg) { return arg.ends_with(".yaml") || arg.ends_with(".yml"); }

}  // namespace

std::string bench_help() {
  std::string text =
      "usage: lowbit bench [FILE.yaml] [MODEL ...] [KEY=VALUE ...] [-o table|md|json] [--out FILE] "
      "[--resume]\n"
      "\nSpeed, memory and quality. A key on the command line wins over the file. Keys that may "
      "have\n"
      "several values (commas, or a YAML list) make a sweep of every combination; each case runs "
      "in\n"
      "a process of its own, in random order, and what crashes or hangs there is one failed row.\n"
      "--resume leaves out what FILE already has. Without a model: the embedded one. Exit code 1 "
      "if\n"
      "a case failed.\n\nkeys and defaults ([]: may have several):\n";
  BenchConfig config;
  const nlohmann::ordered_json defaults = to_json(config);
  for (const FieldRef& field : fields_of(config)) {
    std::string value = defaults[field.name].dump();
    value.erase(std::remove(value.begin(), value.end(), '"'), value.end());
    text += fmt::format("  {:<15} {:<10} {}\n", field.name, value, field.help);
  }
  return text +
         "\nmetrics (P = prompt_tokens, N = new_tokens; each with median, 95 % interval and, in "
         "JSON, raw samples):\n" +
         metrics_help();
}

std::optional<BenchRequest> parse_bench(const std::vector<std::string>& args) {
  BenchRequest request;
  BenchConfig& config = request.config;
  std::vector<std::string> overrides, models;
  bool has_file = false;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--help" || arg == "-h") return std::nullopt;
    if (const auto output = flag_value(args, &i, {"-o", "--output"})) {
      overrides.push_back("output=" + *output);
    } else if (const auto out = flag_value(args, &i, {"--out"})) {
      overrides.push_back("out=" + *out);
    } else if (arg == "--resume") {
      request.resume = true;
    } else if (arg.starts_with("-")) {
      throw_error("unknown flag {}; settings are KEY=VALUE (`lowbit bench --help` lists them)",
                  arg);
    } else if (arg.find('=') != std::string::npos) {
      overrides.push_back(arg);
    } else if (is_yaml(arg)) {
      if (has_file) throw_error("{}: only one file can be given", arg);
      has_file = true;
      apply_yaml(arg, config);
    } else {
      models.push_back(arg);
    }
  }
  apply_overrides(overrides, config);
  if (!models.empty()) config.model = std::move(models);
  check(config);
  if (request.resume && config.out.empty()) {
    throw_error("--resume: needs the file of the earlier run: out=FILE");
  }
  return request;
}

}  // namespace lowbit
