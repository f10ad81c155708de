#include "tokenizer/strings.h"

#include <array>
#include <charconv>
#include <cstdlib>

#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/utf8.h"

namespace lowbit {
namespace {

constexpr size_t kCount = 10000;
constexpr uint64_t kSeed = 2026;

uint32_t parse_hex(std::string_view text) {
  uint32_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const char escape = text[++i];
    if (escape == 'u') {
      const size_t end = text.find('}', i);
      append_utf8(&out, parse_hex(text.substr(i + 2, end - i - 2)));
      i = end;
    } else {
      out += escape == 'n' ? '\n' : escape == 't' ? '\t' : escape == 'r' ? '\r' : '\\';
    }
  }
  return out;
}

class Generator {
 public:
  Generator() {
    const Bytes file = map_file(golden_path("fragments.txt"));
    for (const std::string_view line : split(file.text(), '\n')) {
      const std::vector<std::string_view> words = split(line, ' ');
      if (words[0] == "range") ranges_.push_back({parse_hex(words[1]), parse_hex(words[2])});
      if (words[0] != "text") continue;
      const size_t text = words[0].size() + words[1].size() + 2;
      for (size_t kind = 0; kind < kKinds.size(); ++kind) {
        if (kKinds[kind] == words[1]) fragments_[kind].push_back(unescape(line.substr(text)));
      }
    }
  }

  std::string make(size_t index) const {
    Rng rng(kSeed, index);
    const size_t parts = index % 500 == 499 ? 200 : below(&rng, 13);
    std::string text;
    for (size_t i = 0; i < parts; ++i) text += make_part(&rng);
    return text;
  }

 private:
  static size_t below(Rng* rng, size_t n) { return rng->next() % n; }

  const std::string& fragment(Rng* rng, size_t choice) const {
    const auto& fragments = fragments_[choice < 4 ? 0 : choice - 3];
    return fragments[below(rng, fragments.size())];
  }

  std::string make_part(Rng* rng) const {
    const size_t kind = below(rng, 16);
    if (kind < 3) return make_script_run(rng);
    if (kind < 15) return fragment(rng, kind - 3);
    const std::string& text = fragment(rng, below(rng, 12));
    std::string part;
    switch (below(rng, 4)) {
      case 0:
        for (size_t n = 1 + below(rng, 6); n > 0; --n) {
          part += static_cast<char>(below(rng, 256));
        }
        return part;
      case 1:
        return text.substr(0, below(rng, text.size() + 1));
      case 2:
        for (size_t n = 2 + below(rng, 60); n > 0; --n) part += text;
        return part;
      default:
        for (size_t n = 1 + below(rng, 20); n > 0; --n) {
          part += static_cast<char>(0x20 + below(rng, 95));
        }
        return part;
    }
  }

  std::string make_script_run(Rng* rng) const {
    const Range range = ranges_[below(rng, ranges_.size())];
    std::string part = below(rng, 4) == 0 ? " " : "";
    for (size_t n = 1 + below(rng, 8); n > 0; --n) {
      const size_t offset = below(rng, range.last - range.first + 1);
      append_utf8(&part, range.first + static_cast<uint32_t>(offset));
    }
    return part;
  }

  struct Range {
    uint32_t first, last;
  };
  static constexpr std::array<std::string_view, 9> kKinds = {"word",  "contraction", "number",
                                                             "space", "emoji",       "control",
                                                             "mark",  "special",     "punctuation"};
  std::vector<Range> ranges_;
  std::array<std::vector<std::string>, kKinds.size()> fragments_;
};

}  // namespace

const std::vector<std::string>& test_strings() {
  static const std::vector<std::string> strings = [] {
    const Generator generator;
    std::vector<std::string> made;
    for (size_t i = 0; i < kCount; ++i) made.push_back(generator.make(i));
    return made;
  }();
  return strings;
}

std::string golden_path(const std::string& name) {
  return std::string(LB_SOURCE_DIR "/tests/golden/tokenizer/") + name;
}

std::string shared_path(const std::string& name) {
  const char* shared = std::getenv("LOWBIT_SHARED");
  return std::string(shared != nullptr ? shared : LB_SOURCE_DIR "/../shared") + "/" + name;
}

}  // namespace lowbit
