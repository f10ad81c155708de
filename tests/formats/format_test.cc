#include "formats/format.h"

#include <gtest/gtest.h>

#include "base/check.h"

namespace lowbit {
namespace {

std::string error_of(std::string_view text) {
  try {
    parse_format_pair(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Format, EveryNamePrintsAndParsesBack) {
  for (const FormatRow& row : kFormats) {
    EXPECT_EQ(name(row.defaults), row.name);
    EXPECT_EQ(parse_format(row.name), row.defaults) << row.name;
  }
  for (const char* text : {"int8-g64", "int8-tensor", "int4-g32", "int4-sym", "int4-g128-asym",
                           "int4-row-sym", "int4-g256"}) {
    EXPECT_EQ(name(parse_format(text)), text);
  }
}

TEST(Format, DefaultsAreLeftOut) {
  EXPECT_EQ(name(parse_format("int4-g64-fzero")), "int4");
  EXPECT_EQ(name(parse_format("int8-row")), "int8");
}

TEST(Format, AliasesPointAtRows) {
  for (const FormatAlias& alias : kAliases) {
    EXPECT_EQ(name(parse_format(alias.alias)), alias.name);
  }
}

TEST(Format, PairsCarryBothSides) {
  const FormatPair pair = parse_format_pair("int4-g32+bf16");
  EXPECT_EQ(name(pair.weights), "int4-g32");
  EXPECT_EQ(pair.activations->id, FormatId::kBF16);
  EXPECT_EQ(name(pair), "int4-g32+bf16");
  EXPECT_FALSE(parse_format_pair("int8").activations.has_value());
}

TEST(Format, WrongNamesGetSuggestions) {
  EXPECT_NE(error_of("imt8").find("did you mean `int8`"), std::string::npos);
  EXPECT_NE(error_of("int4-g48").find("power of two"), std::string::npos);
  EXPECT_NE(error_of("int4-g512").find("power of two"), std::string::npos);
  EXPECT_NE(error_of("fp8-sym").find("fp8 takes"), std::string::npos);
  EXPECT_NE(error_of("bf16-g64").find("takes no parameters"), std::string::npos);
  EXPECT_NE(error_of("int8+int3").find("cannot hold activations"), std::string::npos);
  EXPECT_NE(error_of("int4-g64-asym-sym").find("second time"), std::string::npos);
  EXPECT_NE(error_of("int4-g32-row").find("second time"), std::string::npos);
  EXPECT_NE(error_of("int4-g064").find("power of two"), std::string::npos);
  EXPECT_NE(error_of("").find("unknown format"), std::string::npos);
  EXPECT_NE(error_of("int8+").find("unknown format"), std::string::npos);
}

TEST(Format, BitsPerWeightCountWhatABlockAdds) {
  EXPECT_EQ(parse_format("int4").bits_per_weight(), 4.5);
  EXPECT_EQ(parse_format("int4-g32").bits_per_weight(), 5.0);
  EXPECT_EQ(parse_format("int4-g128-asym").bits_per_weight(), 4.1875);
  EXPECT_EQ(parse_format("int4-sym").bits_per_weight(), 4.25);
  EXPECT_EQ(parse_format("q4_0").bits_per_weight(), 4.5);
}

}  // namespace
}  // namespace lowbit
