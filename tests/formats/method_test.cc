// Every name that users of other tools type is a method or is refused with a reason.
#include "quantize/method.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"

namespace lowbit {
namespace {

std::string error_of(const std::string& text) {
  try {
    parse_method(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// The lines of names.txt.
struct Listed {
  std::string name, tool, meaning;  // meaning "": an error that holds `parts`
  std::vector<std::string> parts = {};
};

std::vector<Listed> listed_names() {
  const std::string path = std::string(LB_SOURCE_DIR) + "/tests/formats/names.txt";
  const Bytes file = map_file(path);
  std::vector<Listed> names;
  std::string tool;
  for (const std::string_view line : split(file.text(), '\n')) {
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[') {
      tool = line.substr(1, line.size() - 2);
      continue;
    }
    const size_t equal = line.find(" = "), no = line.find(" ! ");
    LB_CHECK(equal != no, "{}", line);
    Listed& listed = names.emplace_back();
    listed.name = line.substr(0, std::min(equal, no));
    listed.tool = tool;
    const std::string_view rest = line.substr(listed.name.size() + 3);
    if (equal < no) {
      listed.meaning = rest;
      continue;
    }
    for (const std::string_view part : split(rest, '|')) listed.parts.emplace_back(trim(part));
  }
  return names;
}

TEST(Methods, EveryNameOfOtherToolsMeansWhatTheListSays) {
  const std::vector<Listed> names = listed_names();
  EXPECT_GE(names.size(), 250u);
  for (const Listed& listed : names) {
    if (listed.meaning.empty()) continue;
    ASSERT_EQ(error_of(listed.name), "") << listed.name;
    const Method method = parse_method(listed.name);
    EXPECT_EQ(description(method), listed.meaning) << listed.name;
    EXPECT_EQ(method.asked, listed.name);
    if (listed.tool == "lowbit") {
      EXPECT_EQ(method.tool, "") << listed.name;
    } else {
      EXPECT_NE(method.tool.find(listed.tool), std::string_view::npos)
          << listed.name << ": " << method.tool;
    }
  }
}

// The reason, and something that works instead.
TEST(Methods, NamesWithoutAnImplementationSayWhy) {
  for (const Listed& listed : listed_names()) {
    if (!listed.meaning.empty()) continue;
    const std::string error = error_of(listed.name);
    EXPECT_NE(error.find(listed.name), std::string::npos) << listed.name << ": " << error;
    EXPECT_EQ(error.find("unknown format `" + listed.name), std::string::npos) << error;
    for (const std::string& part : listed.parts) {
      EXPECT_NE(error.find(part), std::string::npos) << part << "\n  in " << error;
    }
  }
}

TEST(Methods, SuitesDifferInWhichLayersTheyMean) {
  for (const Listed& listed : listed_names()) {
    if (listed.meaning.empty() || listed.meaning == "bf16") continue;
    if (listed.tool != "low-bit-inference") continue;
    EXPECT_EQ(parse_method(listed.name).scope.head, "bf16") << listed.name;
    EXPECT_EQ(parse_method(listed.name).scope.embedding, "stored") << listed.name;
  }
  for (const char* name : {"int8wo", "int4wo-64", "float8dq", "rowwise", "marlin"}) {
    EXPECT_EQ(parse_method(name).scope.head, "same") << name;
  }
  EXPECT_EQ(parse_method("embed-int8wo").scope.head, "stored");
  EXPECT_EQ(parse_method("embed-int8wo").scope.embedding, "int8-g64-sbf16");
  EXPECT_TRUE(parse_method("int8dq_prefill_wo_decode").scope.prefill_only);
  EXPECT_EQ(parse_method("int8dq+semi-structured").scope.include, "feed_forward");
  EXPECT_EQ(parse_method("int8dq+semi-structured").scope.others, "int8-sbf16+int8");
  EXPECT_EQ(parse_method("marlin+semi-structured").scope.include, "feed_forward,attention");
  EXPECT_EQ(parse_method("sparse-marlin").scope.include, "");
}

TEST(Methods, NotesSayWhatAnotherToolMeansByTheName) {
  const std::pair<const char*, const char*> kNotes[] = {
      {"bf16_int4", "gemlite_exp:bf16_int4"},
      {"mxfp8_mxfp8", "per token"},
      {"bf16/bf16", "nothing is quantized"},
      {"marlin", "marlin_qqq"},
      {"Q4_K", "Q4_K_M"},
      {"Q5_K", "Q5_K_M"},
      {"Q3_K", "Q3_K_M"},
      {"Q2_K", "Q2_K_S"},
      {"int8wo+bsr-0.5-32", "no kernel here skips"},
      {"fp6", "torchao:fp6"},
  };
  for (const auto& [name, part] : kNotes) {
    EXPECT_NE(parse_method(name).note.find(part), std::string::npos)
        << name << ": " << parse_method(name).note;
  }
}

TEST(Methods, NamesOfTheHarnessPrepareTheWeights) {
  EXPECT_TRUE(parse_method("awq-int4-128").prepare.awq);
  EXPECT_TRUE(parse_method("awq").prepare.awq);
  EXPECT_TRUE(parse_method("spinquant-int8dq").prepare.rotate);
  EXPECT_EQ(parse_method("int8wo+bsr-0.5-32").prepare.prune, (BlockSparsity{0.5, 32}));
}

TEST(Methods, AutoroundReadsTheFieldsOfTheHarness) {
  const Method plain = parse_method("autoround");
  EXPECT_EQ(description(plain), "int4-g128 by autoround");
  EXPECT_EQ(plain.iterations, 0);
  EXPECT_EQ(plain.scope.head, "bf16");
  EXPECT_NE(plain.note.find("--calibration"), std::string::npos);
  const Method all = parse_method("autoround-cuda-1-50-64-8-2048-128-1-0");
  EXPECT_EQ(description(all), "int4 by autoround");
  EXPECT_EQ(all.iterations, 50);
  EXPECT_EQ(all.scope.head, "same");
  for (const char* field : {"No effect here: device, batch_size, seqlen, nsamples"}) {
    EXPECT_NE(all.note.find(field), std::string::npos) << all.note;
  }
  EXPECT_EQ(parse_method("autoround-cpu-0-7").iterations, 7);
}

TEST(Methods, OurOwnNamesMeanThemselves) {
  for (const FormatRow& row : kFormats) {
    const Method method = parse_method(row.name);
    EXPECT_EQ(method.formats.weights, row.defaults);
    EXPECT_EQ(method.quantizer->name, "rtn");
    EXPECT_EQ(method.tool, "");
    EXPECT_EQ(method.scope, MethodScope{});
  }
  for (const FormatAlias& alias : kAliases) {
    EXPECT_EQ(parse_method(alias.alias).formats.weights, parse_format(alias.name)) << alias.alias;
  }
  EXPECT_EQ(description(parse_method("int4-g32+bf16")), "int4-g32+bf16");
  EXPECT_EQ(description(parse_method("fp8_e4m3+fp8")), "fp8+fp8");
  // Two tools have formats of ours as names, with rules of their own.
  EXPECT_NE(parse_method("fp6").note.find("torchao:fp6"), std::string::npos);
}

TEST(Methods, EveryRowOfTheTableResolvesOrHasAReason) {
  std::set<std::string> seen;
  for (const MethodGroup& group : method_groups()) {
    for (const MethodRow& row : group.rows) {
      EXPECT_TRUE(seen.insert(fmt::format("{}:{}", group.qualifier, row.pattern)).second)
          << row.pattern;
      EXPECT_EQ(row.formats.empty() && row.note.empty(), false) << row.pattern;
      std::string name(row.pattern);
      const std::pair<std::string, std::string> kExamples[] = {
          {"{n}", "4"},
          {"{g}", "64"},
          {"{p}", "32"},
          {"{*}", row.quantizer == "autoround" ? "" : "x"}};
      for (const auto& [placeholder, example] : kExamples) {
        const size_t at = name.find(placeholder);
        if (at != std::string::npos) name.replace(at, placeholder.size(), example);
      }
      const std::string error = error_of(fmt::format("{}:{}", group.qualifier, name));
      EXPECT_EQ(error.empty(), !row.formats.empty()) << name << " " << error;
    }
  }
}

TEST(Methods, APlaceForOneFormatTakesNamesThatMeanOne) {
  EXPECT_EQ(parse_one_format("int4wo-64").formats.weights, parse_format("int4"));
  EXPECT_EQ(parse_one_format("int4wo-64").quantizer->name, "torchao-0.9.0");
  EXPECT_EQ(parse_cache_name("int8wo"), parse_cache_format("int8-sbf16"));
  EXPECT_EQ(parse_cache_name("int8-sf32"), parse_cache_format("int8-sf32"));
  EXPECT_EQ(parse_cache_name("Q8_0"), parse_cache_format("q8_0"));
  const std::pair<const char*, const char*> kRows[] = {
      {"int8dq", "write int8-sbf16"},
      {"int8+int8", "write int8"},
      {"marlin+semi", "write int4-g128-sym-sf16-24"},
      {"embed-int8wo", "write int8-g64-sbf16"},
      {"Q4_K_M", "write q4_k"},
      {"awq-uint4-64", "write int4, and --prepare awq beside it"},
      {"int8wo-spinquant", "write int8-sbf16, and --prepare spinquant"},
  };
  for (const auto& [name, part] : kRows) {
    try {
      parse_one_format(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

TEST(Methods, UnknownNamesAreErrorsWithSuggestions) {
  const std::pair<const char*, const char*> kRows[] = {
      {"int9", "unknown format `int9`, did you mean `int8`, `int7` or `int6`"},
      {"int8w", "`int8wo`"},
      {"int4wo-65x", "`int4wo-64`"},
      {"int4wo", "unknown format `int4wo`, did you mean `int4wo-64` or `int4wo-64-hqq` or "},
      {"uintx", "`uintx-8-64` or `uintx-4-64`"},
      {"gemlitewo", "`gemlitewo-4-64`"},
      {"int8_dynamic_activation_intx_weight", "`int8_dynamic_activation_intx_weight-4-64-false`"},
      {"hqq-0.2.8", "--quantizer hqq-0.2.8"},
      {"bf16_in8", "`bf16_int8`"},
      {"Int8WeightOnlyConfg", "`Int8WeightOnlyConfig`"},
      {"A16W4_HQQ_IN", "`A16W4_HQQ_INT`"},
      {"", "unknown format ``"},
      {"int4wo-48", "power of two"},
      {"codebook-4-64", "unknown parameter `-4`; codebook takes -g8 to -g256"},
      {"codebook+codebook", "cannot hold activations"},
      {"spinquant-int44", "unknown format `int44`"},
      {"uintx-9-64", "did you mean `uintx-8-64` or `uintx-4-64`"},
      {"torchao_exp:bf16_int1", "torchao_exp has no method `bf16_int1`"},
      {"toarchao:fp6", "unknown tool `toarchao`, did you mean `torchao`"},
      {"fp8-asym", "unknown parameter `-asym`"},
      {"int8+int3", "cannot hold activations"},
      {"+int8", "a side of the pair `+int8` is empty"},
      {" + int8", "a side of the pair `"},
      {"int8+", "a side of the pair `"},
      {"+", "a side of the pair `"},
  };
  for (const auto& [name, part] : kRows) {
    EXPECT_NE(error_of(name).find(part), std::string::npos) << name << ": " << error_of(name);
  }
}

}  // namespace
}  // namespace lowbit
