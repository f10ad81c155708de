#include "tokenizer/json_reader.h"

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxDepth = 64;  // tokenizer files nest about 8 levels

// nlohmann's SAX events to a Json tree, except for what goes into a TokenizerJson's vectors.
class Handler final : public nlohmann::json_sax<Json> {
 public:
  Handler(TokenizerJson* out, bool capture) : out_(out), capture_(capture) {}

  bool null() override { return value(Json(nullptr)); }
  bool boolean(bool v) override { return value(Json(v)); }
  bool number_integer(number_integer_t v) override { return integer(v, Json(v)); }
  bool number_unsigned(number_unsigned_t v) override {
    return integer(v > INT64_MAX ? INT64_MAX : static_cast<int64_t>(v), Json(v));
  }
  bool number_float(number_float_t v, const string_t&) override { return value(Json(v)); }
  bool binary(binary_t&) override { return value(Json(nullptr)); }

  bool string(string_t& v) override {
    if (mode_ == Mode::kTree) return value(Json(std::move(v)));
    if (mode_ == Mode::kMerges) add_merge(v);
    if (mode_ == Mode::kVocab) throw_error("model.vocab: the id of \"{}\" is a string", token());
    if (mode_ == Mode::kPair) {
      if (++pair_size_ > 2) bad_merge();
      (pair_size_ == 1 ? pair_.first : pair_.second) = std::move(v);
    }
    return true;
  }

  bool key(string_t& v) override {
    if (mode_ == Mode::kVocab) {
      token_ = std::move(v);
    } else if (mode_ == Mode::kTree) {
      if (stack_.size() == 1) top_key_ = v;
      if (stack_.back()->contains(v)) throw_error("the key \"{}\" appears twice", printable(v));
      key_ = std::move(v);
    }
    return true;
  }

  bool start_object(std::size_t) override {
    enter();
    if (mode_ == Mode::kTree && captured("vocab")) {
      if (!out_->vocab.empty()) throw_error("the key \"vocab\" appears twice");
      out_->vocab_is_object = true;
      capture(Mode::kVocab);
    } else if (mode_ == Mode::kTree) {
      stack_.push_back(&add(Json::object()));
    } else if (mode_ != Mode::kSkip) {
      wrong_value();
    }
    return true;
  }

  bool start_array(std::size_t) override {
    enter();
    if (mode_ == Mode::kTree && captured("merges")) {
      if (!out_->merges.empty()) throw_error("the key \"merges\" appears twice");
      capture(Mode::kMerges);
    } else if (mode_ == Mode::kTree && captured("vocab")) {
      capture(Mode::kSkip);  // a Unigram model's; its type is refused later
    } else if (mode_ == Mode::kTree) {
      stack_.push_back(&add(Json::array()));
    } else if (mode_ == Mode::kMerges) {
      mode_ = Mode::kPair;
      pair_size_ = 0;
    } else if (mode_ != Mode::kSkip) {
      wrong_value();
    }
    return true;
  }

  bool end_object() override { return leave(); }
  bool end_array() override {
    if (mode_ != Mode::kPair) return leave();
    if (pair_size_ != 2) bad_merge();
    out_->merges.push_back(std::move(pair_));
    mode_ = Mode::kMerges;
    --depth_;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    std::string_view what = e.what();
    const size_t name_end = what.find("] ");  // "[json.exception.parse_error.101] parse error ..."
    if (name_end != std::string_view::npos) what.remove_prefix(name_end + 2);
    throw_error("not valid JSON: {}", printable(what, 200));
  }

 private:
  enum class Mode { kTree, kVocab, kMerges, kPair, kSkip };

  bool captured(std::string_view key) const {
    return capture_ && stack_.size() == 2 && top_key_ == "model" && key_ == key &&
           stack_.back()->is_object();
  }

  void capture(Mode mode) {
    mode_ = mode;
    capture_depth_ = depth_;
  }

  void enter() {
    if (++depth_ > kMaxDepth) throw_error("nested more than {} levels deep", kMaxDepth);
  }

  bool leave() {
    if (mode_ == Mode::kTree) {
      stack_.pop_back();
    } else if (depth_ == capture_depth_) {
      mode_ = Mode::kTree;
    }
    --depth_;
    return true;
  }

  Json& add(Json v) {
    if (stack_.empty()) return out_->rest = std::move(v);
    Json& parent = *stack_.back();
    if (parent.is_object()) return parent[key_] = std::move(v);
    parent.push_back(std::move(v));
    return parent.back();
  }

  bool value(Json v) {
    if (mode_ == Mode::kTree) {
      add(std::move(v));
    } else if (mode_ != Mode::kSkip) {
      wrong_value();
    }
    return true;
  }

  bool integer(int64_t v, Json json) {
    if (mode_ != Mode::kVocab) return value(std::move(json));
    out_->vocab.emplace_back(std::move(token_), v);
    return true;
  }

  void add_merge(const std::string& text) {
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      throw_error("model.merges: entry {} is not \"LEFT RIGHT\": \"{}\"", out_->merges.size(),
                  printable(text));
    }
    out_->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }

  [[noreturn]] void bad_merge() const {
    throw_error("model.merges: entry {} is not a pair of strings", out_->merges.size());
  }

  [[noreturn]] void wrong_value() const {
    if (mode_ != Mode::kVocab) bad_merge();
    throw_error("model.vocab: the id of \"{}\" is not an integer", token());
  }

  std::string token() const { return printable(token_); }

  TokenizerJson* out_;
  bool capture_;
  Mode mode_ = Mode::kTree;
  size_t depth_ = 0, capture_depth_ = 0;
  std::vector<Json*> stack_;  // open objects and arrays of the tree
  std::string key_, top_key_, token_;
  std::pair<std::string, std::string> pair_;
  int pair_size_ = 0;
};

TokenizerJson read(std::string_view text, bool capture) {
  TokenizerJson out;
  if (text.empty()) throw_error("the file is empty");
  Handler handler(&out, capture);
  Json::sax_parse(text.begin(), text.end(), &handler);
  if (!out.rest.is_object()) throw_error("the file does not hold a JSON object");
  return out;
}

}  // namespace

TokenizerJson read_tokenizer_json(std::string_view text) { return read(text, true); }

nlohmann::json read_json(std::string_view text) { return read(text, false).rest; }

}  // namespace lowbit
