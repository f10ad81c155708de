// lowbit quantize: a model in another format, as a folder that loads without quantizing again.
#include <map>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/model_options.h"
#include "app/options.h"
#include "app/output.h"
#include "app/progress.h"
#include "base/check.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "base/timer.h"
#include "engine/prepared.h"
#include "models/export.h"
#include "models/mixture.h"

namespace lowbit {
namespace {

using nlohmann::ordered_json;

struct QuantizeConfig {
  std::string model, out, output = "text";
  QuantizeOptions quantize;
  CalibrationText calibration;
  int32_t threads = 0;
};

template <class Visitor>
void visit(Visitor& v, QuantizeConfig& c) {
  v.field("model", c.model, "Hugging Face folder, .gguf file or embedded:NAME");
  visit(v, c.quantize);
  visit(v, c.calibration);
  v.field("out", c.out, "folder to write; must not exist");
  v.field("threads", c.threads, "0: one per core");
}

ExportReport quantize(const QuantizeConfig& c, ExportOptions options) {
  const Backend& backend = chosen_backend({});
  const std::unique_ptr<Checkpoint> checkpoint = open_checkpoint(c.model);
  check_export(*checkpoint, c.out);  // before minutes of calibration
  const PreparedWeights prepared(*checkpoint, backend, options.policy, c.calibration);
  options.inputs = prepared.inputs();
  return export_model(prepared.checkpoint(), backend, options, c.out);
}

std::vector<std::string> short_block_lines(const std::vector<TensorUse>& uses) {
  std::vector<std::string> lines;
  for (const TensorUse& use : uses) {
    if (!use.choice.format || !use.skipped.empty()) continue;
    const int64_t rest = short_block(*use.choice.format, use.k);
    if (rest == 0) continue;
    lines.push_back(fmt::format("{}: K = {}, the last block of {} holds {}", use.tensor, use.k,
                                use.choice.format->block.k, rest));
  }
  return lines;
}

// Where all layers have one format: "layers: int4; head: int4; embedding: bf16".
std::string one_format(const std::vector<TensorUse>& uses) {
  std::map<std::string, std::string> formats;
  for (const TensorUse& use : uses) {
    if (use.role == TensorRole::kVector) continue;
    const bool own = use.layer == "head" || use.layer == "embedding";
    formats[own ? use.layer : "layers"] = name(final_format(use));
  }
  std::vector<std::string> parts;
  for (const char* part : {"layers", "head", "embedding"}) {
    if (formats.contains(part)) parts.push_back(fmt::format("{}: {}", part, formats[part]));
  }
  return join(parts, "; ");
}

std::string megabytes(int64_t bytes) {
  return fmt::format("{:.1f}", static_cast<double>(bytes) / 1e6);
}

std::string report_text(const QuantizeConfig& c, const ExportReport& report, double seconds) {
  std::string text = fmt::format(
      "wrote       {}\ntensors     {} MB, {} MB before\n"
      "quantized   {} weights at {:.4g} bits each, scales included\ntime        {:.1f} s\n",
      c.out, megabytes(report.written_bytes), megabytes(report.source_bytes), report.weights,
      report.bits_per_weight(), seconds);
  const std::vector<std::string> formats = formats_by_layer(report.uses);
  for (const std::string& line : formats) text += "formats     " + line + "\n";
  if (formats.empty()) text += "formats     " + one_format(report.uses) + "\n";
  for (const std::string& line : decoded_layers(report.uses)) {
    text += "requantized " + line + "; the errors of both add up\n";
  }
  if (!report.left_out.empty()) {
    text += fmt::format("left out    {}: about the model as it was\n", join(report.left_out, ", "));
  }
  for (const std::string& line : skipped_layers(report.uses)) text += "as stored   " + line + "\n";
  for (const std::string& line : short_block_lines(report.uses))
    text += "short block " + line + "\n";
  return text;
}

std::string report_json(const QuantizeConfig& c, const ExportReport& report, double seconds) {
  const ordered_json json = {{"model", c.model},
                             {"out", c.out},
                             {"bytes", report.written_bytes},
                             {"source_bytes", report.source_bytes},
                             {"quantized_weights", report.weights},
                             {"bits_per_weight", report.bits_per_weight()},
                             {"seconds", seconds},
                             {"formats_by_layer", formats_by_layer(report.uses)},
                             {"requantized", decoded_layers(report.uses)},
                             {"left_out", report.left_out},
                             {"skipped", skipped_layers(report.uses)},
                             {"short_blocks", short_block_lines(report.uses)}};
  return json.dump() + "\n";
}

}  // namespace

int cmd_quantize(const std::vector<std::string>& args) {
  QuantizeConfig c;
  CommandLine line(
      "Stores a model with every layer in the format asked for. The folder loads like any model; "
      "nothing is quantized again.",
      "quantize");
  line.add_option("MODEL", c.model, "the same as --model");
  line.add_flags(c);
  line.add_option("-o,--output", c.output, "text, or json: one line");
  if (!line.parse(args)) return 0;
  if (c.output != "text" && c.output != "json") {
    throw_error("-o {}: must be text or json", printable(c.output));
  }
  if (c.model.empty()) throw_error("MODEL is missing; it names what to quantize");
  if (c.out.empty()) throw_error("--out is missing; it names the folder to write");
  ExportOptions options{.policy = layer_policy(c.quantize)};
  if (!options.policy.changes_anything()) {
    throw_error("nothing to do: give --format, --mixed, --head or --embedding");
  }
  if (!c.quantize.format.empty()) {
    const FormatPair pair = parse_format_flag("--format", c.quantize.format).formats;
    if (pair.activations) {
      throw_error(
          "--format {}: a folder holds weights; quantize to {} here, and name the "
          "activations when it runs: --format {}",
          printable(c.quantize.format), name(pair.weights), name(pair));
    }
  }
  check_calibration(options.policy, c.calibration);
  if (c.threads != 0) with_context("--threads", [&] { set_threads(c.threads); });

  const Timer timer;
  Progress progress("quantizing " + c.model);
  options.progress = [&](int64_t done, int64_t total, const std::string& tensor) {
    progress.update(done, total, tensor);
  };
  const ExportReport report = quantize(c, options);
  for (const std::string& text : preparation_notes(options.policy.prepare)) note(text);
  print(c.output == "json" ? report_json(c, report, timer.seconds())
                           : report_text(c, report, timer.seconds()));
  return 0;
}

}  // namespace lowbit
