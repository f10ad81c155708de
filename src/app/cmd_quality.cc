// lowbit quality: what each format costs in quality, as a table and a picture.
#include <algorithm>
#include <filesystem>

#include "app/commands.h"
#include "app/options.h"
#include "app/output.h"
#include "app/progress.h"
#include "backends.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "bench/harness_line.h"
#include "bench/quality_table.h"

namespace lowbit {
namespace {

class Shown final : public QualityListener {
 public:
  void on_phase(int64_t done, int64_t total, std::string_view what) override {
    progress_.update(done, total, what);
  }

 private:
  Progress progress_{"quality"};
};

// KEY=VALUE wins over FILE.yaml.
QualityConfig read_config(const std::string& file, const std::vector<std::string>& overrides) {
  QualityConfig config;
  if (!file.empty()) apply_yaml(file, config);
  apply_overrides(overrides, config);
  return config;
}

// What runs these cases again: not what only says where results go.
std::string repro_command(const std::string& file, const std::vector<std::string>& overrides) {
  std::string command = "lowbit quality";
  if (!file.empty()) command += " " + shell_quoted(file);
  for (const std::string& item : overrides) {
    const std::string key = item.substr(0, item.find('='));
    std::string value = item.substr(key.size() + 1);
    if (key == "known" || key == "out" || key == "markdown" || key == "plot") continue;
    if (key == "text" || key == "calibration") {
      value = std::filesystem::path(value).filename().string();
    }
    command += " " + shell_quoted(key + "=" + value);
  }
  return command;
}

}  // namespace

int cmd_quality(const std::vector<std::string>& args) {
  std::vector<std::string> given;
  CommandLine line(
      "Perplexity, KL divergence and agreement of a model in many formats on one text.\n"
      "usage: lowbit quality [FILE.yaml] [KEY=VALUE ...]; the keys:",
      "quality");
  QualityConfig shown;
  std::string keys;
  for (const FieldRef& field : fields_of(shown)) {
    keys += fmt::format("  {:<12} {}\n", field.name, field.help);
  }
  line.set_footer(keys);
  line.add_option("SETTINGS", given, "a YAML file and KEY=VALUE settings", "");
  if (!line.parse(args)) return 0;
  std::string file;
  std::vector<std::string> overrides;
  for (const std::string& item : given) {
    if (item.find('=') != std::string::npos) {
      overrides.push_back(item);
    } else if (file.empty() && (item.ends_with(".yaml") || item.ends_with(".yml"))) {
      file = item;
    } else {
      throw_error("`{}` is neither a YAML file nor KEY=VALUE", printable(item));
    }
  }
  QualityConfig config = read_config(file, overrides);
  config.command = repro_command(file, overrides);
  check(config);
  if (config.threads > 0) set_threads(config.threads);
  std::vector<Record> records;
  {
    Shown listener;
    records = measure_quality(config, find_backend(config.device), &listener);
  }
  const std::string table = quality_markdown(records, config.notes);
  print(table);  // before a file that cannot be written
  flush_output();
  if (!config.out.empty()) {
    std::string lines;
    for (const Record& record : records) lines += to_json_line(record) + "\n";
    write_file_atomically(config.out, lines);
  }
  if (!config.markdown.empty()) write_file_atomically(config.markdown, table);
  if (!config.plot.empty()) write_file_atomically(config.plot, quality_svg(records));
  const auto failed = [](const Record& record) { return record.status == Status::kFail; };
  return std::any_of(records.begin(), records.end(), failed) ? 1 : 0;
}

}  // namespace lowbit
