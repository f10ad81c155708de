#include "models/export.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/build_info.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "load/container.h"
#include "models/model.h"

namespace lowbit {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::string_view kHead = "lm_head.weight";

// One tensor of the new file.
struct Output {
  std::string name;
  TensorUse use;
  Format format;
};

struct Plan {
  std::vector<Output> outputs;
  bool untied = false;  // head and embedding shared a tensor and no longer do
};

Plan plan_outputs(const std::vector<TensorUse>& uses) {
  Plan plan;
  for (const TensorUse& use : uses) {
    const Format format = final_format(use);
    const auto same = std::find_if(plan.outputs.begin(), plan.outputs.end(),
                                   [&](const Output& o) { return o.name == use.tensor; });
    if (same == plan.outputs.end()) {
      plan.outputs.push_back({use.tensor, use, format});
    } else if (same->format != format) {
      plan.untied = true;
      plan.outputs.push_back({std::string(kHead), use, format});
    }
  }
  return plan;
}

std::vector<SafetensorsEntry> entries_of(const Output& output) {
  const TensorUse& use = output.use;
  if (output.format.quantized()) return plane_entries(output.name, output.format, use.n, use.k);
  const std::string_view dtype = output.format.code == Code::kF32   ? "F32"
                                 : output.format.code == Code::kF16 ? "F16"
                                                                    : "BF16";
  std::vector<int64_t> shape = {use.n, use.k};
  if (use.role == TensorRole::kVector) shape = {use.k};
  return {{output.name, std::string(dtype), shape,
           static_cast<int64_t>(tensor_bytes(output.format, use.n, use.k))}};
}

// What a container says of a tensor that is taken over as it is.
void keep(const ordered_json& before, const char* key, const std::string& tensor,
          ordered_json* after) {
  if (before.value("quant_method", "") != "lowbit" || !before.contains(key)) return;
  if (before[key].contains(tensor)) (*after)[tensor] = before[key][tensor];
}

std::string new_config(const Checkpoint& checkpoint, const Plan& plan) {
  ordered_json config = ordered_json::parse(checkpoint.config_json());
  const ordered_json before = config.value("quantization_config", ordered_json::object());
  ordered_json formats = ordered_json::object(), quantizers = formats, decoded = formats;
  for (const Output& output : plan.outputs) {
    if (!output.format.quantized()) continue;
    formats[output.name] = name(output.format);
    if (output.format == output.use.stored) {
      keep(before, "quantizers", output.name, &quantizers);
      keep(before, "decoded_from", output.name, &decoded);
      continue;
    }
    quantizers[output.name] = output.use.choice.quantizer->name;
    if (output.use.stored.quantized()) decoded[output.name] = name(output.use.stored);
  }
  if (plan.untied) config["tie_word_embeddings"] = false;
  if (formats.empty()) {
    config.erase("quantization_config");
    return config.dump(2) + "\n";
  }
  config["quantization_config"] = {{"quant_method", "lowbit"},
                                   {"version", kContainerVersion},
                                   {"written_by", "lowbit " + std::string(build_info().version)},
                                   {"formats", std::move(formats)},
                                   {"quantizers", std::move(quantizers)}};
  if (!decoded.empty()) config["quantization_config"]["decoded_from"] = std::move(decoded);
  return config.dump(2) + "\n";
}

// A folder that vanishes unless it is kept.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& beside)
      : path_(fmt::format("{}.tmp.{}", beside, ::getpid())) {
    std::error_code error;
    if (!fs::create_directory(path_, error)) {
      throw_error("{}: cannot create the folder: {}", path_,
                  error ? error.message() : "it exists; remove it");
    }
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!kept_) fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  void keep_as(const std::string& name) {
    std::error_code error;
    fs::rename(path_, name, error);
    if (error) throw_error("{}: cannot rename {} to it: {}", name, path_, error.message());
    kept_ = true;
  }

 private:
  std::string path_;
  bool kept_ = false;
};

QTensor converted(const Checkpoint& checkpoint, const ExportOptions& options,
                  const Output& output) {
  const TensorUse& use = output.use;
  QTensor source = checkpoint.tensor(use.tensor, use.n, use.k);
  if (source.format == output.format) return source;
  const bool wanted = options.inputs && use.choice.quantizer->needs != Needs::kNothing;
  const InputStats* inputs = wanted ? options.inputs->find(use.tensor) : nullptr;
  QTensor result =
      use.choice.quantizer->run(source, output.format, {use.tensor, inputs, use.choice.iterations});
  release_pages(source);
  return result;
}

void write_weights(const Checkpoint& checkpoint, const ExportOptions& options, const Plan& plan,
                   const std::string& path, ExportReport* report) {
  std::vector<SafetensorsEntry> entries;
  for (const Output& output : plan.outputs) {
    for (SafetensorsEntry& entry : entries_of(output)) entries.push_back(std::move(entry));
  }
  SafetensorsWriter writer(path, entries, {{"format", "pt"}});
  std::set<std::string> sources;
  int64_t done = 0;
  for (const Output& output : plan.outputs) {
    const QTensor tensor = converted(checkpoint, options, output);
    for (const Plane plane : kPlanes) writer.write(tensor.plane(plane).data);
    release_pages(tensor);
    report->written_bytes += static_cast<int64_t>(tensor.bytes());
    if (sources.insert(output.use.tensor).second) {
      report->source_bytes +=
          static_cast<int64_t>(tensor_bytes(output.use.stored, tensor.n, tensor.k));
    }
    if (output.format.quantized()) {
      report->weights += tensor.n * tensor.k;
      report->weight_bits += static_cast<int64_t>(tensor.bytes()) * 8;
    }
    ++done;
    if (options.progress) {
      options.progress(done, static_cast<int64_t>(plan.outputs.size()), output.name);
    }
  }
  writer.finish();
}

}  // namespace

namespace {

// A page about the model, or figures of it, which are not true of another format.
bool describes_source(std::string_view file) {
  return file.starts_with("README") || file == "reference.json";
}

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

void check_export(const Checkpoint& checkpoint, const std::string& out) {
  if (checkpoint.synthetic()) {
    throw_error("{}: random weights are made anew at each load; there is nothing to store",
                checkpoint.source());
  }
  if (fs::exists(without_slashes(out))) {
    throw_error("{}: exists; nothing was changed. Name a new folder, or remove this one", out);
  }
  const fs::path parent = fs::path(without_slashes(out)).parent_path();
  if (!parent.empty() && !fs::is_directory(parent)) {
    throw_error("{}: there is no folder {} to put it in; make that first", out, parent.string());
  }
}

ExportReport export_model(const Checkpoint& checkpoint, const Backend& backend,
                          const ExportOptions& options, const std::string& out) {
  check_export(checkpoint, out);
  const std::string target = without_slashes(out);
  LoadOptions load;
  load.policy = options.policy;
  load.inputs = options.inputs;
  load.plan_only = true;
  ExportReport report;
  report.uses = load_model(checkpoint, backend, load)->tensors();
  const Plan plan = plan_outputs(report.uses);
  TemporaryFolder folder(target);
  write_weights(checkpoint, options, plan, folder.path() + "/model.safetensors", &report);
  write_file_atomically(folder.path() + "/config.json", new_config(checkpoint, plan));
  for (const SideFile& file : checkpoint.side_files()) {
    if (describes_source(file.name)) {
      report.left_out.push_back(file.name);
      continue;
    }
    write_file_atomically(folder.path() + "/" + file.name, file.data.text());
  }
  folder.keep_as(target);
  return report;
}

}  // namespace lowbit
