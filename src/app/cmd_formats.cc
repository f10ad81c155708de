// lowbit formats: the table of number formats, one format resolved, and docs/formats.md.
#include <nlohmann/json.hpp>
#include <optional>

#include "app/commands.h"
#include "app/method_output.h"
#include "app/options.h"
#include "app/output.h"
#include "backends.h"
#include "base/check.h"
#include "base/text.h"
#include "formats/format.h"
#include "formats/qtensor.h"
#include "formats/words.h"

namespace lowbit {
namespace {

using nlohmann::ordered_json;

// The table's sources are about the families' defaults; a block or a zero of one's own has none.
std::string source_text(const Format& f) {
  const FormatRow& row = row_of(f.id);
  const bool is_default = f.block == row.defaults.block && f.zero == row.defaults.zero;
  return fmt::format("{}{}", is_default ? "" : "family default: ", row.source);
}

std::string block_text(const Format& f) {
  if (!f.quantized()) return "-";
  if (f.block.n == 0) return "tensor";
  return f.block.k == 0 ? "row" : fmt::format("{} x {}", f.block.n, f.block.k);
}

std::string parameter_text(const FormatParams& params) {
  std::vector<std::string> list;
  if (params.group) list.push_back("-g8 to -g256");
  if (params.row) list.push_back("-row");
  if (params.tensor) list.push_back("-tensor");
  if (params.block2d) list.push_back("-b128x128");
  if (params.zero) list.push_back("-sym -asym -fzero -rzero");
  if (params.element) list.push_back("-e<X>m<Y>");
  if (params.power) list.push_back("-floor -ceil -even -rceil");
  if (params.scale) list.push_back("-sf32 -sf16 -sbf16");
  if (params.sparse) list.push_back("-24");
  return list.empty() ? "-" : join(list, " ");
}

std::string usable_text(const FormatParams& params) {
  if (!params.weights) return "activations";
  return params.activations ? "weights, activations" : "weights";
}

// How the backends of this build multiply weights: by a kernel made for such codes, by one for all
// codes, which reads them packed too, or decoded to bf16 when they are loaded.
constexpr const char *kOwn = "own", *kCodes = "codes", *kDecoded = "decoded";

// {"own": [devices], "codes": ..., "decoded": ...}, and the kernels of one token.
struct Runs {
  ordered_json ways, kernels;
};

Runs runs_of(const Format& weights, const std::optional<Format>& activations = {}) {
  constexpr int64_t kSize = 4096;
  const ordered_json none = ordered_json::array();
  ordered_json ways = {{kOwn, none}, {kCodes, none}, {kDecoded, none}}, kernels = none;
  for (const Backend* backend : backends()) {
    const Format x = activations.value_or(format_of(backend->activation));
    const LinearPlan plan =
        plan_linear({weights, x, kSize, kSize}, backend->linear_kernels, backend->info());
    const LinearKernel* kernel = plan.buckets.empty() ? nullptr : &plan.pick(1);
    ways[!kernel ? kDecoded : kernel->generic ? kCodes : kOwn].push_back(backend->name);
    if (kernel) kernels.push_back(kernel->name);
  }
  for (const char* way : {kOwn, kCodes, kDecoded}) {
    if (ways[way].empty()) ways.erase(way);
  }
  return {std::move(ways), std::move(kernels)};
}

// Of a matrix of 4096 x 4096, row and tensor scales and padding included.
double stored_bits(const Format& f) {
  constexpr int64_t kSize = 4096;
  return static_cast<double>(tensor_bytes(f, kSize, kSize)) * 8 / (kSize * kSize);
}

ordered_json format_json(const Format& f) {
  const FormatRow& row = row_of(f.id);
  return {{"name", name(f)},
          {"family", row.name},
          {"code", word(f.code)},
          {"bits", f.bits},
          {"scale", word(f.scale)},
          {"block", block_text(f)},
          {"zero", word(f.zero)},
          {"outer", word(f.outer)},
          {"rule", word(f.rule)},
          {"bits_per_weight", f.bits_per_weight()},
          {"stored_bits", stored_bits(f)},
          {"weights", row.params.weights},
          {"activations", row.params.activations},
          {"source", source_text(f)}};
}

// The same, and how it runs as the weights of a Linear.
ordered_json weights_json(const Format& f, const std::optional<Format>& activations = {}) {
  ordered_json fields = format_json(f);
  Runs runs = runs_of(f, activations);
  fields["runs"] = std::move(runs.ways);
  fields["kernels"] = std::move(runs.kernels);
  return fields;
}

std::vector<std::string> table_row(const FormatRow& row) {
  const Format& f = row.defaults;
  return {std::string(row.name),
          fmt::format("{}", f.bits),
          std::string(word(f.code)),
          std::string(word(f.scale)),
          block_text(f),
          std::string(word(f.zero)),
          std::string(word(f.outer)),
          std::string(word(f.rule)),
          fmt::format("{:.4g}", f.bits_per_weight()),
          fmt::format("{:.4g}", stored_bits(f)),
          parameter_text(row.params),
          usable_text(row.params)};
}

const std::vector<std::string> kHeader = {"format",      "bits",   "code",       "scale",
                                          "block",       "zero",   "outer",      "scale rule",
                                          "bits/weight", "stored", "parameters", "for"};

// "a, b" of a list, "own: cpu; codes: ref" of an object.
std::string value_text(const ordered_json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_structured()) return value.dump();
  std::vector<std::string> parts;
  for (const auto& [key, part] : value.items()) {
    parts.push_back(value.is_array() ? value_text(part) : key + ": " + value_text(part));
  }
  return join(parts, value.is_array() ? ", " : "; ");
}

std::string table_text() {
  std::vector<std::vector<std::string>> rows = {kHeader};
  rows[0].insert(rows[0].end(), {"runs", "source"});
  for (const FormatRow& row : kFormats) {
    rows.push_back(table_row(row));
    rows.back().push_back(value_text(runs_of(row.defaults).ways));
    rows.back().emplace_back(row.source);
  }
  std::string text = format_table(rows) + "\naliases:";
  for (const FormatAlias& alias : kAliases) {
    text += fmt::format(" {} = {}{}", alias.alias, alias.name,
                        &alias == &kAliases[std::size(kAliases) - 1] ? "" : ",");
  }
  return text + "\n\n" + methods_text() +
         "\n"
         "runs: how a device of this build multiplies one token by such weights. own: a kernel "
         "made for these codes; codes: one\n"
         "for all codes, which reads them packed too; decoded: to bf16 when they are loaded, and "
         "every report says so.\n";
}

std::string fields_text(const ordered_json& fields) {
  std::string text;
  for (const auto& [key, value] : fields.items()) {
    text += fmt::format("{:<16}{}\n", key, value_text(value));
  }
  return text;
}

std::string markdown_row(const std::vector<std::string>& cells) {
  return "| " + join(cells, " | ") + " |\n";
}

// docs/formats.md: what does not depend on this build.
std::string markdown() {
  std::string text =
      "# Number formats\n\n"
      "Generated by `lowbit formats --markdown` from the table in src/formats/format.h; a test "
      "compares the two.\n\n"
      "A name is `FAMILY[-g<K>|-row|-tensor|-b128x128][-sym|-asym|-fzero|-rzero][-e<X>m<Y>]"
      "[-floor|-ceil|-even|-rceil][-sf32|-sf16|-sbf16][-24]`:\nparameters that a family takes "
      "in the table below, defaults left out; `WEIGHTS+ACTIVATIONS` is a pair. A block is the "
      "codes (n x k)\nthat share one scale. Bits per weight are nominal: codes plus the share of "
      "a full block's scale and zero; stored: those of a 4096 x 4096 matrix.\n\n";
  std::vector<std::string> header = kHeader, rule(kHeader.size() + 1, "---");
  header.emplace_back("source");
  text += markdown_row(header) + markdown_row(rule);
  for (const FormatRow& row : kFormats) {
    std::vector<std::string> cells = table_row(row);
    cells.emplace_back(row.source);
    text += markdown_row(cells);
  }
  text +=
      "\n"
      "## Values\n\n"
      "A code q becomes a weight as\n\n"
      "- no zero: `q * s`\n"
      "- integer zero: `(q - z) * s`, z one byte a block\n"
      "- float zero: `(q - 2^(bits-1)) * s + z`, z stored like the scale\n"
      "- real zero: `(q - z) * s`, z stored like the scale\n"
      "- offset: `q * s + z`; in super-blocks `q * s - z`\n\n"
      "s is the block's scale, times the outer scale above it where there is one (in super-blocks "
      "z too has one).\n"
      "2:4 (`-24`) stores the two codes of largest magnitude of every four along K, and their "
      "positions; the others are 0.\n"
      "Codes lie row by row, least significant bit first; a row starts at a byte. `ternary5` packs "
      "five base-3 digits\n"
      "in a byte, the first one least significant.\n\n"
      "## Scale rules\n\n"
      "Round to nearest chooses scale and zero of a block from its numbers in f32, stores them in "
      "the type of the\n"
      "format, and takes the codes nearest on the stored grid.\n\n"
      "- `amax / qmax`: largest magnitude over the largest code; symmetric\n"
      "- `amax / -qmin`: largest magnitude over the magnitude of the smallest code; codes are "
      "clamped\n"
      "- `extreme / qmin`: the number of largest magnitude, sign included, over the smallest code; "
      "codes are clamped\n"
      "- `(max - min) / (2^bits - 1)`: the range over all codes; an integer zero widens the range "
      "to hold 0\n"
      "- `mean magnitude`: of the block's numbers; codes are the sign, or the nearest of -1, 0, 1; "
      "ternary numbers that\n"
      "  are all 0 or of one magnitude keep it\n"
      "- `floor`, `ceil`, `even`, `rceil`: powers of two, computed exactly. With e the exponent of "
      "amax and emax that of\n"
      "  the largest code: floor 2^(e - emax); ceil the same with amax rounded up to a power of "
      "two; even with amax\n"
      "  rounded to a code's mantissa (half up); rceil the smallest power of two with amax / scale "
      "<= the largest code\n"
      "- `amax / qmax / outer`: outer = amax of the tensor / (448 qmax); the block's scale in "
      "e4m3, from 2^-6 to 448\n\n"
      "## Caches and states\n\n"
      "What a model keeps between steps is in formats of this table too. A row of a KV cache is "
      "one head of one token, keys and\n"
      "values apart, so any format will do that is decoded row by row: none with `-tensor`, blocks "
      "of rows, an outer scale or\n"
      "2:4. Its scales are bf16 unless the name says otherwise (`-sf32`); `--kv-format int8` has "
      "one for each head and token.\n"
      "The states of recurrent models (the window of a convolution, the state of a scan, inner "
      "weights) are declared by the\n"
      "same fields, `StateSpec` in src/models/model.h: a format, how many rows, how wide, and that "
      "they do not grow with the\n"
      "tokens; codec, names and this table are the same. lowbit has no such model yet.\n\n"
      "## Aliases\n\n" +
      markdown_row({"alias", "is", "from"}) + markdown_row({"---", "---", "---"});
  for (const FormatAlias& alias : kAliases) {
    text += markdown_row(
        {std::string(alias.alias), std::string(alias.name), std::string(alias.source)});
  }
  return text + methods_markdown();
}

std::string resolved(const std::string& asked, bool json) {
  const Method method = parse_method(asked);
  const FormatPair& pair = method.formats;
  const ordered_json weights = weights_json(pair.weights, pair.activations);
  const ordered_json rest = method_fields(method);
  if (json) {
    ordered_json all = pair.activations
                           ? ordered_json{{"name", name(pair)},
                                          {"weights", weights},
                                          {"activations", format_json(*pair.activations)}}
                           : weights;
    all.update(rest);
    return all.dump() + "\n";
  }
  std::string text;
  if (asked != name(pair)) text = fmt::format("{} is {}\n", asked, description(method));
  if (!pair.activations) return text + fields_text(weights) + fields_text(rest);
  return text +
         fmt::format("{}\n\nweights\n{}\nactivations\n{}\n", name(pair), fields_text(weights),
                     fields_text(format_json(*pair.activations))) +
         fields_text(rest);
}

}  // namespace

int cmd_formats(const std::vector<std::string>& args) {
  std::string asked, output = "text";
  bool as_markdown = false;
  CommandLine line("The number formats, or one name resolved.", "formats");
  line.add_option("NAME", asked, "format, weights+activations or what another tool calls it");
  line.add_option("-o,--output", output, "text or json");
  line.add_switch("--markdown", as_markdown, "docs/formats.md");
  if (!line.parse(args)) return 0;
  if (output != "text" && output != "json") {
    throw_error("-o {}: must be text or json", printable(output));
  }
  const bool json = output == "json";
  if (as_markdown && (json || line.count("NAME") > 0)) {
    throw_error("--markdown goes with neither a name nor -o json");
  }
  if (as_markdown) {
    print(markdown());
  } else if (line.count("NAME") > 0) {
    print(resolved(asked, json));
  } else if (json) {
    ordered_json list = ordered_json::array();
    for (const FormatRow& row : kFormats) list.push_back(weights_json(row.defaults));
    const ordered_json both = {{"formats", std::move(list)}, {"methods", methods_json()}};
    print(both.dump() + "\n");
  } else {
    print(table_text());
  }
  return 0;
}

}  // namespace lowbit
