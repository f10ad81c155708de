// lowbit roofline: what this machine can do at most with a model, before anything runs.
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/options.h"
#include "app/output.h"
#include "app/progress.h"
#include "backends.h"
#include "base/check.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "bench/bench_model.h"
#include "bench/device_watch.h"
#include "bench/roofline.h"

namespace lowbit {
namespace {

std::string help() {
  std::string text =
      "usage: lowbit roofline [MODEL] [FILE.yaml] [KEY=VALUE ...] [-o table|md|json] [--help]\n\n"
      "Limits of prefill and decode in tokens per second: bytes that a step must read over the\n"
      "bandwidth of the cache or memory that holds them, or operations over the fastest\n"
      "multiply-adds, whichever takes longer. This machine is measured once; the result is kept\n"
      "in ~/.cache/lowbit/roofline.jsonl with its date. Keys and defaults ([]: several "
      "values):\n\n";
  RooflineConfig config;
  const nlohmann::ordered_json defaults = to_json(config);
  for (const FieldRef& field : fields_of(config)) {
    text +=
        fmt::format("  {:<10} {:<14} {}\n", field.name, defaults[field.name].dump(), field.help);
  }
  return text;
}

// What a stored result is found by.
Fingerprint machine_of(const Backend& backend) {
  Record record;
  record.fingerprint = machine_fingerprint();
  describe(&record, backend);
  record.fingerprint.threads = thread_pool().workers();
  if (backend.device) {
    const FoundSource found = open_nvml();
    if (found.source) {
      record.fingerprint.gpu_driver = found.source->driver();
      record.fingerprint.power_limit = found.source->power_limit();
    }
  }
  return record.fingerprint;
}

Ceilings ceilings_for(const RooflineConfig& config, const Backend& backend) {
  if (config.bandwidth > 0) {
    return {.levels = {{"memory", 0, config.bandwidth * 1e9}},
            .float_flops = config.compute * 1e12,
            .integer_flops = config.compute * 1e12,
            .measured = ""};
  }
  const std::string path = ceilings_path();
  const Fingerprint machine = machine_of(backend);
  if (!config.fresh) {
    if (auto stored = stored_ceilings(path, machine)) return *std::move(stored);
  }
  Ceilings ceilings;
  {
    Progress progress("measuring this machine");
    ceilings =
        measure_ceilings(backend, [&](std::string_view what) { progress.update(0, 1, what); });
  }
  if (path.empty()) {
    note("roofline: neither XDG_CACHE_HOME nor HOME is set: the result is not kept");
    return ceilings;
  }
  try {
    store_ceilings(path, ceilings_record(ceilings, machine));
    const auto used = stored_ceilings(path, machine);
    if (!ceilings.unstable.empty() && used && used->unstable.empty()) {
      note(
          fmt::format("roofline: the machine was busy ({}); the undisturbed result of {} stays in "
                      "use",
                      join(ceilings.unstable, "; "), used->measured));
      return *used;
    }
  } catch (const Error& error) {
    note(fmt::format("roofline: not kept: {}", error.what()));
  }
  return ceilings;
}

std::string markdown(const std::vector<std::vector<std::string>>& table) {
  std::string text;
  for (size_t i = 0; i < table.size(); ++i) {
    text += "| " + join(table[i], " | ") + " |\n";
    if (i > 0) continue;
    for (size_t c = 0; c < table[i].size(); ++c) text += c == 0 ? "|---|" : "---:|";
    text += "\n";
  }
  return text;
}

RooflineConfig read_config(const std::vector<std::string>& args) {
  RooflineConfig config;
  std::vector<std::string> overrides;
  std::string model;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "-o" && i + 1 < args.size()) {
      overrides.push_back("output=" + args[++i]);
    } else if (arg.starts_with("-")) {
      throw_error("unknown flag {}; settings are KEY=VALUE (`lowbit roofline --help` lists them)",
                  printable(arg));
    } else if (arg.find('=') != std::string::npos) {
      overrides.push_back(arg);
    } else if (arg.ends_with(".yaml") || arg.ends_with(".yml")) {
      apply_yaml(arg, config);
    } else if (model.empty()) {
      model = arg;
    } else {
      throw_error("{} and {}: only one model can be given", printable(model), printable(arg));
    }
  }
  apply_overrides(overrides, config);
  if (!model.empty()) config.model = model;
  if (config.model.empty()) config.model = default_bench_model();
  check(config);
  return config;
}

}  // namespace

int cmd_roofline(const std::vector<std::string>& args) {
  for (const std::string& arg : args) {
    if (arg == "--help" || arg == "-h") return print(help()), 0;
  }
  const RooflineConfig config = read_config(args);
  const Backend& backend = find_backend(config.device);
  if (config.threads > 0) set_threads(config.threads);
  const Ceilings ceilings = ceilings_for(config, backend);
  const std::vector<RooflineRow> rows = roofline(config, backend, ceilings);
  if (config.output == "json") {
    print(roofline_json(rows, ceilings).dump(2) + "\n");
    return 0;
  }
  const auto table = roofline_table(rows);
  const std::string title = fmt::format("{}, {}, {} threads, KV {}", config.model, config.device,
                                        thread_pool().workers(), config.kv_format);
  if (config.output == "md") {
    print(fmt::format("**{}**\n\n{}\n{}\n", title, markdown(table), ceilings_text(ceilings)));
  } else {
    print(fmt::format("{}\n\n{}\n{}\n", title, format_table(table), ceilings_text(ceilings)));
  }
  return 0;
}

}  // namespace lowbit
