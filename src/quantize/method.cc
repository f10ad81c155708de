#include "quantize/method.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "quantize/autoround_name.h"

namespace lowbit {
namespace {

struct Captures {
  std::string bits, group;
  std::string rest = {};
};

bool is_digit(char c) { return '0' <= c && c <= '9'; }

size_t digits(std::string_view text) {
  return static_cast<size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
}

// Characters of `text` that a placeholder takes; 0: it does not match.
size_t capture(char kind, std::string_view text, Captures* captures) {
  if (kind == 'n') {
    if (text.empty() || text[0] < '1' || text[0] > '8') return 0;
    captures->bits = text[0];
    return 1;
  }
  if (kind == 'p') return digits(text);
  if (text.starts_with("None")) {
    captures->group = "row";
    return 4;
  }
  const size_t sign = text.starts_with('-') ? 1 : 0, count = digits(text.substr(sign));
  if (count == 0) return 0;
  const std::string_view number = text.substr(sign, count);
  const bool whole_row = sign > 0 || number == "0";
  captures->group = whole_row ? "row" : "g" + std::string(number);
  return sign + count;
}

std::optional<Captures> match(std::string_view pattern, std::string_view text) {
  Captures captures;
  while (!pattern.empty()) {
    if (pattern[0] != '{') {
      if (text.empty() || text[0] != pattern[0]) return std::nullopt;
      pattern.remove_prefix(1);
      text.remove_prefix(1);
      continue;
    }
    if (pattern[1] == '*') {
      captures.rest = text;
      return captures;
    }
    const size_t taken = capture(pattern[1], text, &captures);
    if (taken == 0) return std::nullopt;
    pattern.remove_prefix(3);
    text.remove_prefix(taken);
  }
  return text.empty() ? std::optional(captures) : std::nullopt;
}

std::string replaced(std::string_view text, const Captures& captures) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{') {
      result += text[i];
      continue;
    }
    result += text[i + 1] == 'n' ? captures.bits : captures.group;
    i += 2;
  }
  return result;
}

// A name that the pattern matches, to suggest; "" for one that matches anything.
std::string example(std::string_view pattern) {
  if (const size_t rest = pattern.find("{*}"); rest != std::string_view::npos) {
    return pattern == "autoround{*}" ? "autoround" : "";
  }
  return replaced(pattern, {.bits = "4", .group = "64"});
}

bool is_own_name(std::string_view text) {
  const std::string_view family = text.substr(0, text.find_first_of("-+"));
  return std::any_of(std::begin(kFormats), std::end(kFormats),
                     [&](const FormatRow& row) { return row.name == family; });
}

// Spellings of one thing: no spaces around "+", 2:4 by one name, and activations/weights as
// low-bit-inference's tables have what its commands call activations_weights.
std::string plain_spelling(std::string_view text) {
  std::string plain;
  std::string_view plus = "";
  for (const std::string_view part : split(trim(text), '+')) {
    plain += plus;
    plain += trim(part);
    plus = "+";
  }
  for (const std::string_view ending : {"+semi", "+2:4", "+semi_structured"}) {
    if (plain.ends_with(ending)) {
      plain.replace(plain.size() - ending.size(), ending.size(), "+semi-structured");
    }
  }
  std::replace(plain.begin(), plain.end(), '/', '_');
  return plain;
}

Method own_method(std::string_view asked, std::string_view text) {
  return {.asked = std::string(asked),
          .formats = parse_format_pair(text),
          .quantizer = &find_quantizer("rtn"),
          .scope = {},
          .tool = "",
          .note = "",
          .prepare = {}};
}

Method from_row(std::string_view asked, const MethodGroup& group, const MethodRow& row,
                const Captures& captures) {
  if (row.formats.empty()) throw_error("{}: {}", printable(asked), row.note);
  return with_context(printable(asked), [&] {
    Method method{.asked = std::string(asked),
                  .formats = parse_format_pair(replaced(row.formats, captures)),
                  .quantizer = &find_quantizer(row.quantizer.empty() ? "rtn" : row.quantizer),
                  .scope = row.scope,
                  .tool = group.tool,
                  .note = std::string(row.note),
                  .prepare = row.prepare};
    if (row.quantizer == "autoround") read_autoround_name(captures.rest, &method);
    return method;
  });
}

// The row of a group, or of all groups in order, that the name matches.
struct Found {
  const MethodGroup* group = nullptr;
  const MethodRow* row = nullptr;
  Captures captures = {};
};
Found find_row(std::string_view qualifier, std::string_view text) {
  std::string capitals(text);
  for (char& c : capitals) c = 'a' <= c && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  for (const MethodGroup& group : method_groups()) {
    if (!qualifier.empty() && group.qualifier != qualifier) continue;
    const std::string_view name = group.any_case ? capitals : text;
    for (const MethodRow& row : group.rows) {
      if (auto captures = match(row.pattern, name)) return {&group, &row, std::move(*captures)};
    }
  }
  return {};
}

std::vector<std::string> known_names() {
  std::vector<std::string> names = format_names();
  for (const MethodGroup& group : method_groups()) {
    for (const MethodRow& row : group.rows) {
      if (std::string name = example(row.pattern); !name.empty()) names.push_back(std::move(name));
    }
  }
  return names;
}

[[noreturn]] void fail_unknown(std::string_view text) {
  for (const Quantizer& quantizer : quantizers()) {
    if (text != quantizer.name) continue;
    throw_error(
        "`{}` is a quantizer, which chooses the codes of a format: --format int4 "
        "--quantizer {}",
        text, text);
  }
  const std::vector<std::string> known = known_names();
  std::vector<std::string> longer;  // names that this one is the beginning of
  for (const std::string& name : known) {
    if (longer.size() < 3 && !text.empty() && name.starts_with(std::string(text) + "-")) {
      longer.push_back("`" + name + "`");
    }
  }
  const std::string hint = longer.empty() ? format_suggestion(text, known)
                                          : ", did you mean " + join(longer, " or ") + "?";
  throw_error("unknown format `{}`{} (`lowbit formats` lists them all)", printable(text), hint);
}

Method parse_qualified(std::string_view asked, std::string_view qualifier, std::string_view text) {
  std::vector<std::string> known;
  for (const MethodGroup& group : method_groups()) known.emplace_back(group.qualifier);
  if (std::find(known.begin(), known.end(), qualifier) == known.end()) {
    throw_error("{}: unknown tool `{}`{}; known: {}", printable(asked), printable(qualifier),
                suggestion(qualifier, known), join(known, ", "));
  }
  const Found found = find_row(qualifier, text);
  if (!found.row) {
    std::vector<std::string> names;
    for (const MethodGroup& group : method_groups()) {
      if (group.qualifier != qualifier) continue;
      for (const MethodRow& row : group.rows) names.push_back(example(row.pattern));
    }
    throw_error("{} has no method `{}`{}", qualifier, printable(text), suggestion(text, names));
  }
  return from_row(asked, *found.group, *found.row, found.captures);
}

}  // namespace

namespace {

// What remains of "spinquant-NAME", "NAME-spinquant" or one with a +; nullopt: another name.
std::optional<std::string_view> rotated_name(std::string_view text) {
  constexpr std::string_view kName = "spinquant";
  const auto joins = [](char c) { return c == '-' || c == '+'; };
  if (text.size() <= kName.size() + 1) return std::nullopt;
  if (text.starts_with(kName) && joins(text[kName.size()])) return text.substr(kName.size() + 1);
  const size_t rest = text.size() - kName.size() - 1;
  if (text.ends_with(kName) && joins(text[rest])) return text.substr(0, rest);
  return std::nullopt;
}

// "bsr-0.9-64" of "NAME+bsr-0.9-64", with NAME in *rest, or alone; "" for another name.
std::string_view block_sparsity_of(std::string_view text, std::string_view* rest) {
  if (text.starts_with("bsr")) {
    *rest = "baseline";
    return text;
  }
  const size_t at = text.rfind('+');
  if (at == std::string_view::npos || !text.substr(at + 1).starts_with("bsr")) return "";
  *rest = text.substr(0, at);
  return text.substr(at + 1);
}

Method pruned_method(std::string_view asked, std::string_view text, std::string_view sparsity) {
  Method method = parse_method(text);
  method.prepare.prune =
      with_context(printable(asked), [&] { return parse_block_sparsity(sparsity); });
  method.asked = asked;
  if (method.tool.empty()) method.tool = find_row("", "baseline").group->tool;
  method.note += fmt::format(
      "{}{:.4g} % of the {} x {} blocks of gate, up and down are zero, those of least magnitude "
      "(torchao's harness makes random ones, for speed alone); stored dense, no kernel here skips "
      "them",
      method.note.empty() ? "" : ". ", 100 * method.prepare.prune.level, method.prepare.prune.block,
      method.prepare.prune.block);
  return method;
}

// The method that `text` names, on rotated weights.
Method rotated_method(std::string_view asked, std::string_view text) {
  const Found alone = find_row("", "spinquant");
  Method method = parse_method(text);
  method.asked = asked;
  method.tool = alone.group->tool;
  method.note = method.note.empty() ? std::string(alone.row->note)
                                    : fmt::format("{}. {}", method.note, alone.row->note);
  method.prepare.rotate = true;
  return method;
}

}  // namespace

Method parse_method(std::string_view asked) {
  const std::string text = plain_spelling(asked);
  std::string_view pruned;
  if (const std::string_view sparsity = block_sparsity_of(text, &pruned); !sparsity.empty()) {
    return pruned_method(asked, pruned, sparsity);
  }
  if (const auto rest = rotated_name(text)) return rotated_method(asked, *rest);
  if (text.starts_with('+') || text.ends_with('+')) {
    throw_error("a side of the pair `{}` is empty; write WEIGHTS+ACTIVATIONS, or WEIGHTS alone",
                printable(asked));
  }
  const Found found = find_row("", text);
  if (const size_t colon = text.find(':'); colon != std::string::npos && !found.row) {
    return parse_qualified(asked, std::string_view(text).substr(0, colon),
                           std::string_view(text).substr(colon + 1));
  }
  if (is_own_name(text)) {
    Method method = own_method(asked, text);
    if (found.row && match(found.row->pattern, text)) {
      method.note = fmt::format("this is lowbit's own format; {}:{} follows {}",
                                found.group->qualifier, text, found.group->tool);
    }
    return method;
  }
  if (found.row) return from_row(asked, *found.group, *found.row, found.captures);
  const size_t plus = text.find('+');
  if (plus != std::string::npos) {
    const std::string_view sparsity = std::string_view(text).substr(plus + 1);
    if (sparsity == "block") {
      throw_error("{}: say how many blocks are zero and how large they are, as {}+bsr-0.9-64",
                  printable(asked), text.substr(0, plus));
    }
    if (sparsity == "semi-structured" && find_row("", text.substr(0, plus)).row) {
      throw_error(
          "{}: 2:4 goes with int8dq, float8dq and marlin in torchao; of our own formats, "
          "those that take -24",
          printable(asked));
    }
  }
  const auto is_alias = [&](const FormatAlias& alias) {
    return alias.alias == std::string_view(text).substr(0, plus);
  };
  if (std::none_of(std::begin(kAliases), std::end(kAliases), is_alias)) fail_unknown(asked);
  return own_method(asked, text);
}

Method parse_one_format(std::string_view text) {
  Method method = parse_method(text);
  const MethodScope& scope = method.scope;
  const std::string weights = name(method.formats.weights);
  if (method.formats.activations) {
    throw_error("`{}` is weights and activations, here is a place for one format; write {}",
                printable(text), weights);
  }
  if (method.prepare.any()) {
    throw_error(
        "`{}` changes all weights of a model first, here is a place for one format; write "
        "{}, and --prepare {} beside it",
        printable(text), weights, name(method.prepare));
  }
  const bool table_alone = scope.embedding != "stored" && scope.mixture.empty();
  if (!scope.include.empty() || table_alone || !scope.mixture.empty()) {
    throw_error("`{}` means other formats for other layers, here is a place for one; write {}",
                printable(text), table_alone ? scope.embedding : weights);
  }
  return method;
}

Format parse_cache_name(std::string_view text) {
  const Method method = parse_one_format(text);
  return parse_cache_format(method.tool.empty() ? text : name(method.formats.weights));
}

std::string description(const Method& method) {
  std::vector<std::string> by;
  if (method.prepare.any()) by.push_back(name(method.prepare));
  if (method.quantizer->name != "rtn") by.emplace_back(method.quantizer->name);
  const bool mixture = !method.scope.mixture.empty();
  return name(method.formats) + (mixture ? ", more bits for some tensors" : "") +
         (by.empty() ? "" : " by " + join(by, " and "));
}

}  // namespace lowbit
