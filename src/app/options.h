// One list of fields per config struct; flags, YAML, key=value overrides, help and the JSON echo
// all come from it. A config struct says, once:
//
//   template <class Visitor>
//   void visit(Visitor& v, GenerateConfig& c) {
//     v.field("max_new_tokens", c.max_new_tokens, "tokens to generate at most");
//   }
//
// which gives the flag --max-new-tokens, the YAML key max_new_tokens and max_new_tokens=64. Field
// types: std::string, int32_t, int64_t, double, bool, std::vector<std::string>,
// std::vector<int32_t>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace CLI {
class App;
}

namespace lowbit {

using FieldPointer = std::variant<std::string*, int32_t*, int64_t*, double*, bool*,
                                  std::vector<std::string>*, std::vector<int32_t>*>;

struct FieldRef {
  std::string name;
  FieldPointer value;
  std::string help;
};

// The visitor: turns a config's visit() into a list of references to its members.
class FieldCollector {
 public:
  template <class T>
  void field(std::string_view name, T& member, std::string_view help) {
    fields.push_back({std::string(name), &member, std::string(help)});
  }
  std::vector<FieldRef> fields;
};

template <class Config>
std::vector<FieldRef> fields_of(Config& config) {
  FieldCollector collector;
  visit(collector, config);
  return std::move(collector.fields);
}

// `defaults` are the fields of a fresh config: what `null` sets.
void apply_yaml_fields(const std::string& path, std::span<const FieldRef> fields,
                       std::span<const FieldRef> defaults);
void apply_override_fields(std::span<const std::string> overrides, std::span<const FieldRef> fields,
                           std::span<const FieldRef> defaults);
nlohmann::ordered_json fields_to_json(std::span<const FieldRef> fields);

// Sets what the file names. Error with file and line: unknown key (with a suggestion), wrong type,
// key given twice, not a mapping. A list may be written as one scalar with commas.
template <class Config>
void apply_yaml(const std::string& path, Config& config) {
  Config defaults{};
  apply_yaml_fields(path, fields_of(config), fields_of(defaults));
}

// Each item is key=value; lists by commas (empty text: an empty list); true/True/1 and
// false/False/0; null gives the default back.
template <class Config>
void apply_overrides(std::span<const std::string> overrides, Config& config) {
  Config defaults{};
  apply_override_fields(overrides, fields_of(config), fields_of(defaults));
}

// Every field in order, as an echo for reports: an ordered_json (include nlohmann/json.hpp to
// call).
template <class Config>
auto to_json(const Config& config) {
  return fields_to_json(fields_of(const_cast<Config&>(config)));  // only read
}

// "--max-new-tokens" of max_new_tokens.
std::string flag_name(std::string_view field);

// --max_new_tokens=8 as --max-new-tokens=8; the value, and what is no long flag, as it is.
std::string with_dashes(const std::string& arg);

// Is `arg`, from with_dashes(), the flag of a field, with or without a value?
bool is_flag_of(std::string_view arg, std::span<const FieldRef> fields);

// One line each for --help, with the names as they are in `fields`.
std::string flags_help(std::span<const FieldRef> fields);

// The arguments of one command. What they are written to must outlive parse(). Here, so that one
// file compiles CLI11.
class CommandLine {
 public:
  CommandLine(std::string description, std::string name);
  ~CommandLine();

  // --max-new-tokens for max_new_tokens. A bool is a switch; a list of integers is split at commas;
  // a list of strings takes one string each time the flag is given.
  template <class Config>
  void add_flags(Config& config) {
    add_field_flags(fields_of(config));
  }
  // `names` are "-o,--output", or "MODEL" of what stands without a flag.
  void add_option(const std::string& names, std::string& value, const std::string& help,
                  const std::string& type = "TEXT");
  void add_option(const std::string& names, std::vector<std::string>& values,
                  const std::string& help, const std::string& type);
  void add_switch(const std::string& names, bool& value, const std::string& help);
  void set_footer(std::string text);  // below the flags of --help

  // False: --help was asked for and has been printed. Error, with a suggestion for a mistyped flag,
  // for everything that does not parse.
  bool parse(std::span<const std::string> args);
  size_t count(const std::string& name) const;  // how often it was given

 private:
  void add_field_flags(std::span<const FieldRef> fields);
  std::unique_ptr<CLI::App> app_;
};

}  // namespace lowbit
