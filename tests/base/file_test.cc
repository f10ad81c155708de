#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/check.h"

namespace lowbit {
namespace {

class FileTest : public testing::Test {
 protected:
  FileTest()
      : dir_(std::filesystem::temp_directory_path() / ("lb_file_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(dir_);
  }
  ~FileTest() override { std::filesystem::remove_all(dir_); }
  std::string path(const std::string& name) const { return (dir_ / name).string(); }
  std::filesystem::path dir_;
};

TEST_F(FileTest, AtomicWriteReplacesAndReadsBack) {
  write_file_atomically(path("a"), "one");
  const Bytes before = map_file(path("a"));
  write_file_atomically(path("a"), "two");
  EXPECT_EQ(before.text(), "one");  // the old mapping still sees the old file
  EXPECT_EQ(map_file(path("a")).text(), "two");
  release_pages(before);
  EXPECT_EQ(before.text(), "one");
  EXPECT_EQ(open_folder(dir_.string())->names(), std::vector<std::string>{"a"});
}

TEST_F(FileTest, ErrorsNameThePath) {
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(message([&] { map_file(path("none")); }).find(path("none")), std::string::npos);
  EXPECT_NE(message([&] { map_file(dir_.string()); }).find("is a folder"), std::string::npos);
  EXPECT_NE(message([&] { open_folder(path("none")); }).find("no such folder"), std::string::npos);
  EXPECT_NE(message([&] { write_file_atomically(path("no/such/x"), ""); }).find("cannot"),
            std::string::npos);
}

TEST_F(FileTest, EmptyFileHasNoBytes) {
  write_file_atomically(path("empty"), "");
  EXPECT_TRUE(map_file(path("empty")).data.empty());
}

}  // namespace
}  // namespace lowbit
