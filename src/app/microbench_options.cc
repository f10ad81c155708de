#include "app/microbench_options.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/options.h"
#include "backends.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "load/json.h"

namespace lowbit {
namespace {

using nlohmann::json;

// Its runners as modules; the second writes rows for a dashboard.
bool is_runner(std::string_view word) {
  return word == "benchmark_runner" || word == "benchmarks.microbenchmarks.benchmark_runner";
}
bool is_dashboard_runner(std::string_view word) {
  return word == "ci_microbenchmark_runner" ||
         word == "benchmarks.dashboard.ci_microbenchmark_runner";
}

bool is_yaml(std::string_view word) { return word.ends_with(".yaml") || word.ends_with(".yml"); }

std::vector<std::string> names_of(std::span<const FieldRef> fields) {
  std::vector<std::string> names;
  for (const FieldRef& field : fields) names.push_back(field.name);
  return names;
}

// A scalar or a list of them as key=value would have it.
std::string text_of(const json& value) {
  if (value.is_null()) return "null";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::vector<std::string> items;
  for (const json& item : value) {
    if (item.is_structured()) throw_error("must be a list of names, holds {}", describe(item));
    items.push_back(text_of(item));
  }
  return join(items, ",");
}

// What `null` means for the keys of the top level: the default, or no files.
MicrobenchConfig null_config() {
  MicrobenchConfig config;
  config.output_dir.clear();
  return config;
}

// Sets the fields of one mapping, `nulls` where it says so; the keys in `apart` are left to the
// caller.
template <class Config>
void read_fields(const json& tree, const std::vector<std::string>& apart, Config* config,
                 Config nulls = {}) {
  if (!tree.is_object()) throw_error("must be a mapping, is {}", describe(tree));
  const std::vector<FieldRef> fields = fields_of(*config), initial = fields_of(nulls);
  std::vector<std::string> known = names_of(fields);
  known.insert(known.end(), apart.begin(), apart.end());
  for (const auto& item : tree.items()) {
    const std::string& key = item.key();
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw_error("unknown key `{}`{}; known: {}", printable(key), suggestion(key, known),
                  join(known, ", "));
    }
    if (std::find(apart.begin(), apart.end(), key) != apart.end()) continue;
    if (item.value().is_object()) throw_error("{}: is a mapping, expected a value", key);
    const std::string text = with_context(key, [&] { return text_of(item.value()); });
    apply_override_fields(std::vector{key + "=" + text}, fields, initial);
  }
}

// A list, or one entry that stands for itself.
std::vector<json> entries_of(const json& value) {
  return value.is_array() ? value.get<std::vector<json>>() : std::vector<json>{value};
}

MicrobenchShapes read_shapes(const json& tree) {
  MicrobenchShapes entry;
  read_fields(tree, {"shapes"}, &entry);
  if (!tree.contains("shapes")) return entry;
  if (entry.name != "custom") throw_error("shapes: is for custom, not for {}", entry.name);
  for (const json& shape : entries_of(tree["shapes"])) {
    std::vector<int32_t>& sizes = entry.shapes.emplace_back();
    for (const json& size : entries_of(shape)) {
      if (!size.is_number_integer() || size.get<int64_t>() > INT32_MAX) {
        throw_error("shapes[{}]: {} is no size", entry.shapes.size() - 1, describe(size));
      }
      sizes.push_back(size.get<int32_t>());
    }
  }
  return entry;
}

MicrobenchParams read_params(const json& tree) {
  MicrobenchParams params;
  read_fields(tree, {"matrix_shapes"}, &params);
  if (!tree.contains("matrix_shapes")) return params;
  const std::vector<json> entries = entries_of(tree["matrix_shapes"]);
  for (size_t i = 0; i < entries.size(); ++i) {
    params.matrix_shapes.push_back(
        with_context(fmt::format("matrix_shapes[{}]", i), [&] { return read_shapes(entries[i]); }));
  }
  return params;
}

void read_file(const std::string& path, MicrobenchConfig* config) {
  const json tree = parse_yaml(path, map_file(path).text());
  with_context(path, [&] {
    read_fields(tree, {"model_params"}, config, null_config());
    if (!tree.contains("model_params")) return;
    const std::vector<json> entries = entries_of(tree["model_params"]);
    for (size_t i = 0; i < entries.size(); ++i) {
      config->model_params.push_back(with_context(fmt::format("model_params[{}]", i),
                                                  [&] { return read_params(entries[i]); }));
    }
  });
}

// key=value: of the file's top level, or of every entry of model_params.
void apply(const std::vector<std::string>& overrides, MicrobenchConfig* config) {
  MicrobenchConfig nulls = null_config();
  MicrobenchParams params;
  const std::vector<std::string> inner = names_of(fields_of(params));
  const std::vector<FieldRef> top = fields_of(*config);
  for (const std::string& item : overrides) {
    const std::string key = item.substr(0, item.find('='));
    if (std::find(inner.begin(), inner.end(), key) == inner.end()) {
      apply_override_fields(std::vector{item}, top, fields_of(nulls));
      continue;
    }
    for (MicrobenchParams& entry : config->model_params) apply_overrides(std::vector{item}, entry);
  }
}

bool has_backend(std::string_view name) {
  const auto all = backends();
  return std::any_of(all.begin(), all.end(),
                     [&](const Backend* backend) { return backend->name == name; });
}

// Devices as torchao names them: what a machine does not have is its cpu there, with a warning.
void resolve_devices(MicrobenchRequest* request) {
  for (MicrobenchParams& params : request->config.model_params) {
    std::string& device = params.device;
    if (device == "cuda:0") device = "cuda";
    const bool has_cuda = device == "cuda" && has_backend("cuda");
    if (has_cuda || (device != "cuda" && device != "xpu" && device != "mps")) {
      find_backend(device);
      continue;
    }
    std::string remark =
        fmt::format("device: there is no {} here; cpu, as torchao's suite", device);
    device = "cpu";
    auto& remarks = request->remarks;
    if (std::find(remarks.begin(), remarks.end(), remark) == remarks.end()) {
      remarks.push_back(std::move(remark));
    }
  }
}

void check(const MicrobenchConfig& c) {
  const auto range = [](const char* key, double value, double lo, double hi) {
    if (!(lo <= value && value <= hi)) throw_error("{} = {}: must be {} to {}", key, value, lo, hi);
  };
  range("threads", c.threads, 0, 1024);
  range("seed", static_cast<double>(c.seed), 0, 1e15);
  range("min_samples", c.sampling.min_samples, 1, 100000);
  range("max_seconds", c.sampling.max_seconds, 0, 1e6);
  range("ci_width", c.sampling.ci_width, 0, 10);
  const std::vector<std::string> outputs = {"table", "csv", "json"};
  if (std::find(outputs.begin(), outputs.end(), c.output) == outputs.end()) {
    throw_error("output = `{}`: must be one of {}{}", printable(c.output), join(outputs, ", "),
                suggestion(c.output, outputs));
  }
  for (const std::string& path : {c.out, c.output_json_path}) {
    if (!path.empty()) check_can_write(path);
  }
}

// "--config", "-o", "--output", "--out", "--benchmark_mode", "-m" as keys; "" for others.
std::string key_of(const std::string& flag) {
  if (flag == "-o") return "output";
  if (flag == "-m") return "benchmark_mode";
  const std::vector<std::string> known = {"--output", "--out", "--benchmark_mode", "--device",
                                          "--threads"};
  return std::find(known.begin(), known.end(), flag) == known.end() ? "" : flag.substr(2);
}

struct Words {
  std::string file;
  std::vector<std::string> overrides;
  bool help = false;
};

Words split_words(const std::vector<std::string>& args) {
  Words words;
  const bool dashboard = !args.empty() && is_dashboard_runner(args[0]);
  if (dashboard) words.overrides.emplace_back("output_json_path=benchmark_results.json");
  const auto set_file = [&](const std::string& file) {
    if (!words.file.empty()) throw_error("{}: only one file can be given", printable(file));
    words.file = file;
  };
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    const bool flag = arg.starts_with("-");
    const size_t equals = arg.find('=');
    const std::string word = arg.substr(0, flag ? equals : std::string::npos);
    const std::string key = dashboard && word == "--output" ? "output_json_path" : key_of(word);
    if (arg == "--help" || arg == "-h") {
      words.help = true;
    } else if (word == "--config" || word == "--microbenchmarks" || !key.empty()) {
      if (equals == std::string::npos && i + 1 == args.size())
        throw_error("{} needs a value", word);
      const std::string value = equals == std::string::npos ? args[++i] : arg.substr(equals + 1);
      key.empty() ? set_file(value) : words.overrides.push_back(key + "=" + value);
    } else if (flag) {
      throw_error("unknown flag {}{}; settings are KEY=VALUE (`lowbit microbench --help`)",
                  printable(arg), suggestion(word, {"--config", "--output", "--out", "--device"}));
    } else if (equals != std::string::npos) {
      words.overrides.push_back(arg);
    } else if (i > 0 || !(is_runner(arg) || dashboard)) {
      set_file(arg);
    }
  }
  return words;
}

template <class Config>
std::string fields_help(const char* indent) {
  Config config;
  std::string text;
  for (const FieldRef& field : fields_of(config)) {
    text += fmt::format("{}{:<33} {}\n", indent, field.name, field.help);
  }
  return text;
}

}  // namespace

std::string microbench_help() {
  return "usage: lowbit microbench [--config] FILE.yml [KEY=VALUE ...] [-o table|csv|json] [--out "
         "FILE]\n"
         "\nSingle Linears in every format, from configs of torchao's microbenchmarks. Also as\n"
         "`lowbit bench benchmark_runner --config FILE.yml`. Times are medians: warm as torchao\n"
         "takes them, and cold, with weights that come from memory. A key on the command line "
         "wins\n"
         "over the file; one of model_params is set in all its entries. Exit code 1 if a case\n"
         "failed.\n\nkeys:\n" +
         fields_help<MicrobenchConfig>("  ") + "  model_params: a list of\n" +
         fields_help<MicrobenchParams>("    ") + "    matrix_shapes: a list of\n" +
         fields_help<MicrobenchShapes>("      ") +
         "      shapes                            custom: [[m, k, n], ...]\n";
}

bool is_microbench_command(const std::vector<std::string>& args) {
  if (!args.empty() && (is_runner(args[0]) || is_dashboard_runner(args[0]))) return true;
  for (const std::string& arg : args) {
    if (arg == "--microbenchmarks" || arg.starts_with("--microbenchmarks=")) return true;
    if (!is_yaml(arg) || arg.find('=') != std::string::npos || !file_exists(arg)) continue;
    const Bytes file = map_file(arg);
    for (const std::string_view line : split(file.text(), '\n')) {
      if (line.starts_with("model_params:")) return true;
    }
  }
  return false;
}

std::optional<MicrobenchRequest> parse_microbench(const std::vector<std::string>& args) {
  const Words words = split_words(args);
  if (words.help) return std::nullopt;
  if (words.file.empty()) {
    throw_error("no config; give --config FILE.yml (configs/torchao-microbenchmarks has some)");
  }
  MicrobenchRequest request;
  read_file(words.file, &request.config);
  apply(words.overrides, &request.config);
  check(request.config);
  resolve_devices(&request);
  const std::vector<std::string> more = microbench_remarks(request.config);
  request.remarks.insert(request.remarks.end(), more.begin(), more.end());
  return request;
}

}  // namespace lowbit
