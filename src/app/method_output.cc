#include "app/method_output.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

using nlohmann::ordered_json;

// "{g}" as "<g>": what a reader of a terminal replaces.
std::string shown(std::string_view pattern) {
  std::string text;
  for (size_t i = 0; i < pattern.size(); ++i) {
    text += pattern.substr(i).starts_with("{*}") ? '*'
            : pattern[i] == '{'                  ? '<'
            : pattern[i] == '}'                  ? '>'
                                                 : pattern[i];
    if (text.back() == '*') i += 2;
  }
  return text;
}

// "hqq-0.2.8", or "awq, then hqq-0.2.8".
std::string quantizer_of(const MethodRow& row) {
  const std::string_view quantizer = row.quantizer.empty() ? "rtn" : row.quantizer;
  if (!row.prepare.any()) return std::string(quantizer);
  return fmt::format("{}, then {}", name(row.prepare), quantizer);
}

// "head bf16; in feed_forward, others stored", or "".
std::string scope_text(const MethodScope& scope) {
  std::vector<std::string> parts;
  const MethodScope usual;
  if (scope.head != usual.head) parts.push_back(fmt::format("head {}", scope.head));
  if (scope.embedding != usual.embedding) {
    parts.push_back(fmt::format("embedding {}", scope.embedding));
  }
  if (!scope.include.empty()) {
    parts.push_back(fmt::format("only {}, others {}", scope.include, scope.others));
  }
  if (!scope.mixture.empty()) parts.emplace_back("more bits for some tensors");
  if (scope.prefill_only) parts.emplace_back("activations of the prompt alone");
  return join(parts, "; ");
}

std::string formats_of(const MethodRow& row) {
  return row.formats.empty() ? "-" : shown(row.formats);
}

}  // namespace

ordered_json method_fields(const Method& method) {
  ordered_json fields = {{"quantizer", method.quantizer->name}};
  if (method.prepare.any()) fields["prepare"] = name(method.prepare);
  if (!method.tool.empty()) fields["tool"] = method.tool;
  const MethodScope& scope = method.scope;
  fields["head"] = scope.head;
  fields["embedding"] = scope.embedding;
  if (!scope.include.empty()) {
    fields["include"] = scope.include;
    fields["others"] = scope.others;
  }
  if (!scope.mixture.empty()) fields["mixture"] = scope.mixture;
  if (scope.prefill_only) fields["prefill_only"] = true;
  if (!method.note.empty()) fields["note"] = method.note;
  return fields;
}

std::string methods_text() {
  std::string text =
      "names of other tools (`lowbit formats NAME` says more; TOOL:NAME where two tools share "
      "one):\n";
  for (const MethodGroup& group : method_groups()) {
    std::vector<std::string> names;
    for (const MethodRow& row : group.rows) {
      if (row.formats.empty()) continue;
      names.push_back(fmt::format("{} = {}", shown(row.pattern), shown(row.formats)));
    }
    text += fmt::format("{} ({}): {}\n", group.qualifier, group.tool, join(names, ", "));
  }
  return text;
}

ordered_json methods_json() {
  ordered_json list = ordered_json::array();
  for (const MethodGroup& group : method_groups()) {
    for (const MethodRow& row : group.rows) {
      ordered_json entry = {
          {"name", shown(row.pattern)}, {"qualifier", group.qualifier}, {"tool", group.tool}};
      if (!row.formats.empty()) {
        entry["formats"] = shown(row.formats);
        entry["quantizer"] = quantizer_of(row);
        entry["layers"] = scope_text(row.scope);
      }
      entry["note"] = row.note;
      list.push_back(std::move(entry));
    }
  }
  return list;
}

std::string methods_markdown() {
  std::string text =
      "\n"
      "## Names of other tools\n\n"
      "A name of another tool follows that tool's rule, arithmetic included, in the version that "
      "its quantizer names; codes,\n"
      "scales and zeros are those of the package bit by bit where tests/formats/golden_test.cc "
      "compares them. `<n>` is a number\n"
      "of bits, `<g>` a group size (None, -1 or 0: a row), `*` anything. `TOOL:NAME` picks one of "
      "two tools that share a name;\n"
      "a bare name is looked for among our own formats first, then here in order. `-` has no "
      "formats: it is refused with\n"
      "the reason. `A/W`, as tables of results have it, is `A_W`. Layers: nothing is said where "
      "all Linears are quantized,\n"
      "the head included. Activations are rounded by their format's own rule, whoever's name it is "
      "([ADR 18](adr/0018-activation-rules.md));\n"
      "notes say what the tool does otherwise.\n";
  for (const MethodGroup& group : method_groups()) {
    text += fmt::format(
        "\n### {}: {}\n\n| name | formats | quantizer | layers | note |\n|---|---|---|---|---|\n",
        group.qualifier, group.tool);
    for (const MethodRow& row : group.rows) {
      text += fmt::format("| `{}` | {} | {} | {} | {} |\n", shown(row.pattern), formats_of(row),
                          row.formats.empty() ? "-" : quantizer_of(row), scope_text(row.scope),
                          row.note);
    }
  }
  return text;
}

}  // namespace lowbit
