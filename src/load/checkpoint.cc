#include "load/checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "load/containers.h"
#include "load/embedded.h"

namespace lowbit {
namespace {

constexpr std::string_view kSynthetic = "synthetic:";
constexpr std::string_view kEmbedded = "embedded:";
constexpr std::string_view kForms =
    "a Hugging Face folder, a .gguf file, a .pth file of gpt-fast, synthetic:NAME[@SEED] or "
    "embedded:NAME";

std::unique_ptr<Checkpoint> open_embedded(const std::string& model) {
  const std::string name = model.substr(kEmbedded.size());
  const std::vector<std::string> names = embedded_names();
  // Only a name of the list: "" or "x/.." would otherwise be a prefix of other files.
  if (std::find(names.begin(), names.end(), name) != names.end()) {
    return open_hf_checkpoint(model, open_embedded_folder("models/" + name + "/", model));
  }
  if (names.empty()) throw_error("{}: no model is linked into this binary", printable(model));
  const std::string near = suggestion(name, names);
  throw_error("{}: no such embedded model{} known: {}", printable(model), near.empty() ? ";" : near,
              join(names, ", "));
}

std::unique_ptr<Checkpoint> open_gpt_fast_file(const std::string& model) {
  const std::filesystem::path path(model);
  const std::string folder = path.has_parent_path() ? path.parent_path().string() : ".";
  return open_gpt_fast_checkpoint(model, open_folder(folder), path.filename().string());
}

// model.pth of the llama harness may lie beside Hugging Face's files, which then come first.
std::unique_ptr<Checkpoint> open_model_folder(const std::string& model) {
  std::unique_ptr<Folder> folder = open_folder(model);
  const std::vector<std::string> names = folder->names();
  const bool hf = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.find(".safetensors") != std::string::npos || name.starts_with("pytorch_model");
  });
  for (const char* file : {"model.pth", "consolidated.00.pth"}) {
    if (!hf && folder->find(file)) return open_gpt_fast_checkpoint(model, std::move(folder), file);
  }
  return open_hf_checkpoint(model, std::move(folder));
}

std::unique_ptr<Checkpoint> open_file(const std::string& model) {
  const Bytes file = map_file(model);
  if (file.text().starts_with("GGUF") || model.ends_with(".gguf")) {
    return open_gguf_checkpoint(model, file);
  }
  if (model.ends_with(".pth") || model.ends_with(".pt")) return open_gpt_fast_file(model);
  if (model.ends_with(".safetensors") || model.ends_with(".json") || model.ends_with(".bin")) {
    throw_error("{}: is one file of a model; pass the folder that holds it, with config.json",
                printable(model, 300));
  }
  throw_error("{}: is not a model file; a model is {}", printable(model, 300), kForms);
}

// org/name, as on the hub: no other slash, nothing that only a path has.
bool looks_like_hub_id(std::string_view model) {
  const size_t slash = model.find('/');
  return slash != std::string_view::npos && slash != 0 && slash + 1 < model.size() &&
         model.find('/', slash + 1) == std::string_view::npos && model[0] != '.' &&
         model[0] != '~' && model.find_first_of(" \\:") == std::string_view::npos &&
         !model.ends_with(".gguf") && !model.ends_with(".safetensors");
}

std::string near_shapes(const std::string& model) {
  const std::vector<std::string> names = synthetic_names();
  const bool exact = std::find(names.begin(), names.end(), model) != names.end();
  if (exact) return fmt::format(", did you mean `{}{}`?", kSynthetic, model);
  return suggestion(model, names);
}

}  // namespace

std::unique_ptr<Checkpoint> open_checkpoint(const std::string& model) {
  if (model.starts_with(kSynthetic)) return open_synthetic_checkpoint(model);
  if (model.starts_with(kEmbedded)) return open_embedded(model);
  if (is_directory(model)) return open_model_folder(model);
  if (file_exists(model)) return open_file(model);
  if (looks_like_hub_id(model)) {
    throw_error(
        "{0}: no such folder. lowbit does not download models: fetch it (for example "
        "`huggingface-cli download {0} --local-dir DIR`) and pass DIR",
        printable(model, 300));
  }
  const std::string near = near_shapes(model);
  throw_error("{}: no such file or folder{} A model is {}", printable(model, 300),
              near.empty() ? "." : near, kForms);
}

}  // namespace lowbit
