#include "base/hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace lowbit {
namespace {

uint64_t hash_of_parts(std::initializer_list<std::string_view> parts) {
  Hash hash;
  for (const std::string_view part : parts) hash.add(part);
  return hash.value();
}

TEST(Hash, ContentsThatDifferAnywhereHaveAnother) {
  const std::string text(37, 'x');
  std::set<uint64_t> hashes = {hash_of_parts({text})};
  for (size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string other = text;
      other[i] = static_cast<char>(other[i] ^ (1 << bit));
      hashes.insert(hash_of_parts({other}));
    }
  }
  EXPECT_EQ(hashes.size(), 1 + 8 * text.size());
}

TEST(Hash, WhereAPartEndsCounts) {
  const std::set<uint64_t> hashes = {hash_of_parts({"abc"}),
                                     hash_of_parts({"ab", "c"}),
                                     hash_of_parts({"a", "bc"}),
                                     hash_of_parts({"", ""}),
                                     hash_of_parts({std::string(1, '\0')}),
                                     hash_of_parts({""})};
  EXPECT_EQ(hashes.size(), 6u);
  EXPECT_EQ(hash_of_parts({"abc"}), hash_of_parts({"abc"}));
}

}  // namespace
}  // namespace lowbit
