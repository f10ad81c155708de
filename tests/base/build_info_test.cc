#include "base/build_info.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace lowbit {
namespace {

TEST(BuildInfo, NamesWhatWasBuilt) {
  const BuildInfo& info = build_info();
  EXPECT_FALSE(info.version.empty());
  EXPECT_FALSE(info.compiler.empty());
  EXPECT_FALSE(info.build_type.empty());
  EXPECT_EQ(info.cuda, !info.cuda_architectures.empty());
}

TEST(BuildInfo, CommitIsAHashOrUnknown) {
  const BuildInfo& info = build_info();
  if (info.commit == "unknown") {
    EXPECT_FALSE(info.dirty);
    return;
  }
  EXPECT_EQ(info.commit.size(), 40u);
  EXPECT_TRUE(std::all_of(info.commit.begin(), info.commit.end(),
                          [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }));
}

}  // namespace
}  // namespace lowbit
