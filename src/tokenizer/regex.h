// PCRE2 with JIT for the patterns of tokenizer files.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

namespace lowbit {

// A compiled pattern; copies share it. The dialect of the files is Oniguruma's; what it means by
// \s, \w and \h is put into PCRE2's words, so that both match the same characters.
class Regex {
 public:
  // Error: not a pattern (the message has PCRE2's words and `source` in front).
  Regex(const std::string& source, std::string_view pattern);
  static Regex literal(const std::string& source, std::string_view text);

  // One search through one text. Not for several threads; make one per text, it is cheap.
  class Search {
   public:
    Search(const Regex& regex, std::string_view text);  // text: valid UTF-8, must outlive this
    // The next match, which may be empty; false: no more. Error: it takes too long to find.
    bool next(size_t* begin, size_t* end);

   private:
    const Regex& regex_;
    std::string_view text_;
    size_t from_ = 0;
    std::shared_ptr<pcre2_real_match_data_8> match_;
    std::shared_ptr<pcre2_real_match_context_8> limits_;
  };

 private:
  Regex() = default;
  void compile(std::string_view pattern, bool is_literal);

  std::string source_;
  std::shared_ptr<pcre2_real_code_8> code_;
};

}  // namespace lowbit
