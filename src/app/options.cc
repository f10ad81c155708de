#include "app/options.h"

#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"

namespace lowbit {
namespace {

constexpr size_t kMaxYamlBytes = 1 << 20;

template <class... Cases>
struct Overload : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overload(Cases...) -> Overload<Cases...>;

template <class T>
T parse_integer(std::string_view text) {
  const auto value = parse_int(text);
  if (!value) throw_error("`{}` is not an integer", printable(text));
  if (*value < std::numeric_limits<T>::min() || *value > std::numeric_limits<T>::max()) {
    throw_error("{} does not fit, must be from {} to {}", *value, std::numeric_limits<T>::min(),
                std::numeric_limits<T>::max());
  }
  return static_cast<T>(*value);
}

double parse_number(std::string_view text) {
  const auto value = parse_double(text);
  if (!value || !std::isfinite(*value)) throw_error("`{}` is not a number", printable(text));
  return *value;
}

bool parse_bool(std::string_view text) {
  if (text == "true" || text == "True" || text == "1") return true;
  if (text == "false" || text == "False" || text == "0") return false;
  throw_error("`{}` is neither true nor false", printable(text));
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> items;
  if (text.empty()) return items;
  for (const std::string_view item : split(text, ',')) items.emplace_back(trim(item));
  return items;
}

std::vector<int32_t> parse_integers(const std::vector<std::string>& items) {
  std::vector<int32_t> values;
  for (const std::string& item : items) values.push_back(parse_integer<int32_t>(item));
  return values;
}

// One text for any field: what key=value, a flag or a YAML scalar gives.
void set_text(const FieldRef& field, const std::string& text) {
  std::visit(
      Overload{[&](std::string* v) { *v = text; },
               [&](int32_t* v) { *v = parse_integer<int32_t>(text); },
               [&](int64_t* v) { *v = parse_integer<int64_t>(text); },
               [&](double* v) { *v = parse_number(text); }, [&](bool* v) { *v = parse_bool(text); },
               [&](std::vector<std::string>* v) { *v = split_list(text); },
               [&](std::vector<int32_t>* v) { *v = parse_integers(split_list(text)); }},
      field.value);
}

// A YAML sequence. Error for a field that is not a list.
void set_items(const FieldRef& field, const std::vector<std::string>& items) {
  std::visit(Overload{[&](std::vector<std::string>* v) { *v = items; },
                      [&](std::vector<int32_t>* v) { *v = parse_integers(items); },
                      [&](auto*) { throw_error("is a list, expected one value"); }},
             field.value);
}

void set_default(const FieldRef& field, const FieldRef& initial) {
  std::visit(
      [&](auto* value) {
        *value = *std::get<decltype(value)>(initial.value);  // same config type, same field
      },
      field.value);
}

std::vector<std::string> names_of(std::span<const FieldRef> fields) {
  std::vector<std::string> names;
  for (const FieldRef& field : fields) names.push_back(field.name);
  return names;
}

size_t find_field(std::span<const FieldRef> fields, const std::string& name) {
  for (size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name == name) return i;
  }
  const std::vector<std::string> names = names_of(fields);
  const std::string near = suggestion(name, names);
  throw_error("unknown key `{}`{}", printable(name),
              near.empty() ? "; known: " + join(names, ", ") : near);
}

// A config file is one mapping of scalars and lists of scalars; anything deeper is refused as it is
// read, so that a hostile file cannot grow a tree.
class ConfigEvents final : public YAML::EventHandler {
 public:
  ConfigEvents(const std::string& path, std::span<const FieldRef> fields,
               std::span<const FieldRef> defaults)
      : path_(path), fields_(fields), defaults_(defaults) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { scalar(mark, "", true); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail(mark, "YAML aliases are not supported; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& text) override {
    const bool quoted = tag == "!";
    scalar(mark, text, !quoted && (text == "~" || text == "null"));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    if (!in_map_ || key_.empty() || in_list_) fail(mark, "a list is not expected here");
    in_list_ = true;
    items_.clear();
  }
  void OnSequenceEnd() override {
    in_list_ = false;
    set(key_mark_, [&](size_t i) { set_items(fields_[i], items_); });
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    if (in_map_) fail(mark, "a mapping is not expected here; options are `key: value`");
    in_map_ = true;
  }
  void OnMapEnd() override {}

 private:
  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& message) const {
    throw_error("{}:{}: {}{}", path_, mark.line + 1,
                key_.empty() ? "" : "`" + key_ + "`: ", message);
  }

  void scalar(const YAML::Mark& mark, const std::string& text, bool null) {
    if (!in_map_) {
      if (null) return;  // a file of comments only
      fail(mark, "expected `key: value` lines");
    }
    if (in_list_) {
      if (null) fail(mark, "an item of the list is empty");
      items_.push_back(text);
    } else if (key_.empty()) {
      if (text.empty()) fail(mark, "a key is empty");
      with_context(fmt::format("{}:{}", path_, mark.line + 1), [&] { find_field(fields_, text); });
      if (!seen_.insert(text).second) fail(mark, "key `" + text + "` is given twice");
      key_ = text;
      key_mark_ = mark;
    } else {
      set(mark, [&](size_t i) {
        null ? set_default(fields_[i], defaults_[i]) : set_text(fields_[i], text);
      });
    }
  }

  template <class Body>
  void set(const YAML::Mark& mark, const Body& body) {
    with_context(fmt::format("{}:{}: `{}`", path_, mark.line + 1, key_),
                 [&] { body(find_field(fields_, key_)); });
    key_.clear();
  }

  const std::string& path_;
  std::span<const FieldRef> fields_, defaults_;
  bool in_map_ = false, in_list_ = false;
  std::string key_;  // "" while a key is expected
  YAML::Mark key_mark_;
  std::vector<std::string> items_;
  std::set<std::string> seen_;
};

std::string value_text(const FieldRef& field) {
  return std::visit(
      Overload{[](const std::string* v) { return *v; }, [](const bool*) { return std::string(); },
               [](const std::vector<std::string>* v) { return join(*v, ","); },
               [](const std::vector<int32_t>* v) { return fmt::format("{}", fmt::join(*v, ",")); },
               [](const auto* v) { return fmt::format("{}", *v); }},
      field.value);
}

std::string type_text(const FieldRef& field) {
  return std::visit(Overload{[](const std::string*) { return "TEXT"; },
                             [](const bool*) { return ""; }, [](const double*) { return "NUMBER"; },
                             [](const std::vector<std::string>*) { return "TEXT ..."; },
                             [](const std::vector<int32_t>*) { return "INT,..."; },
                             [](const auto*) { return "INT"; }},
                    field.value);
}

void set_from_flag(const FieldRef& field, const std::vector<std::string>& results) {
  if (auto* const* list = std::get_if<std::vector<std::string>*>(&field.value)) {
    **list = results;
    return;
  }
  if (results.size() > 1)
    throw_error("{} is given {} times", flag_name(field.name), results.size());
  with_context(flag_name(field.name), [&] { set_text(field, results.at(0)); });
}

// The flags of the command for suggestions, its help included.
std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

}  // namespace

std::string flag_name(std::string_view field) { return with_dashes("--" + std::string(field)); }

std::string with_dashes(const std::string& arg) {
  if (!arg.starts_with("--")) return arg;
  const size_t end = std::min(arg.find('='), arg.size());
  std::string flag = arg.substr(0, end);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag + arg.substr(end);
}

bool is_flag_of(std::string_view arg, std::span<const FieldRef> fields) {
  const std::string_view flag = arg.substr(0, arg.find('='));
  return std::any_of(fields.begin(), fields.end(),
                     [&](const FieldRef& field) { return flag_name(field.name) == flag; });
}

std::string flags_help(std::span<const FieldRef> fields) {
  std::string text;
  for (const FieldRef& field : fields) {
    text += fmt::format("  --{:<24}{}\n", field.name, field.help);
  }
  return text;
}

void apply_yaml_fields(const std::string& path, std::span<const FieldRef> fields,
                       std::span<const FieldRef> defaults) {
  const Bytes file = map_file(path);
  if (file.data.size() > kMaxYamlBytes) {
    throw_error("{}: {} bytes, at most {} are read as a config", path, file.data.size(),
                kMaxYamlBytes);
  }
  ConfigEvents events(path, fields, defaults);
  try {
    std::istringstream stream{std::string(file.text())};
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(events)) return;
    if (parser.HandleNextDocument(events)) throw_error("{}: holds several YAML documents", path);
  } catch (const YAML::Exception& error) {
    throw_error("{}:{}: is not valid YAML: {}", path, error.mark.line + 1,
                printable(error.msg, 200));
  }
}

void apply_override_fields(std::span<const std::string> overrides, std::span<const FieldRef> fields,
                           std::span<const FieldRef> defaults) {
  for (const std::string& item : overrides) {
    const size_t equals = item.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw_error("`{}`: expected key=value", printable(item));
    }
    const size_t i = find_field(fields, item.substr(0, equals));
    const std::string text = item.substr(equals + 1);
    with_context(printable(item), [&] {
      text == "null" ? set_default(fields[i], defaults[i]) : set_text(fields[i], text);
    });
  }
}

nlohmann::ordered_json fields_to_json(std::span<const FieldRef> fields) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const FieldRef& field : fields) {
    std::visit([&](const auto* value) { json[field.name] = *value; }, field.value);
  }
  return json;
}

CommandLine::CommandLine(std::string description, std::string name)
    : app_(std::make_unique<CLI::App>(std::move(description), std::move(name))) {}

CommandLine::~CommandLine() = default;

void CommandLine::add_option(const std::string& names, std::string& value, const std::string& help,
                             const std::string& type) {
  app_->add_option(names, value, help)->type_name(type);
}

void CommandLine::add_option(const std::string& names, std::vector<std::string>& values,
                             const std::string& help, const std::string& type) {
  CLI::Option* option = app_->add_option(names, values, help)->type_name(type);
  // A flag takes the word after it and no other: those are the command's own.
  if (names.starts_with("-")) option->allow_extra_args(false);
}

void CommandLine::add_switch(const std::string& names, bool& value, const std::string& help) {
  app_->add_flag(names, value, help);
}

void CommandLine::set_footer(std::string text) { app_->footer(std::move(text)); }

size_t CommandLine::count(const std::string& name) const { return app_->count(name); }

void CommandLine::add_field_flags(std::span<const FieldRef> fields) {
  for (const FieldRef& field : fields) {
    const std::string flag = flag_name(field.name);
    if (auto* const* value = std::get_if<bool*>(&field.value)) {
      app_->add_flag(flag, **value, field.help);
      continue;
    }
    CLI::Option* option = app_->add_option(
        flag,
        [field](const std::vector<std::string>& results) {
          set_from_flag(field, results);
          return true;
        },
        field.help);
    option->type_name(type_text(field))->default_str(value_text(field));
    option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
}

bool CommandLine::parse(std::span<const std::string> args) {
  CLI::App& app = *app_;
  std::vector<std::string> reversed(args.rbegin(), args.rend());  // as CLI11 takes them
  if (!app.get_name().starts_with("lowbit")) app.name("lowbit " + app.get_name());
  try {
    app.parse(std::move(reversed));
    return true;
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return false;
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> extras = app.remaining();
    const std::string first = extras.empty() ? "" : extras.front();
    const std::string flag = first.substr(0, first.find('='));
    const std::vector<std::string> flags = flags_of(app);
    const bool model =
        !first.starts_with('-') && std::find(flags.begin(), flags.end(), "--model") != flags.end();
    throw_error(
        "unexpected argument `{}`{} ({} --help lists all)", printable(first),
        model ? ", is it the model? Write --model " + printable(first) : suggestion(flag, flags),
        app.get_name());
  } catch (const CLI::ParseError& error) {
    std::string message = error.what();
    std::replace(message.begin(), message.end(), '\n', ' ');
    throw_error("{} ({} --help)", printable(message, 300), app.get_name());
  }
}

}  // namespace lowbit
