#include "tokenizer/bad_files.h"

#include <fmt/core.h>

#include <cstring>
#include <limits>

namespace lowbit {
namespace {

// A byte-level tokenizer.json; each argument replaces one of its parts.
struct Json {
  std::string vocab = R"("<unk>":256)";  // besides the 256 bytes
  std::string merges = "[]";
  std::string added = "[]";
  std::string normalizer = "null";
  std::string pre_tokenizer =
      R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
  std::string post_processor = "null";
  std::string decoder = R"({"type":"ByteLevel"})";
  std::string model = R"("type":"BPE")";

  std::string text() const {
    std::string bytes;
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      bytes += fmt::format("\"\\u{:04x}\":{},", printable ? byte : next++, byte);
    }
    return fmt::format(
        R"({{"version":"1.0","added_tokens":{},"normalizer":{},"pre_tokenizer":{},)"
        R"("post_processor":{},"decoder":{},"model":{{{},"vocab":{{{}{}}},"merges":{}}}}})",
        added, normalizer, pre_tokenizer, post_processor, decoder, model, bytes, vocab, merges);
  }
};

std::string split(const std::string& pattern, const std::string& behaviour = "Isolated") {
  return fmt::format(
      R"({{"type":"Sequence","pretokenizers":[{{"type":"Split","pattern":{{"Regex":"{}"}},)"
      R"("behavior":"{}","invert":false}},{{"type":"ByteLevel","add_prefix_space":false,)"
      R"("trim_offsets":true,"use_regex":false}}]}})",
      pattern, behaviour);
}

std::string base64_bytes() {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string lines;
  for (unsigned byte = 0; byte < 256; ++byte) {
    lines += fmt::format("{}{}== {}\n", kDigits[byte >> 2], kDigits[(byte & 3) << 4], byte);
  }
  return lines;
}

// Protobuf: a length-delimited field with a number below 16.
std::string field(int number, const std::string& bytes) {
  std::string out = {static_cast<char>((number << 3) | 2)};
  size_t size = bytes.size();
  for (; size >= 128; size >>= 7) out += static_cast<char>((size & 127) | 128);
  return out + static_cast<char>(size) + bytes;
}

std::string piece(const std::string& text, float score, int type) {
  std::string number(4, '\0');
  std::memcpy(number.data(), &score, 4);
  return field(1, field(1, text) + "\x15" + number + "\x18" + static_cast<char>(type));
}

const std::string kBpe = field(2, "\x18\x02");  // trainer_spec.model_type: BPE
const std::string kUnknown = piece("<unk>", 0, 2);

void add_json_syntax_cases(std::vector<BadTokenizerFile>* cases) {
  const auto raw = [&](const char* name, const std::string& content, const char* message) {
    cases->push_back({name, "tokenizer.json", content, message});
  };
  const std::string good = Json{}.text();
  raw("json_empty", "", "the file is empty");
  raw("json_truncated", good.substr(0, good.size() / 2), "not valid JSON");
  raw("json_not_json", "\x89PNG\r\n\x1a\n", "not valid JSON");
  raw("json_invalid_utf8", "{\"model\":\"\xff\xfe\"}", "not valid JSON");
  raw("json_trailing_garbage", good + "x", "not valid JSON");
  raw("json_list", "[]", "does not hold a JSON object");
  raw("json_number_overflow", R"({"model":1e999999})", "not valid JSON");
  raw("json_deep_lists", std::string(200000, '['), "nested more than 64 levels");
  raw(
      "json_deep_objects",
      [] {
        std::string text;
        for (int i = 0; i < 100000; ++i) text += "{\"a\":";
        return text;
      }(),
      "nested more than 64 levels");
  raw("json_no_model", "{}", "\"model\" is missing");
  raw("json_model_is_text", R"({"model":"BPE"})", "model: expected an object");
  raw("json_unigram", R"({"model":{"type":"Unigram","vocab":[["a",0.5],[["b"]]]}})",
      "model: \"Unigram\" is not supported");
  raw("json_duplicate_key", R"({"model":{},"model":{}})", "the key \"model\" appears twice");
  raw("json_vocab_is_list", R"({"model":{"type":"BPE","vocab":["a"],"merges":[]}})",
      "\"vocab\" is missing or not an object");
}

void add_json_vocabulary_cases(std::vector<BadTokenizerFile>* cases) {
  const auto add = [&](const char* name, const Json& json, const char* message) {
    cases->push_back({name, "tokenizer.json", json.text(), message});
  };
  add("id_is_text", {.vocab = R"("ab":"7")"}, "model.vocab: the id of \"ab\" is a string");
  add("id_is_fraction", {.vocab = R"("ab":7.5)"}, "the id of \"ab\" is not an integer");
  add("id_is_list", {.vocab = R"("ab":[7])"}, "the id of \"ab\" is not an integer");
  add("id_negative", {.vocab = R"("ab":-1)"}, "token \"ab\" has id -1, outside of 0 to");
  add("id_huge", {.vocab = R"("ab":2147483647)"}, "token \"ab\" has id 2147483647, outside");
  add("id_beyond_64_bits", {.vocab = R"("ab":18446744073709551615)"}, "token \"ab\" has id");
  add("id_leaves_a_gap", {.vocab = R"("ab":100000)"}, "token \"ab\" has id 100000, outside");
  add("id_twice", {.vocab = R"("ab":5)"}, "have the same id 5");
  add("token_twice", {.vocab = R"("ab":256,"ab":257)"}, "tokens 256 and 257 are the same");
  cases->push_back({"byte_missing", "tokenizer.json",
                    Json{}.text().replace(Json{}.text().find("\"\\u0041\""), 8, "\"AA\""),
                    "no token stands for the byte 0x41"});
  add("merge_of_unknown", {.merges = R"(["a bcd"])"}, "\"bcd\" is not in the vocabulary");
  add("merge_into_unknown", {.merges = R"(["a b"])"}, "\"ab\" is not in the vocabulary");
  add("merge_of_three", {.merges = R"(["a b c"])"}, "entry 0 is not \"LEFT RIGHT\"");
  add("merge_of_one", {.merges = R"([["a"]])"}, "entry 0 is not a pair of strings");
  add("merge_list_of_three", {.merges = R"([["a","b","c"]])"}, "entry 0 is not a pair");
  add("merge_is_number", {.merges = "[7]"}, "entry 0 is not a pair of strings");
  add("merge_is_nested", {.merges = R"([["a",["b"]]])"}, "entry 0 is not a pair of strings");
  add("merge_twice", {.vocab = R"("ab":256)", .merges = R"(["a b","a b"])"},
      "merge 1 repeats an earlier one");
  add("added_id_taken", {.added = R"([{"id":5,"content":"<s>"}])"},
      "\"<s>\" has id 5, which is already another token's");
  add("added_id_negative", {.added = R"([{"id":-5,"content":"<s>"}])"},
      "added_tokens[0].id: expected an integer from 0");
  add("added_id_huge", {.added = R"([{"id":2147483647,"content":"<s>"}])"},
      "token \"<s>\" has id 2147483647, outside");
  add("added_without_content", {.added = R"([{"id":257}])"}, "\"content\" is missing");
  add("added_flag_is_text", {.added = R"([{"id":257,"content":"<s>","special":"yes"}])"},
      "added_tokens[0].special: expected true or false");
}

void add_json_pipeline_cases(std::vector<BadTokenizerFile>* cases) {
  const auto add = [&](const char* name, const Json& json, const char* message) {
    cases->push_back({name, "tokenizer.json", json.text(), message});
  };
  add("normalizer_unknown", {.normalizer = R"({"type":"Precompiled"})"},
      "normalizer: \"Precompiled\" is not supported");
  add("normalizer_in_sequence",
      {.normalizer = R"({"type":"Sequence","normalizers":[{"type":"Nmt"}]})"},
      "normalizer.normalizers[0]: \"Nmt\" is not supported");
  cases->push_back(
      {"normalizer_explodes", "tokenizer.json",
       Json{.normalizer =
                R"({"type":"Sequence","normalizers":[)" +
                [] {
                  const std::string step =
                      R"({"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaa"})";
                  std::string steps = step;
                  for (int i = 0; i < 30; ++i) steps += "," + step;
                  return steps;
                }() +
                "]}"}
           .text(),
       "the normalizers make a text grow", "a"});
  add("metaspace_replacement", {.pre_tokenizer = R"({"type":"Metaspace","replacement":"__"})"},
      "\"replacement\" is not one character");
  add("pre_tokenizer_unknown", {.pre_tokenizer = R"({"type":"BertPreTokenizer"})"},
      "pre_tokenizer: \"BertPreTokenizer\" is not supported");
  add("pre_tokenizer_is_list", {.pre_tokenizer = "[]"}, "pre_tokenizer: expected an object");
  add("decoder_unknown", {.decoder = R"({"type":"CTC"})"}, "decoder: \"CTC\" is not supported");
  add("decoder_grows", {.decoder = R"({"type":"Replace","pattern":{"String":"a"},"content":"aa"})"},
      "decoder: Replace by a longer text is not supported");
  add("decoder_missing", {.decoder = "null"}, "\"decoder\" is missing");
  add("decoder_of_other_kind", {.decoder = R"({"type":"Fuse"})"},
      "ByteLevel must be both the pre_tokenizer");
  add("post_processor_unknown", {.post_processor = R"({"type":"BertProcessing"})"},
      "post_processor: \"BertProcessing\" is not supported");
  add("post_processor_appends",
      {.post_processor = R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},)"
                         R"({"SpecialToken":{"id":"</s>"}}],"special_tokens":{}})"},
      "\"</s>\" behind the text is not supported");
  add("bos_out_of_range",
      {.post_processor = R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}],)"
                         R"("special_tokens":{"<s>":{"ids":[9999]}}})"},
      "bos_token: id 9999 is outside the vocabulary");
  add("unk_not_in_vocabulary", {.model = R"("type":"BPE","unk_token":"<none>")"},
      "unk_token \"<none>\" is not in the vocabulary");
  add("dropout", {.model = R"("type":"BPE","dropout":0.1)"}, "\"dropout\" is not supported");
  add("regex_bad", {.pre_tokenizer = split("(unclosed")}, "bad regular expression \"(unclosed\"");
  add("regex_deep", {.pre_tokenizer = split(std::string(5000, '('))}, "bad regular expression");
  add("regex_negated_in_class", {.pre_tokenizer = split("[^\\\\S]")},
      "\\S inside [...] is not supported");
  add("regex_code_unit", {.pre_tokenizer = split("\\\\C")}, "bad regular expression");
  add("regex_long", {.pre_tokenizer = split(std::string(70000, 'a'))}, "at most 65536");
  add("regex_behaviour", {.pre_tokenizer = split("a", "Sometimes")},
      "behavior: \"Sometimes\" is not supported");
  cases->push_back(
      {"regex_catastrophic", "tokenizer.json", Json{.pre_tokenizer = split("(a+)+$")}.text(),
       "matching the regular expression failed: match limit exceeded", std::string(60, 'a') + "!"});
}

void add_tiktoken_cases(std::vector<BadTokenizerFile>* cases) {
  const auto add = [&](const char* name, const std::string& content, const char* message) {
    cases->push_back({name, "llama3.tiktoken", content, message});
  };
  add("tiktoken_empty", "", "the file is empty");
  add("tiktoken_blank", "\n\n", "the file is empty");
  add("tiktoken_no_rank", "IQ==\n", "line 1 is not \"<base64> <rank>\"");
  add("tiktoken_bad_base64", "IQ== 0\nI*== 1\n", "line 2 is not \"<base64> <rank>\"");
  add("tiktoken_base64_length", "IQ= 0\n", "line 1 is not \"<base64> <rank>\"");
  add("tiktoken_padding_only", "==== 0\n", "line 1 is not \"<base64> <rank>\"");
  add("tiktoken_rank_text", "IQ== zero\n", "line 1 is not \"<base64> <rank>\"");
  add("tiktoken_rank_huge", "IQ== 99999999999999999999\n", "line 1 is not");
  add("tiktoken_rank_order", "IQ== 1\nIg== 0\n", "line 1: rank 1, expected 0");
  add("tiktoken_rank_gap", "IQ== 0\nIg== 2\n", "line 2: rank 2, expected 1");
  add("tiktoken_rank_negative", "IQ== -1\n", "line 1: rank -1, expected 0");
  add("tiktoken_token_twice", base64_bytes() + "IQ== 256\n", "are the same: \"!\"");
  add("tiktoken_byte_missing", "IQ== 0\n", "no token stands for the byte 0x00");
  std::string longest(4000, 'A');
  add("tiktoken_long_token", base64_bytes() + longest + " 256\n",
      "token 256 has 3000 bytes, at most 1024");
  add("tiktoken_binary", std::string("\0\x01\x02\x03", 4), "line 1 is not");
}

void add_sentencepiece_cases(std::vector<BadTokenizerFile>* cases) {
  const auto add = [&](const char* name, const std::string& content, const char* message) {
    cases->push_back({name, "tokenizer.model", content, message});
  };
  const std::string bad_varint(11, '\xff');
  add("spm_empty", "", "the file is empty");
  add("spm_text", "hello world", "not a sentencepiece model");
  add("spm_tag_zero", std::string("\0\0", 2), "a field number is out of range");
  add("spm_varint_cut", "\x0a\xff", "a number is cut off");
  add("spm_varint_long", "\x0a" + bad_varint, "a number has more than 64 bits");
  add("spm_length_beyond_file",
      "\x0a\x7f"
      "abc",
      "has 127 bytes, 3 are left");
  add("spm_length_huge", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "are left");
  add("spm_group", "\x0b", "wire type 3, which is not supported");
  add("spm_wrong_wire_type", std::string("\x08\x01", 2), "field 1 has wire type 0, not 2");
  add("spm_no_pieces", kBpe, "it has no pieces");
  add("spm_no_trainer_spec", kUnknown, "trainer_spec is missing");
  add("spm_unigram", kUnknown + field(2, "\x18\x01"), "model_type is UNIGRAM; only BPE");
  add("spm_default_is_unigram", kUnknown + field(2, ""), "model_type is UNIGRAM; only BPE");
  add("spm_model_type_absurd", kUnknown + field(2, "\x18\x63"), "model_type is 99; only BPE");
  add("spm_nmt_nfkc", kUnknown + kBpe + field(3, field(1, "nmt_nfkc") + field(2, "map")),
      "the normalizer \"nmt_nfkc\" is not supported");
  add("spm_no_unknown", piece("a", 0, 1) + kBpe, "no piece is of type unknown");
  add("spm_piece_twice", kUnknown + piece("a", 0, 1) + piece("a", -1, 1) + kBpe,
      "pieces 1 and 2 are the same: \"a\"");
  add("spm_piece_type", kUnknown + piece("a", 0, 9) + kBpe, "piece type 9 is not known");
  add("spm_invalid_utf8", kUnknown + piece("a\xff", 0, 1) + kBpe, "piece 1 is not UTF-8");
  add("spm_score_nan", kUnknown + piece("a", std::numeric_limits<float>::quiet_NaN(), 1) + kBpe,
      "piece 1: its score is not a number");
  add("spm_byte_name", kUnknown + piece("<0xGG>", 0, 6) + kBpe, "piece 1 is of type byte but");
  add("spm_bytes_missing", kUnknown + piece("<0x00>", 0, 6) + field(2, "\x18\x02\x98\x02\x01"),
      "byte_fallback needs 256 byte pieces, <0x01> is missing");
  add("spm_long_piece", kUnknown + piece(std::string(5000, 'a'), 0, 1) + kBpe,
      "token 1 has 5000 bytes, at most 1024");
}

}  // namespace

std::vector<BadTokenizerFile> bad_tokenizer_files() {
  std::vector<BadTokenizerFile> cases;
  add_json_syntax_cases(&cases);
  add_json_vocabulary_cases(&cases);
  add_json_pipeline_cases(&cases);
  add_tiktoken_cases(&cases);
  add_sentencepiece_cases(&cases);
  return cases;
}

}  // namespace lowbit
