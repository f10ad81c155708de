#include "app/bench_options.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/options.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/fingerprint.h"
#include "bench/metrics.h"
#include "bench/suite.h"

namespace lowbit {
namespace {

// Our keys with those of profiles.
struct ProfiledBench : BenchConfig {
  bool kernel_profile = false, oom_profile = false, profile_compile = false;
  int32_t memory_snapshot_max_entries = ProfileKeys{}.max_entries;
  std::string profiling_dir;
};

template <class Visitor>
void visit(Visitor& v, ProfiledBench& c) {
  visit(v, static_cast<BenchConfig&>(c));
  visit_profiles(v, c);
  v.field("profiling_dir", c.profiling_dir,
          "a folder per run is made in it for the files of profiles; empty: none");
}

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

// What the command line has, before anything of it is looked up.
struct Words {
  std::string entry, file;
  std::vector<std::string> overrides, models, imports, remarks;
  LlamaBenchFlags llama;
  bool resume = false, help = false;
};

// low_bit_inference/utils/_memory_viz.py stats|trace|... SNAPSHOT.pickle
void refuse_memory_viz(std::string_view word) {
  if (word.ends_with(".py")) word.remove_suffix(3);
  if (!word.ends_with("_memory_viz")) return;
  throw_error(
      "{}: there are no pickles of memory here; oom_profile=True prints and writes what memory is "
      "for (memory_snapshot_*.json), and `lowbit report RESULTS -o report.html` draws it",
      printable(word));
}

// Flags of ours that llama-bench has too: beside others of its flags they mean what they do there.
struct SharedFlag {
  std::string_view name;
  const char *llama, *key;
};
constexpr SharedFlag kShared[] = {
    {"--model", "-m", "model"}, {"--threads", "-t", "threads"}, {"--device", "-dev", "device"}};

bool take_shared(const std::vector<std::string>& args, size_t* i, bool llama, Words* words) {
  for (const SharedFlag& flag : kShared) {
    const auto value = flag_value(args, i, {flag.name});
    if (!value) continue;
    if (llama) {
      words->llama.set(flag.llama, *value);
    } else if (flag.name == "--model") {
      words->models.push_back(*value);
    } else {
      words->overrides.push_back(fmt::format("{}={}", flag.key, *value));
    }
    return true;
  }
  return false;
}

Words split_words(const std::vector<std::string>& args) {
  if (!args.empty()) refuse_memory_viz(args[0]);
  const bool llama = LlamaBenchFlags::asked_for(args);
  Words words;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--help" || arg == "-h") {
      words.help = true;
    } else if (const auto output = flag_value(args, &i, {"-o", "--output"})) {
      words.overrides.push_back("output=" + *output);
    } else if (const auto out = flag_value(args, &i, {"--out"})) {
      words.overrides.push_back("out=" + *out);
    } else if (take_shared(args, &i, llama, &words)) {
      continue;
    } else if (const auto file = flag_value(args, &i, {"--import"})) {
      words.imports.push_back(*file);
    } else if (arg == "--resume") {
      words.resume = true;
    } else if (words.llama.take(args, &i)) {
      continue;
    } else if (arg.starts_with("-")) {
      throw_error("unknown flag {}; settings are KEY=VALUE (`lowbit bench --help` lists them)",
                  arg);
    } else if (arg.find('=') != std::string::npos) {
      words.overrides.push_back(arg);
    } else if (is_yaml(arg)) {
      if (!words.file.empty()) throw_error("{}: only one file can be given", arg);
      words.file = arg;
    } else if (i == 0 && is_suite_entry(arg)) {
      words.entry = arg;
    } else if (llama) {
      words.llama.add_model(arg);
    } else {
      words.models.push_back(arg);
    }
  }
  return words;
}

// Our file for one that the suite keeps in configs/: ours are a folder further down.
void find_suite_file(Words* words) {
  if (words->file.empty() || file_exists(words->file) || !is_suite_file(words->file)) return;
  const std::filesystem::path asked(words->file);
  const std::filesystem::path here = asked.parent_path() / "low-bit-inference" / asked.filename();
  if (!file_exists(here)) {
    std::error_code ignored;
    throw_error(
        "{}: no such file in {}; ours is configs/low-bit-inference/{} of the folder that lowbit is "
        "built in",
        words->file, std::filesystem::current_path(ignored).string(), asked.filename().string());
  }
  words->remarks.push_back(fmt::format("{}: is {} here", words->file, here.string()));
  words->file = here;
}

// Variables that make torch.compile write what it does.
void answer_torch_logs(std::vector<std::string>* remarks) {
  std::vector<std::string> set;
  for (const char* name : {"TORCH_TRACE", "TORCH_LOGS"}) {
    const char* value = std::getenv(name);
    if (value && *value) set.emplace_back(name);
  }
  if (set.empty()) return;
  remarks->push_back(
      join(set, ", ") +
      ": no effect, nothing is compiled; profile_compile=True says how loading went and which "
      "kernels were chosen, kernel_profile=True writes a trace");
}

// Whether a key of the suite is set, by the file or on the command line.
bool has_suite_key(const Words& words) {
  const auto any = [](std::string_view line, char end) {
    return is_suite_key(trim(line.substr(0, line.find(end))));
  };
  for (const std::string& item : words.overrides) {
    if (any(item, '=')) return true;
  }
  if (words.file.empty()) return false;
  const Bytes file = map_file(words.file);
  for (const std::string_view line : split(file.text(), '\n')) {
    if (line.find(':') != std::string_view::npos && any(line, ':')) return true;
  }
  return false;
}

// profiling_dir/MM_DD_HH_MM_SS
std::string make_run_folder(const std::string& parent) {
  if (parent.empty()) return "";
  const auto folder = std::filesystem::path(parent) / local_time("%m_%d_%H_%M_%S");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw_error("profiling_dir = {}: {}; name another one, or null for none",
                printable(parent, 300), error.message());
  }
  return folder;
}

BenchRequest suite_request(const Words& words) {
  if (words.llama.given()) {
    throw_error("flags of llama-bench do not go with a config of low-bit-inference");
  }
  SuiteConfig config, nulls = suite_nulls();
  if (!words.file.empty()) apply_yaml_fields(words.file, fields_of(config), fields_of(nulls));
  apply_override_fields(words.overrides, fields_of(config), fields_of(nulls));
  if (!words.models.empty()) config.model_id = words.models;
  SuitePlan plan = plan_suite(words.entry, words.file, config);
  plan.remarks.insert(plan.remarks.begin(), words.remarks.begin(), words.remarks.end());
  answer_torch_logs(&plan.remarks);
  check(plan.bench);
  BenchRequest request{.config = std::move(plan.bench),
                       .suite = true,
                       .remarks = std::move(plan.remarks),
                       .run_folder = make_run_folder(config.profiling_dir),
                       .profile = plan.profile};
  if (request.config.out.empty() && !request.run_folder.empty()) {
    request.config.out = request.run_folder + "/results.jsonl";
  }
  return request;
}

BenchRequest own_request(const Words& words) {
  ProfiledBench config;
  if (!words.file.empty()) apply_yaml(words.file, config);
  apply_overrides(words.overrides, config);
  if (!words.models.empty()) config.model = words.models;
  if (words.llama.given()) words.llama.apply(&config, words.overrides);
  check(config);
  if (config.memory_snapshot_max_entries < 1) {
    throw_error("memory_snapshot_max_entries = {}: must be at least 1",
                config.memory_snapshot_max_entries);
  }
  BenchRequest request{.config = config,
                       .remarks = words.llama.remarks(),
                       .run_folder = "",
                       .profile = {.kernels = config.kernel_profile,
                                   .memory = config.oom_profile,
                                   .load = config.profile_compile,
                                   .max_entries = config.memory_snapshot_max_entries}};
  if (request.profile.any()) {
    request.run_folder = make_run_folder(config.profiling_dir);
  } else if (!config.profiling_dir.empty()) {
    request.remarks.emplace_back(
        "profiling_dir: no effect without kernel_profile, oom_profile or profile_compile");
  }
  return request;
}

}  // namespace

std::string bench_help() {
  std::string text =
      "usage: lowbit bench [ENTRY] [FILE.yaml] [MODEL ...] [KEY=VALUE ...] [-o "
      "table|md|json|csv|jsonl|sql] "
      "[--out FILE] "
      "[--resume]\n"
      "\nSpeed, memory and quality. A key on the command line wins over the file. Keys that may "
      "have\n"
      "several values (commas, or a YAML list) make a sweep of every combination; each case runs "
      "in\n"
      "a process of its own, in random order, and what crashes or hangs there is one failed row.\n"
      "--resume leaves out what FILE already has. Without a model: the embedded one. Exit code 1 "
      "if\n"
      "a case failed.\n\nConfigs of low-bit-inference work as they are; ENTRY is the module that "
      "ran one (gemlite_exp).\n\nkeys and defaults ([]: may have several):\n";
  ProfiledBench config;
  const nlohmann::ordered_json defaults = to_json(config);
  for (const FieldRef& field : fields_of(config)) {
    std::string value = defaults[field.name].dump();
    value.erase(std::remove(value.begin(), value.end(), '"'), value.end());
    text += fmt::format("  {:<15} {:<10} {}\n", field.name, value, field.help);
  }
  return text + llama_bench_help() +
         "\n--import FILE  reads record lines of torchao's llama harness (its --write_result, and "
         "that of\n               `lowbit generate`) instead of running; out=FILE stores them for "
         "`lowbit compare`\n"
         "\nmetrics (P = prompt_tokens, N = new_tokens; each with median, 95 % interval and, in "
         "JSON, raw samples):\n" +
         metrics_help();
}

std::optional<BenchRequest> parse_bench(const std::vector<std::string>& args) {
  Words words = split_words(args);
  if (words.help) return std::nullopt;
  find_suite_file(&words);
  const bool suite = !words.entry.empty() || has_suite_key(words);
  BenchRequest request = suite ? suite_request(words) : own_request(words);
  request.llama = words.llama;
  request.imports = words.imports;
  request.resume = words.resume;
  if (request.resume && request.config.out.empty()) {
    throw_error("--resume: needs the file of the earlier run: out=FILE");
  }
  return request;
}

}  // namespace lowbit
