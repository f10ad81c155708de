// What holds for every tokenizer and every input.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/check.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "tokenizer/spec.h"
#include "tokenizer/strings.h"

namespace lowbit {
namespace {

std::unique_ptr<Tokenizer> tiny(const std::string& name) {
  auto tokenizer = load_tokenizer(*open_folder(golden_path(name)));
  EXPECT_NE(tokenizer, nullptr);
  return tokenizer;
}

const char* const kTiny[] = {"tiny-llama3", "tiny-gpt2",      "tiny-mixed",    "tiny-llama2",
                             "tiny-spm",    "tiny-spm-other", "tiny-tiktoken", "tiny-metaspace"};

TEST(Tokenizer, ByteLevelRoundTripsEveryByteString) {
  for (const char* name : {"tiny-llama3", "tiny-tiktoken"}) {
    auto tokenizer = tiny(name);
    if (std::string(name) == "tiny-llama3") {
      // Without its added tokens, some of which swallow the white space around them.
      const std::string path = golden_path("tiny-llama3/tokenizer.json");
      BpeSpec spec = parse_tokenizer_json(path, map_file(path).text());
      spec.added.clear();
      tokenizer = make_bpe_tokenizer(std::move(spec));
    }
    Rng rng(7);
    for (int i = 0; i < 3000; ++i) {
      std::string text;
      for (uint64_t n = rng.next() % 40; n > 0; --n) {
        // Half of it bytes of broken sequences, half of it anything.
        const uint64_t bits = rng.next();
        text += static_cast<char>(bits & 1 ? 0xC0 | (bits >> 8 & 0x3F) : bits >> 8 & 0xFF);
      }
      for (const bool special : {false, true}) {
        const auto ids = tokenizer->encode(text, {.parse_special = special});
        ASSERT_EQ(tokenizer->decode(ids), text) << name << " " << i;
      }
    }
    for (const std::string& text : test_strings()) {
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << name;
    }
  }
}

TEST(Tokenizer, StreamedPiecesConcatenateToDecode) {
  for (const char* name : kTiny) {
    const auto tokenizer = tiny(name);
    Rng rng(11);
    for (int i = 0; i < 500; ++i) {
      std::vector<int32_t> ids;
      for (uint64_t n = rng.next() % 30; n > 0; --n) {
        ids.push_back(static_cast<int32_t>(rng.next() % tokenizer->vocab_size()));
      }
      StreamDecoder decoder(*tokenizer);
      std::string text;
      for (const int32_t id : ids) text += decoder.push(id);
      const size_t before_finish = text.size();
      text += decoder.finish();
      const std::string whole = tokenizer->decode(ids);
      ASSERT_LE(whole.size() - before_finish, 3u);
      ASSERT_EQ(text.substr(0, before_finish), whole.substr(0, before_finish)) << name;
      ASSERT_EQ(text.substr(before_finish), replace_invalid_utf8(whole.substr(before_finish)));
    }
  }
}

TEST(Tokenizer, StreamHoldsBackIncompleteCharactersOnly) {
  const auto tokenizer = tiny("tiny-tiktoken");
  StreamDecoder decoder(*tokenizer);
  std::string pieces;
  for (const char byte : std::string("\xF0\x9F\x9A\x80")) {
    EXPECT_EQ(pieces, "");
    pieces += decoder.push(tokenizer->encode({&byte, 1}, {.add_bos = false}).at(0));
  }
  EXPECT_EQ(pieces, "\xF0\x9F\x9A\x80");
  EXPECT_EQ(decoder.finish(), "");
  const char cut = '\xE2';
  EXPECT_EQ(decoder.push(tokenizer->encode({&cut, 1}, {.add_bos = false}).at(0)), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
}

TEST(Tokenizer, SpecialTokensComeOutOfTextOnlyIfAskedFor) {
  const std::string text = "x <|eot_id|> </s><s> <|begin_of_text|><|end_of_text|> <unk> y";
  for (const char* name : kTiny) {
    const auto tokenizer = tiny(name);
    std::vector<int32_t> special;
    for (const char* token :
         {"<|eot_id|>", "</s>", "<s>", "<|begin_of_text|>", "<|end_of_text|>"}) {
      if (const auto id = tokenizer->special_id(token)) special.push_back(*id);
    }
    ASSERT_FALSE(special.empty()) << name;
    const auto count = [&](const std::vector<int32_t>& ids) {
      size_t found = 0;
      for (const int32_t id : ids) {
        found += std::find(special.begin(), special.end(), id) != special.end();
      }
      return found;
    };
    EXPECT_EQ(count(tokenizer->encode(text, {.add_bos = false})), 0u) << name;
    EXPECT_EQ(count(tokenizer->encode(text, {.add_bos = false, .parse_special = true})),
              special.size())
        << name;
  }
}

TEST(Tokenizer, DecodeLeavesSpecialTokensOutUnlessAskedTo) {
  const auto tokenizer = tiny("tiny-tiktoken");
  const auto ids = tokenizer->encode("a<|eot_id|>b", {.parse_special = true});
  EXPECT_EQ(tokenizer->decode(ids), "ab");
  EXPECT_EQ(tokenizer->decode(ids, true), "<|begin_of_text|>a<|eot_id|>b");
}

TEST(Tokenizer, BosIsAddedIfTheFileAsksForIt) {
  for (const char* name : {"tiny-tiktoken", "tiny-llama2", "tiny-spm"}) {
    const auto tokenizer = tiny(name);
    ASSERT_TRUE(tokenizer->bos().has_value()) << name;
    EXPECT_EQ(tokenizer->encode("a").at(0), tokenizer->bos()) << name;
    EXPECT_NE(tokenizer->encode("a", {.add_bos = false}).at(0), tokenizer->bos()) << name;
    EXPECT_EQ(tokenizer->encode("").size(), 1u);
  }
  EXPECT_FALSE(tiny("tiny-gpt2")->bos().has_value());
}

TEST(Tokenizer, DecodeRefusesIdsOutsideTheVocabulary) {
  for (const char* name : kTiny) {
    const auto tokenizer = tiny(name);
    for (const int32_t id : {-1, tokenizer->vocab_size(), INT32_MAX, INT32_MIN}) {
      const int32_t ids[] = {id};
      EXPECT_THROW(tokenizer->decode(ids), Error);
    }
  }
}

// Quadratic merging would take minutes here.
TEST(Tokenizer, LongWordsTakeLinearithmicTime) {
  for (const char* name : kTiny) {
    const auto tokenizer = tiny(name);
    for (const char* unit : {"a", " ", "\n", "\u00E9", "\xFF", "ab"}) {
      std::string text;
      while (text.size() < 100000) text += unit;
      EXPECT_FALSE(tokenizer->encode(text + "x").empty()) << name;
    }
  }
}

TEST(Tokenizer, EncodesTheSameFromSeveralThreads) {
  const auto tokenizer = tiny("tiny-llama3");
  std::vector<size_t> counts(4);
  std::vector<std::thread> threads;
  for (size_t& count : counts) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < 1000; ++i) count += tokenizer->encode(test_strings()[i]).size();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::count(counts.begin(), counts.end(), counts[0]), 4);
}

TEST(LoadTokenizer, ReadsWhatTheConfigAdds) {
  const std::string folder = testing::TempDir() + "lowbit_tokenizer_config";
  const auto copy = [&](const char* name, const char* file, const char* config) {
    ::mkdir(folder.c_str(), 0755);
    write_file_atomically(folder + "/" + file, map_file(golden_path(name) + "/" + file).text());
    write_file_atomically(folder + "/tokenizer_config.json", config);
    auto tokenizer = load_tokenizer(*open_folder(folder));
    ::unlink((folder + "/" + file).c_str());
    ::unlink((folder + "/tokenizer_config.json").c_str());
    ::rmdir(folder.c_str());
    return tokenizer;
  };
  auto tokenizer =
      copy("tiny-gpt2", "tokenizer.json",
           R"({"bos_token":{"content":"<s>"},"eos_token":"</s>","add_bos_token":true})");
  ASSERT_TRUE(tokenizer->bos().has_value());
  EXPECT_EQ(tokenizer->encode("a").at(0), *tokenizer->special_id("<s>"));
  EXPECT_EQ(tokenizer->eos(), std::vector<int32_t>{*tokenizer->special_id("</s>")});
  tokenizer = copy("tiny-spm", "tokenizer.model", R"({"add_bos_token":false})");
  EXPECT_EQ(tokenizer->encode("").size(), 0u);
  EXPECT_THROW(copy("tiny-spm", "tokenizer.model", R"({"add_bos_token":"no"})"), Error);
}

TEST(LoadTokenizer, NoTokenizerFileGivesNone) {
  EXPECT_EQ(load_tokenizer(*open_folder(LB_SOURCE_DIR "/cmake")), nullptr);
}

}  // namespace
}  // namespace lowbit
