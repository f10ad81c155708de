#include "models/golden_cases.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "engine/stepper.h"
#include "load/safetensors.h"

namespace lowbit::golden {
namespace {

// LOWBIT_SOURCE: of a binary that runs beside another checkout than the one it was built in.
std::string folder() {
  const char* source = std::getenv("LOWBIT_SOURCE");
  return std::string(source ? source : LB_SOURCE_DIR) + "/tests/golden/llama/";
}

template <class T>
std::vector<T> values(const StoredTensors& tensors, const std::string& name) {
  const Bytes& bytes = tensors.at(name).data;
  std::vector<T> out(bytes.data.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data.data(), bytes.data.size());
  return out;
}

}  // namespace

std::string Case::path() const { return folder() + name; }

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Case read_case(const std::string& name) {
  Case golden;
  golden.name = name;
  const std::string path = golden.path() + "/golden.safetensors";
  const Bytes file = map_file(path);
  const StoredTensors tensors = parse_safetensors(path, file);
  golden.prompt = values<int32_t>(tensors, "prompt_ids");
  golden.greedy = values<int32_t>(tensors, "greedy_ids");
  golden.logits = values<float>(tensors, "logits");
  golden.last_logits = values<float>(tensors, "greedy_logits_last");
  for (int i = 0; tensors.contains(fmt::format("hidden.{}", i)); ++i) {
    golden.hidden.push_back(values<float>(tensors, fmt::format("hidden.{}", i)));
  }
  return golden;
}

LoadedModel load_case(const Case& golden, const Backend& backend, const std::string& kv_format,
                      const std::string& format) {
  LoadOptions options;
  options.kv_format = parse_cache_format(kv_format);
  if (!format.empty()) options.set_format(parse_format_pair(format));
  return load(golden.path(), backend, options);
}

std::vector<float> logits_of(const Model& model, const Backend& backend,
                             const std::vector<int32_t>& prompt) {
  const auto ctx = static_cast<int32_t>(prompt.size());
  Stepper stepper(model, backend, {.max_context = ctx, .max_step_tokens = ctx});
  const Chunk chunk{0, prompt, ctx};
  stepper.step(std::span(&chunk, 1));
  const std::span<const float> logits = stepper.logits();
  return {logits.begin(), logits.end()};
}

}  // namespace lowbit::golden
