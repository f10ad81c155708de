#include "formats/format.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "formats/codec.h"
#include "formats/words.h"

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
  if (row.params.block2d) known.push_back("-b128x128");
  if (row.params.zero) known.push_back("-sym, -asym, -fzero, -rzero");
  if (row.params.element) known.push_back("-e<X>m<Y> of as many bits");
  if (row.params.power) known.push_back("-floor, -ceil, -even, -rceil");
  if (row.params.scale) known.push_back("-sf32, -sf16, -sbf16");
  if (row.params.sparse) known.push_back("-24");
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

template <class Value>
struct Word {
  std::string_view text;
  Value value;
};
constexpr Word<Zero> kZeroWords[] = {
    {"sym", Zero::kNone}, {"asym", Zero::kInt}, {"fzero", Zero::kFloat}, {"rzero", Zero::kReal}};
constexpr Word<Scale> kScaleWords[] = {
    {"sf32", Scale::kF32}, {"sf16", Scale::kF16}, {"sbf16", Scale::kBF16}};
template <class Value, size_t N>
std::optional<Value> value_of(const Word<Value> (&words)[N], std::string_view text) {
  for (const Word<Value>& word : words) {
    if (word.text == text) return word.value;
  }
  return std::nullopt;
}

// Small floats and powers of two are called in names what words.h calls them.
template <class Value>
std::optional<Value> value_of(std::initializer_list<Value> values, std::string_view text) {
  for (const Value value : values) {
    if (word(value) == text) return value;
  }
  return std::nullopt;
}
constexpr std::initializer_list<ScaleRule> kPowers = {ScaleRule::kFloor, ScaleRule::kCeil,
                                                      ScaleRule::kEven, ScaleRule::kRceil};

template <class Value, size_t N>
std::string_view text_of(const Word<Value> (&words)[N], Value value) {
  for (const Word<Value>& word : words) {
    if (word.value == value) return word.text;
  }
  __builtin_unreachable();
}

int32_t parse_group(std::string_view parameter) {
  const auto group = parse_int(parameter.substr(1));
  if (!group || parameter[1] == '0' || *group < 8 || *group > 256 || (*group & (*group - 1)) != 0) {
    throw_error("group size `{}` must be a power of two from 8 to 256", printable(parameter));
  }
  return static_cast<int32_t>(*group);
}

// What a parameter speaks about, for the message about one that is given twice; "" if the family
// does not take it. Applies it otherwise.
std::string_view apply_parameter(const FormatRow& row, std::string_view parameter, Format& format) {
  const FormatParams& takes = row.params;
  constexpr std::string_view kBlock = "what shares a scale";
  if (takes.group && parameter.starts_with('g')) {
    format.block = {1, parse_group(parameter)};
    return kBlock;
  }
  if (takes.row && parameter == "row") return format.block = {1, 0}, kBlock;
  if (takes.tensor && parameter == "tensor") return format.block = {0, 0}, kBlock;
  if (takes.block2d && parameter == "b128x128") return format.block = {128, 128}, kBlock;
  if (const auto zero = value_of(kZeroWords, parameter); zero && takes.zero) {
    set_zero(row, format, *zero);
    return "what the zero is";
  }
  if (const auto rule = value_of(kPowers, parameter); rule && takes.power) {
    format.rule = *rule;
    return "how the scale is rounded";
  }
  if (const auto scale = value_of(kScaleWords, parameter); scale && takes.scale) {
    format.scale = *scale;
    return "how the scale is stored";
  }
  if (const auto element = value_of(kSmallFloats, parameter);
      element && takes.element && is_mini_float(format.code) &&
      mini_float(*element).bits() == format.bits) {
    format.code = *element;
    return "what a code is";
  }
  if (takes.sparse && parameter == "24") return format.sparse24 = true, "that it is sparse";
  return "";
}

}  // namespace

std::string name(const Format& format) {
  const FormatRow& row = row_of(format.id);
  const Format& defaults = row.defaults;
  std::string text(row.name);
  if (format.block != defaults.block) {
    text += format.block.n == 0   ? "-tensor"
            : format.block.n > 1  ? fmt::format("-b{}x{}", format.block.n, format.block.k)
            : format.block.k == 0 ? "-row"
                                  : fmt::format("-g{}", format.block.k);
  }
  const auto add = [&](std::string_view word) {
    text += '-';
    text += word;
  };
  if (format.zero != defaults.zero) add(text_of(kZeroWords, format.zero));
  if (format.code != defaults.code && row.params.element) {
    add(word(format.code));
  }
  if (format.rule != defaults.rule && row.params.power) add(word(format.rule));
  if (format.scale != defaults.scale) add(text_of(kScaleWords, format.scale));
  if (format.sparse24) add("24");
  return text;
}

Format parse_format(std::string_view text) {
  const std::string_view resolved = resolve_alias(text);
  const auto parts = split(resolved, '-');
  const FormatRow* row = find_row(parts.front());
  if (!row) {
    throw_error("unknown format `{}`{} (`lowbit formats` lists them all)", printable(text),
                format_suggestion(text, format_names()));
  }
  Format format = row->defaults;
  std::vector<std::string_view> given;
  for (const std::string_view parameter : std::span(parts).subspan(1)) {
    const std::string_view subject = apply_parameter(*row, parameter, format);
    if (subject.empty()) {
      throw_error("format `{}`: unknown parameter `-{}`; {}", printable(text), printable(parameter),
                  known_parameters(*row));
    }
    if (std::find(given.begin(), given.end(), subject) != given.end()) {
      throw_error("format `{}`: `-{}` says for a second time {}", printable(text), parameter,
                  subject);
    }
    given.push_back(subject);
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
  pair.activations = activation_format(parse_format(text.substr(plus + 1)));
  return pair;
}

Format activation_format(const Format& format) {
  if (!row_of(format.id).params.activations || format.block.n > 1 || format.sparse24) {
    std::vector<std::string> known;
    for (const FormatRow& row : kFormats) {
      if (row.params.activations) known.emplace_back(row.name);
    }
    throw_error("format `{}` cannot hold activations; those are {}{}", name(format),
                join(known, ", "),
                format.block.n > 1 || format.sparse24 ? " without blocks of rows and 2:4" : "");
  }
  Format result = format;
  if (result.outer == Outer::kTensor) result.outer = Outer::kRow;
  return result;
}

Format parse_cache_format(std::string_view text) {
  Format format = parse_format(text);
  const bool row_is_enough =
      format.block.n == 1 && format.outer == Outer::kNone && !format.sparse24;
  if (!row_is_enough) {
    throw_error("format `{}` cannot hold keys and values: a row of {} is not decoded on its own",
                printable(text), name(format));
  }
  const bool scale_named = text.find("-sf") != std::string_view::npos;
  if (format.scale == Scale::kF32 && !scale_named) format.scale = Scale::kBF16;
  return format;
}

std::string cannot_take(const Format& format, int64_t, int64_t k) {
  if (format.sparse24 && k % 4 != 0) {
    return fmt::format("2:4 needs K to be a multiple of 4, it is {}", k);
  }
  if (format.outer == Outer::kSuper && k % kSuperBlock != 0) {
    return fmt::format("its super-blocks need K to be a multiple of {}, it is {}", kSuperBlock, k);
  }
  return "";
}

int64_t short_block(const Format& format, int64_t k) {
  return format.block.k == 0 ? 0 : k % format.block.k;
}

std::string format_suggestion(std::string_view text, const std::vector<std::string>& known) {
  const std::string whole = suggestion(text, known);
  return whole.empty() ? suggestion(text.substr(0, text.find('-')), known) : whole;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const FormatRow& row : kFormats) names.emplace_back(row.name);
  for (const FormatAlias& alias : kAliases) names.emplace_back(alias.alias);
  return names;
}

}  // namespace lowbit
