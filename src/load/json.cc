#include "load/json.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 32;
// A model of 1,000 tensors has about 7,000; what is far above is an attack on memory.
constexpr size_t kMaxValues = 500'000;
constexpr size_t kMaxYamlBytes = 1 << 20;

// Puts values where they belong, whichever parser they come from.
class TreeBuilder {
 public:
  explicit TreeBuilder(const std::string& source) : source_(source) {}

  bool expects_key() const { return !stack_.empty() && stack_.back()->is_object() && !slot_; }

  void key(const std::string& name) {
    json& object = *stack_.back();
    keys_.back() = name;
    const auto [at, inserted] = object.emplace(name, nullptr);
    if (!inserted) fail("the key appears twice");
    slot_ = &*at;
  }

  json& value(json&& leaf) {
    if (++values_ > kMaxValues) fail(fmt::format("more than {} values", kMaxValues));
    if (stack_.empty()) return root_ = std::move(leaf);
    json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(leaf));
      return parent.back();
    }
    json& slot = *std::exchange(slot_, nullptr);
    return slot = std::move(leaf);
  }

  // Pointers on the stack stay valid: a container grows only while it is on top.
  void open(json&& container) {
    if (stack_.size() == kMaxDepth) fail(fmt::format("nested deeper than {} levels", kMaxDepth));
    stack_.push_back(&value(std::move(container)));
    keys_.emplace_back();
  }

  void close() {
    stack_.pop_back();
    keys_.pop_back();
  }

  [[noreturn]] void fail(const std::string& message) const {
    std::vector<std::string> path;
    for (const std::string& key : keys_) {
      if (!key.empty()) path.push_back(printable(key));
    }
    if (path.empty()) throw_error("{}: {}", source_, message);
    throw_error("{}: {}: {}", source_, join(path, "."), message);
  }

  json take() { return std::move(root_); }

 private:
  const std::string& source_;
  json root_;
  std::vector<json*> stack_;       // open containers
  std::vector<std::string> keys_;  // the key that each of them is at, for messages
  json* slot_ = nullptr;           // where the value of the last key goes
  size_t values_ = 0;
};

class JsonEvents final : public json::json_sax_t {
 public:
  JsonEvents(const std::string& source, TreeBuilder* tree) : source_(source), tree_(*tree) {}

  bool null() override { return leaf(nullptr); }
  bool boolean(bool value) override { return leaf(value); }
  bool number_integer(int64_t value) override { return leaf(value); }
  bool number_unsigned(uint64_t value) override { return leaf(value); }
  bool number_float(double value, const std::string&) override { return leaf(value); }
  bool string(std::string& value) override { return leaf(std::move(value)); }
  bool binary(json::binary_t&) override { return false; }  // only other encodings have it
  bool key(std::string& name) override {
    tree_.key(name);
    return true;
  }
  bool start_object(size_t) override {
    tree_.open(json::object());
    return true;
  }
  bool start_array(size_t) override {
    tree_.open(json::array());
    return true;
  }
  bool end_object() override {
    tree_.close();
    return true;
  }
  bool end_array() override { return end_object(); }

  bool parse_error(size_t, const std::string&, const json::exception& error) override {
    std::string_view what = error.what();  // "[json.exception.NAME.101] parse error at line ..."
    const size_t tag_end = what.find("] ");
    if (tag_end != std::string_view::npos) what.remove_prefix(tag_end + 2);
    throw_error("{}: is not valid JSON: {}", source_, printable(what, 200));
  }

 private:
  bool leaf(json&& value) {
    tree_.value(std::move(value));
    return true;
  }

  const std::string& source_;
  TreeBuilder& tree_;
};

json yaml_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null") return nullptr;
  if (text == "true" || text == "false") return text == "true";
  if (const auto integer = parse_int(text)) return static_cast<int64_t>(*integer);
  if (const auto number = parse_double(text); number && std::isfinite(*number)) return *number;
  return text;
}

class YamlEvents final : public YAML::EventHandler {
 public:
  explicit YamlEvents(TreeBuilder* tree) : tree_(*tree) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {
    if (tree_.expects_key()) tree_.fail("a key is empty");
    tree_.value(nullptr);
  }
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {
    tree_.fail("YAML aliases are not supported; write the value out");
  }
  void OnScalar(const YAML::Mark&, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    if (tree_.expects_key()) return tree_.key(value);
    const bool quoted = tag == "!";
    tree_.value(quoted ? json(value) : yaml_scalar(value));
  }
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open(json::array());
  }
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    open(json::object());
  }
  void OnSequenceEnd() override { tree_.close(); }
  void OnMapEnd() override { tree_.close(); }

 private:
  void open(json&& container) {
    if (tree_.expects_key()) tree_.fail("a key must be a plain word");
    tree_.open(std::move(container));
  }

  TreeBuilder& tree_;
};

}  // namespace

json parse_json(const std::string& source, std::string_view text) {
  if (trim(text).empty()) throw_error("{}: is empty, expected JSON", source);
  TreeBuilder tree(source);
  JsonEvents events(source, &tree);
  json::sax_parse(text.begin(), text.end(), &events);
  return tree.take();
}

json parse_yaml(const std::string& source, std::string_view text) {
  if (text.size() > kMaxYamlBytes) {
    throw_error("{}: {} bytes of YAML, at most {} are read", source, text.size(), kMaxYamlBytes);
  }
  TreeBuilder tree(source);
  YamlEvents events(&tree);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(events)) throw_error("{}: is empty, expected YAML", source);
    TreeBuilder rest(source);
    YamlEvents rest_events(&rest);
    if (parser.HandleNextDocument(rest_events)) {
      throw_error("{}: holds several YAML documents, expected one", source);
    }
  } catch (const YAML::Exception& error) {
    throw_error("{}: is not valid YAML: {}", source, printable(error.what(), 200));
  }
  return tree.take();
}

std::string describe(const json& value) {
  switch (value.type()) {
    case json::value_t::array:
      return fmt::format("a list of {}", value.size());
    case json::value_t::object:
      return "an object";
    case json::value_t::string:
      return fmt::format("\"{}\"", printable(value.get_ref<const std::string&>()));
    case json::value_t::number_float:
      return fmt::format("{}", value.get<double>());
    default:
      return value.dump();
  }
}

}  // namespace lowbit
