// lowbit inspect: what a model is made of, and which kernels would run it. Reads no weights.
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/model_options.h"
#include "app/options.h"
#include "app/output.h"
#include "base/check.h"
#include "base/text.h"
#include "engine/plan_report.h"
#include "engine/state.h"

namespace lowbit {
namespace {

using nlohmann::ordered_json;

// Names as config.json has them.
constexpr const char* kIntegers[] = {
    "hidden_size",         "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim",          "vocab_size",        "max_position_embeddings"};
constexpr const char* kNumbers[] = {"rms_norm_eps", "rope_theta"};

ordered_json hyperparameters(const Hyperparams& config) {
  ordered_json json = ordered_json::object();
  for (const char* key : kIntegers) {
    if (config.has(key)) json[key] = config.integer(key, INT64_MIN, INT64_MAX);
  }
  for (const char* key : kNumbers) {
    if (config.has(key)) json[key] = config.number(key, -1e300, 1e300);
  }
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto scaling = config.child(key);
    if (scaling) json[key] = scaling->text_or("rope_type", scaling->text_or("type", "default"));
  }
  json["tie_word_embeddings"] = config.boolean_or("tie_word_embeddings", false);
  return json;
}

size_t state_bytes_per_token(const Model& model) {
  size_t bytes = 0;
  for (const StateSpec& spec : model.state()) bytes += bytes_per_token(spec);
  return bytes;
}

ordered_json report_json(const LoadedModel& loaded) {
  const Checkpoint& checkpoint = *loaded.checkpoint;
  const Model& model = *loaded.model;
  const MemoryUse& memory = model.memory();
  ordered_json stored = ordered_json::array();
  for (const StoredType& type : checkpoint.stored_types()) {
    stored.push_back({{"type", type.type}, {"tensors", type.tensors}, {"bytes", type.bytes}});
  }
  return {{"model", checkpoint.source()},
          {"container", checkpoint.container()},
          {"synthetic", checkpoint.synthetic()},
          {"architectures", checkpoint.config().texts_or("architectures")},
          {"hyperparameters", hyperparameters(checkpoint.config())},
          {"parameters", model.parameters()},
          {"tokenizer", loaded.tokenizer ? ordered_json(loaded.tokenizer->describe()) : nullptr},
          {"stored", stored},
          {"remarks", checkpoint.remarks()},
          {"device", loaded.backend->name},
          {"device_name", loaded.backend->info().name},
          {"format", format_summary(model)},
          {"memory",
           {{"linears", memory.linears},
            {"embedding", memory.embedding},
            {"other", memory.other},
            {"total", memory.total()},
            {"read_per_step", memory.per_step}}},
          {"state_bytes_per_token", state_bytes_per_token(model)},
          {"max_context", model.max_context()},
          {"linears", linears_json(model)}};
}

std::string hyperparameter_text(const Hyperparams& config) {
  std::string text;
  const ordered_json values = hyperparameters(config);
  for (const auto& [key, value] : values.items()) {
    text += fmt::format("  {:<24}{}\n", key,
                        value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

std::string memory_text(const Model& model) {
  const MemoryUse& memory = model.memory();
  const auto mb = [](size_t bytes) { return format_bytes(static_cast<double>(bytes)); };
  const size_t state = state_bytes_per_token(model);
  return format_table(
      {{"memory", "", ""},
       {"  linears", mb(memory.linears), fmt::format("{}", format_summary(model))},
       {"  embedding", mb(memory.embedding),
        memory.embedding == 0 ? "shared with the head" : "read one row a token"},
       {"  norms and tables", mb(memory.other), ""},
       {"  total", mb(memory.total()),
        fmt::format("{} of it read by every decode step", mb(memory.per_step))},
       {"  state", fmt::format("{} a token", mb(state)),
        fmt::format("{} for {} tokens", mb(state * static_cast<size_t>(model.max_context())),
                    model.max_context())}});
}

std::string report_text(const LoadedModel& loaded) {
  const Checkpoint& checkpoint = *loaded.checkpoint;
  const Model& model = *loaded.model;
  std::string stored;
  for (const StoredType& type : checkpoint.stored_types()) {
    stored += fmt::format("{}{} x {} ({})", stored.empty() ? "" : ", ", type.tensors, type.type,
                          format_bytes(static_cast<double>(type.bytes)));
  }
  std::string text = fmt::format(
      "model         {}\ncontainer     {}{}\narchitecture  {}\nparameters    {} ({})\n"
      "tokenizer     {}\nstored        {}\ndevice        {}, {}\n",
      checkpoint.source(), checkpoint.container(), checkpoint.synthetic() ? ", random weights" : "",
      join(checkpoint.config().texts_or("architectures"), ", "), model.parameters(),
      format_count(static_cast<double>(model.parameters())),
      loaded.tokenizer ? loaded.tokenizer->describe() : "none",
      stored.empty() ? "nothing, generated as bf16" : stored, loaded.backend->name,
      loaded.backend->info().name);
  for (const std::string& remark : checkpoint.remarks()) text += "note          " + remark + "\n";
  return text + "hyperparameters\n" + hyperparameter_text(checkpoint.config()) +
         memory_text(model) + "linears (n x k), kernels by rows m of the activation\n" +
         linears_text(model);
}

}  // namespace

int cmd_inspect(const std::vector<std::string>& args) {
  ModelOptions options;
  std::string model, output = "text";
  CommandLine line(
      "What a model is made of, the memory it would take and the kernels that would run "
      "it. Reads no weights.",
      "inspect");
  line.add_option("MODEL", model, "model to inspect, as --model");
  line.add_flags(options);
  line.add_option("-o,--output", output, "text or json");
  if (!line.parse(args)) return 0;
  if (!model.empty() && !options.model.empty()) throw_error("give the model once");
  if (options.model.empty()) options.model = model;
  if (output != "text" && output != "json") {
    throw_error("-o {}: must be text or json", printable(output));
  }
  const LoadedModel loaded = load_model_for(options, true);
  print(output == "json" ? report_json(loaded).dump() + "\n" : report_text(loaded));
  return 0;
}

}  // namespace lowbit
