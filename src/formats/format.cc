#include "formats/format.h"

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

const FormatRow* find_row(std::string_view family) {
  for (const FormatRow& row : kFormats) {
    if (row.name == family) return &row;
  }
  return nullptr;
}

std::string_view resolve_alias(std::string_view text) {
  for (const FormatAlias& alias : kAliases) {
    if (alias.alias == text) return alias.name;
  }
  return text;
}

std::string known_parameters(const FormatRow& row) {
  std::vector<std::string> known;
  if (row.params.group) known.push_back("-g8 to -g256");
  if (row.params.row) known.push_back("-row");
  if (row.params.tensor) known.push_back("-tensor");
  if (row.params.zero) known.push_back("-sym, -asym, -fzero");
  return known.empty() ? fmt::format("{} takes no parameters", row.name)
                       : fmt::format("{} takes {}", row.name, join(known, ", "));
}

// The zero kind decides how codes are read and which rule finds the scale.
void set_zero(const FormatRow& row, Format& format, Zero zero) {
  format.zero = zero;
  if (zero == row.defaults.zero) {
    format.code = row.defaults.code;
    format.rule = row.defaults.rule;
    return;
  }
  format.code = zero == Zero::kNone ? Code::kInt : Code::kUInt;
  format.rule = zero == Zero::kNone ? ScaleRule::kAmaxOverMin : ScaleRule::kMinMax;
}

// Applies one "-parameter"; false if the family does not take it.
bool apply_parameter(const FormatRow& row, std::string_view parameter, Format& format) {
  if (row.params.group && parameter.starts_with('g')) {
    const auto group = parse_int(parameter.substr(1));
    if (!group || parameter[1] == '0' || *group < 8 || *group > 256 ||
        (*group & (*group - 1)) != 0) {
      throw_error("group size `{}` must be a power of two from 8 to 256", parameter);
    }
    format.block = {1, static_cast<int32_t>(*group)};
  } else if (row.params.row && parameter == "row") {
    format.block = {1, 0};
  } else if (row.params.tensor && parameter == "tensor") {
    format.block = {0, 0};
  } else if (row.params.zero && parameter == "sym") {
    set_zero(row, format, Zero::kNone);
  } else if (row.params.zero && parameter == "asym") {
    set_zero(row, format, Zero::kInt);
  } else if (row.params.zero && parameter == "fzero") {
    set_zero(row, format, Zero::kFloat);
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::string name(const Format& format) {
  const FormatRow& row = row_of(format.id);
  std::string text(row.name);
  if (format.block != row.defaults.block) {
    text += format.block.n == 0   ? "-tensor"
            : format.block.k == 0 ? "-row"
                                  : fmt::format("-g{}", format.block.k);
  }
  if (format.zero != row.defaults.zero) {
    text += format.zero == Zero::kNone ? "-sym" : format.zero == Zero::kInt ? "-asym" : "-fzero";
  }
  return text;
}

Format parse_format(std::string_view text) {
  const std::string_view resolved = resolve_alias(text);
  const auto parts = split(resolved, '-');
  const FormatRow* row = find_row(parts.front());
  if (!row) {
    throw_error("unknown format `{}`{} (`lowbit formats` lists them all)", printable(text),
                suggestion(text, format_names()));
  }
  Format format = row->defaults;
  bool block_given = false, zero_given = false;
  for (const std::string_view parameter : std::span(parts).subspan(1)) {
    if (!apply_parameter(*row, parameter, format)) {
      throw_error("format `{}`: unknown parameter `-{}`; {}", printable(text), printable(parameter),
                  known_parameters(*row));
    }
    const bool is_zero = parameter == "sym" || parameter == "asym" || parameter == "fzero";
    bool& given = is_zero ? zero_given : block_given;
    if (given) {
      throw_error("format `{}`: `-{}` says for a second time {}", printable(text), parameter,
                  is_zero ? "what the zero is" : "what shares a scale");
    }
    given = true;
  }
  return format;
}

std::string name(const FormatPair& pair) {
  return pair.activations ? name(pair.weights) + "+" + name(*pair.activations) : name(pair.weights);
}

FormatPair parse_format_pair(std::string_view text) {
  const size_t plus = text.find('+');
  FormatPair pair{parse_format(text.substr(0, plus)), std::nullopt};
  if (!row_of(pair.weights.id).params.weights) {
    throw_error("format `{}` is for activations; name a weight format before the `+`", text);
  }
  if (plus == std::string_view::npos) return pair;
  pair.activations = parse_format(text.substr(plus + 1));
  if (!row_of(pair.activations->id).params.activations) {
    std::vector<std::string> known;
    for (const FormatRow& row : kFormats) {
      if (row.params.activations) known.emplace_back(row.name);
    }
    throw_error("format `{}` cannot hold activations; those are {}", text.substr(plus + 1),
                join(known, ", "));
  }
  return pair;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const FormatRow& row : kFormats) names.emplace_back(row.name);
  for (const FormatAlias& alias : kAliases) names.emplace_back(alias.alias);
  return names;
}

}  // namespace lowbit
