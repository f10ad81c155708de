// The quality figures of docs/results: whole, and sane.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "app/options.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/quality_table.h"
#include "quantize/method.h"

namespace lowbit {
namespace {

const std::string kSource = LB_SOURCE_DIR;

// A row of a table, as a config asks for it and as a record names it.
struct Row {
  std::string format, quantizer, cache;
  auto operator<=>(const Row&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Row& row) {
  return out << row.format << (row.quantizer.empty() ? "" : "@" + row.quantizer) << ", cache "
             << row.cache;
}

// The committed table `name` of the file configs/quality/`config`.
struct Table {
  std::string name, config;
  QualityConfig asked = {};
  std::vector<Record> records = {};

  Table(std::string table, std::string file) : name(std::move(table)), config(std::move(file)) {
    apply_yaml(kSource + "/configs/quality/" + config, asked);
    records = read_records(kSource + "/docs/results/" + name + ".jsonl");
  }

  std::string how_to_measure() const {
    const std::string out = "docs/results/" + name;
    return fmt::format(
        "measure it (only what is absent is scored):\n  lowbit quality configs/quality/{} "
        "text=FILE known={}.jsonl out={}.jsonl markdown={}.md plot={}.svg",
        config, out, out, out, out);
  }

  const Record* find(const Row& row) const {
    for (const Record& record : records) {
      const Row its = {record.format, record.config_text("quantizer"),
                       record.config_text("kv_format")};
      if (its == row && record.status == Status::kOk) return &record;
    }
    return nullptr;
  }
  const Record* weights(const std::string& format, const std::string& quantizer = "rtn") const {
    return find({format, quantizer, "bf16"});
  }
};

const Table& formats_table() {
  static const Table table("quality-prose-7m", "every-format.yaml");
  return table;
}
const Table& quantizers_table() {
  static const Table table("quantizers-prose-7m", "quantizers.yaml");
  return table;
}

double kl(const Record& record) { return record.find("kl_mean")->median; }
double most_kl(const Record& record) { return record.find("kl_mean")->hi; }

TEST(QualityResults, EveryRowThatAConfigAsksForWasMeasured) {
  for (const Table* table : {&formats_table(), &quantizers_table()}) {
    std::set<Row> rows;
    for (const std::string& text : table->asked.formats) {
      const size_t at = text.find('@');
      const Method method = parse_method(text.substr(0, at));
      rows.insert(
          {name(method.formats),
           at == std::string::npos ? std::string(method.quantizer->name) : text.substr(at + 1),
           "bf16"});
    }
    for (const std::string& cache : table->asked.kv_formats) rows.insert({"stored", "", cache});
    for (const Row& row : rows) {
      EXPECT_TRUE(table->find(row)) << row << " has no row; " << table->how_to_measure();
    }
    ASSERT_TRUE(table->find({"stored", "", "bf16"}));
  }
}

TEST(QualityResults, TablesAndPlotsAreWhatTheRecordsSay) {
  for (const Table* table : {&formats_table(), &quantizers_table()}) {
    const std::string file = kSource + "/docs/results/" + table->name;
    EXPECT_EQ(quality_markdown(table->records, table->asked.notes), map_file(file + ".md").text());
    EXPECT_EQ(quality_svg(table->records), map_file(file + ".svg").text());
  }
}

TEST(QualityResults, ARowSaysWhichTextItsQuantizerLookedAt) {
  int32_t said = 0;
  for (const Record& record : quantizers_table().records) {
    const std::string named = record.config_text("named");
    const Quantizer& quantizer =
        find_quantizer(record.format == "stored" ? "rtn" : record.config_text("quantizer"));
    const bool looks = quantizer.needs != Needs::kNothing || named.starts_with("awq");
    EXPECT_EQ(!record.config_text("calibration").empty(), looks) << record.config.dump();
    said += looks;
  }
  EXPECT_GE(said, 20);
}

// Weights and activations by family; none: weights alone.
using Pair = std::pair<FormatId, std::optional<FormatId>>;

std::string text_of(const Pair& pair) {
  const std::string weights(row_of(pair.first).name);
  return pair.second ? weights + "+" + std::string(row_of(*pair.second).name) : weights;
}

// A format of a method's row, with numbers where its names have {n} and {g}.
std::string with_numbers(std::string_view formats) {
  std::string text(formats);
  for (const auto& [hole, number] : {std::pair{"{n}", "4"}, std::pair{"{g}", "g64"}}) {
    for (size_t at; (at = text.find(hole)) != std::string::npos;) text.replace(at, 3, number);
  }
  return text;
}

// Adding a format without its price in quality fails here. Caches: every format of rows.
TEST(QualityResults, EveryFormatActivationPairAndCacheIsInTheConfig) {
  std::set<Pair> wanted, asked;
  std::set<FormatId> read, wanted_caches, asked_caches;
  for (const FormatRow& row : kFormats) {
    const FormatId id = row.defaults.id;
    if (row.params.weights && id != FormatId::kF32) wanted.insert({id, {}});
    if (id == FormatId::kBF16) continue;  // the default
    try {
      wanted_caches.insert(parse_cache_name(row.name).id);
    } catch (const Error&) {  // not a format of rows
    }
  }
  for (const MethodGroup& group : method_groups()) {
    for (const MethodRow& row : group.rows) {
      if (row.formats.find('+') == std::string_view::npos) continue;
      const FormatPair pair = parse_format_pair(with_numbers(row.formats));
      if (pair.activations->quantized()) wanted.insert({pair.weights.id, pair.activations->id});
    }
  }
  for (const std::string& text : formats_table().asked.formats) {
    const FormatPair pair = parse_method(text).formats;
    std::optional<FormatId> activations;
    if (pair.activations) read.insert(*(activations = pair.activations->id));
    asked.insert({pair.weights.id, activations});
  }
  for (const std::string& cache : formats_table().asked.kv_formats) {
    asked_caches.insert(parse_cache_name(cache).id);
  }
  const std::string add = " is not in configs/quality/every-format.yaml; add it there, then " +
                          formats_table().how_to_measure();
  for (const Pair& pair : wanted) EXPECT_TRUE(asked.contains(pair)) << text_of(pair) << add;
  for (const FormatRow& row : kFormats) {
    if (!row.params.activations || !row.defaults.quantized()) continue;
    EXPECT_TRUE(read.contains(row.defaults.id)) << "a pair with activations " << row.name << add;
  }
  for (const FormatId id : wanted_caches) {
    EXPECT_TRUE(asked_caches.contains(id)) << "the cache " << row_of(id).name << add;
  }
}

// Each no worse than the next, whose numbers are coarser and the rest alike.
constexpr const char* kWeightChains[] = {
    "int8-g64 int7 int6 int5 int4 int3 int2 int1",
    "int4-g32 int3-g32 int2-g32",
    "int4-sym int4-sym-24",
    "int8-24 int4-sym-24",
    "fp8 fp6 fp5 fp4 fp3",
    "fp8 fp6-e2m3 fp5 fp4",
    "fp6 fp5-e3m1 fp4-e3m0",
    "mxfp8 mxfp6 mxfp4",
    "q8_0 q5_0 q4_0",
    "q5_1 q4_1",
    "q6_k q5_k q4_k q3_k q2_k",
    "mxfp8+mxfp8 mxfp6+mxfp6 mxfp4+mxfp4",
    "mxfp8+fp8 mxfp4+fp8",
    "int4+fp8 int2+fp8",
};
constexpr const char* kCacheChains[] = {
    "int8 int6 int4 int3", "int4-g32 int4", "fp8 fp6", "mxfp8 mxfp6 mxfp4", "q8_0 q5_0 q4_0",
};

template <size_t kCount, class Find>
void expect_falling(const char* const (&chains)[kCount], const Find& find) {
  for (const char* chain : chains) {
    const Record* finer = nullptr;
    for (const std::string_view name : split(chain, ' ')) {
      const Record* record = find(std::string(name));
      ASSERT_TRUE(record) << name;
      if (finer) {
        EXPECT_LE(kl(*finer), most_kl(*record)) << name << " in: " << chain;
      }
      finer = record;
    }
  }
}

// Where the figures go against what a reader expects, a note below the table names both and why.
struct Surprises {
  const Table& table;
  std::set<std::string> used = {};

  void expect_no_worse(const Record& one, const std::string& its_name, const Record& other,
                       const std::string& other_name, double limit) {
    if (kl(one) <= limit) return;
    for (const std::string& note : table.asked.notes) {
      const bool names_both = note.find("`" + its_name + "`") != std::string::npos &&
                              note.find("`" + other_name + "`") != std::string::npos;
      if (!names_both) continue;
      used.insert(note);
      return;
    }
    ADD_FAILURE() << its_name << " has a KL of " << kl(one) << " and " << other_name << " of "
                  << kl(other) << "; a note in configs/quality/" << table.config
                  << " has to say why";
  }
  void expect_all_used() const {
    for (const std::string& note : table.asked.notes) {
      EXPECT_TRUE(used.contains(note)) << "explains nothing: " << note;
    }
  }
};

// Whether they are one format but for blocks, those of `fine` being parts of those of `coarse`.
bool has_smaller_blocks(const Format& fine, const Format& coarse) {
  const auto within = [](int32_t a, int32_t b) { return b == 0 || (a != 0 && a <= b); };
  Format same = fine;
  same.block = coarse.block;
  same.scale = coarse.scale;
  return same == coarse && fine.block != coarse.block && within(fine.block.n, coarse.block.n) &&
         within(fine.block.k, coarse.block.k);
}

TEST(QualityResults, LargerBlocksAreNoBetterUnlessANoteSaysWhy) {
  Surprises surprises{formats_table()};
  int32_t compared = 0;
  for (const std::string& fine : formats_table().asked.formats) {
    for (const std::string& coarse : formats_table().asked.formats) {
      const Method a = parse_method(fine), b = parse_method(coarse);
      if (a.formats.activations || b.formats.activations || !a.tool.empty() || !b.tool.empty()) {
        continue;
      }
      if (!has_smaller_blocks(a.formats.weights, b.formats.weights)) continue;
      const Record *finer = formats_table().weights(fine),
                   *coarser = formats_table().weights(coarse);
      ASSERT_TRUE(finer && coarser) << fine << " " << coarse;
      surprises.expect_no_worse(*finer, fine, *coarser, coarse, most_kl(*coarser));
      ++compared;
    }
  }
  EXPECT_GE(compared, 20);
  surprises.expect_all_used();
}

TEST(QualityResults, FewerBitsOfOneFamilyAreNoBetter) {
  const Table& table = formats_table();
  expect_falling(kWeightChains, [&](const std::string& name) { return table.weights(name); });
  expect_falling(kCacheChains, [&](const std::string& name) {
    return table.find({"stored", "", name});
  });
}

TEST(QualityResults, QuantizedActivationsAreNoBetterThanPlainOnes) {
  int32_t compared = 0;
  for (const Record& record : formats_table().records) {
    const size_t plus = record.format.find('+');
    if (plus == std::string::npos) continue;
    const Record* plain = formats_table().weights(record.format.substr(0, plus));
    if (!plain) continue;
    EXPECT_LE(kl(*plain), most_kl(record)) << record.format;
    ++compared;
  }
  EXPECT_GE(compared, 10);
}

TEST(QualityResults, EightBitIntegersAreWithinTheNoiseOfBf16) {
  const Record* bf16 = formats_table().weights("bf16");
  ASSERT_TRUE(bf16);
  for (const char* name : {"int8", "int8-g64", "int8-asym", "q8_0"}) {
    const Record* record = formats_table().weights(name);
    ASSERT_TRUE(record) << name;
    const double ratio = record->find("perplexity")->median / bf16->find("perplexity")->median;
    EXPECT_LT(std::abs(ratio - 1), 5e-4) << name;
    EXPECT_LT(most_kl(*record), 5e-4) << name;
    EXPECT_GT(record->find("top1_agreement")->lo, 0.985) << name;
  }
}

// By the mean alone: both were scored on the same tokens, so that what is common to their errors
// must not excuse a difference.
TEST(QualityResults, HqqIsNoWorseThanRoundToNearestUnlessANoteSaysWhy) {
  Surprises surprises{quantizers_table()};
  std::set<std::string> compared;
  for (const Record& record : quantizers_table().records) {
    if (!record.config_text("quantizer").starts_with("hqq") || record.config.contains("named")) {
      continue;
    }
    const Record* nearest = quantizers_table().weights(record.format);
    ASSERT_TRUE(nearest) << record.format << " has no row of rtn; "
                         << quantizers_table().how_to_measure();
    const std::string its = record.format + "@" + record.config_text("quantizer");
    surprises.expect_no_worse(record, its, *nearest, record.format, kl(*nearest));
    compared.insert(record.format);
  }
  for (const char* bits : {"int4", "int3", "int2"}) {
    for (const char* group : {"-g32", "", "-g128"}) {
      EXPECT_TRUE(compared.contains(std::string(bits) + group)) << bits << group;
    }
  }
  EXPECT_TRUE(compared.contains("int1-rzero"));
  surprises.expect_all_used();
}

}  // namespace
}  // namespace lowbit
