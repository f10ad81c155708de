#include "tokenizer/bad_files.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/check.h"
#include "base/file.h"
#include "tokenizer/tokenizer.h"

namespace lowbit {
namespace {

class BadTokenizerFiles : public testing::TestWithParam<BadTokenizerFile> {};

TEST_P(BadTokenizerFiles, GivesOneClearLine) {
  const BadTokenizerFile& bad = GetParam();
  const std::string folder = testing::TempDir() + "lowbit_bad_tokenizer_" + bad.name;
  std::filesystem::create_directories(folder);
  write_file_atomically(folder + "/" + bad.file, bad.content);
  std::string message;
  try {
    const auto tokenizer = load_tokenizer(*open_folder(folder));
    ASSERT_NE(tokenizer, nullptr);
    if (!bad.text.empty()) tokenizer->encode(bad.text);
  } catch (const Error& error) {
    message = error.what();
  }
  std::filesystem::remove_all(folder);
  EXPECT_NE(message.find(bad.message), std::string::npos) << "says: " << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 600u);
  EXPECT_EQ(message.find(folder + "/" + bad.file + ": "), 0u) << message;
}

INSTANTIATE_TEST_SUITE_P(All, BadTokenizerFiles, testing::ValuesIn(bad_tokenizer_files()),
                         [](const auto& bad) { return bad.param.name; });

}  // namespace
}  // namespace lowbit
