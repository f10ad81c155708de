// Every tokenizer parser on arbitrary bytes; what it accepts must encode and decode without harm.
// The first byte chooses the parser.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "tokenizer/spec.h"

namespace lowbit {
namespace {

std::unique_ptr<Tokenizer> make(uint8_t parser, std::string_view bytes) {
  switch (parser % 3) {  // of the seeds: "0", "1", "2"
    case 0:
      return make_bpe_tokenizer(parse_tokenizer_json("fuzz", bytes));
    case 1:
      return make_bpe_tokenizer(parse_tiktoken("fuzz", bytes));
    default:
      return make_spm_tokenizer(parse_sentencepiece("fuzz", bytes));
  }
}

void run(uint8_t parser, std::string_view bytes) {
  const auto tokenizer = make(parser, bytes);
  constexpr std::string_view kText = "The quick\xE2\x80\x99s 123 \xF0\x9F\x9A\x80\xFF <s>\n\n  end";
  for (const bool special : {false, true}) {
    const std::vector<int32_t> ids = tokenizer->encode(kText, {true, special});
    StreamDecoder decoder(*tokenizer);
    std::string pieces;
    for (const int32_t id : ids) pieces += decoder.push(id);
    pieces += decoder.finish();
    static_cast<void>(tokenizer->decode(ids, true));
  }
}

}  // namespace
}  // namespace lowbit

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    lowbit::run(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const lowbit::Error&) {
    // The one way to refuse an input.
  }
  return 0;
}
