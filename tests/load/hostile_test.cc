#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/check.h"
#include "load/hostile_files.h"

namespace lowbit::fixtures {
namespace {

class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_(std::filesystem::temp_directory_path() / ("lb_hostile_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

std::string message_of(const std::string& model) {
  try {
    read_llama(model);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(HostileFiles, EachGivesOneLineThatNamesFileAndField) {
  std::set<std::string> names;
  for (const HostileFile& file : hostile_files()) {
    SCOPED_TRACE(file.name);
    EXPECT_TRUE(names.insert(file.name).second) << "two cases of one name";
    const TemporaryFolder folder;
    const std::string message = message_of(file.write(folder.path()));
    for (const std::string& part : file.expected) {
      EXPECT_NE(message.find(part), std::string::npos)
          << "expected: " << part << "\nmessage:  " << message;
    }
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 700u) << message;
  }
  EXPECT_GE(names.size(), 130u);
}

// The table proves nothing unless the models that it breaks are read when they are whole.
TEST(HostileFiles, TheUnbrokenOnesAreRead) {
  const TemporaryFolder folder;
  EXPECT_EQ(message_of(write_valid_hf(folder.path())), "no error");
  EXPECT_EQ(message_of(write_valid_gguf(folder.path())), "no error");
}

}  // namespace
}  // namespace lowbit::fixtures
