#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/hash.h"
#include "base/thread_pool.h"
#include "formats/codec.h"
#include "load/checkpoint.h"
#include "load/embedded.h"

namespace lowbit {
namespace {

const std::string kEmbed = "model.embed_tokens.weight";
const std::string kUp = "model.layers.0.mlp.up_proj.weight";
const std::string kDown = "model.layers.0.mlp.down_proj.weight";

uint64_t hash(const QTensor& tensor) {
  return fnv1a(std::span<const std::byte>(tensor.codes.data));
}

struct Moments {
  double mean = 0, deviation = 0, kurtosis = 0, largest = 0;
};
Moments moments(const std::vector<float>& numbers) {
  Moments m;
  const double count = static_cast<double>(numbers.size());
  for (const float x : numbers) m.mean += x / count;
  double second = 0, fourth = 0;
  for (const float x : numbers) {
    const double d = x - m.mean;
    second += d * d / count;
    fourth += d * d * d * d / count;
    m.largest = std::max(m.largest, std::abs(static_cast<double>(x)));
  }
  m.deviation = std::sqrt(second);
  m.kurtosis = fourth / (second * second);
  return m;
}

TEST(Synthetic, EveryShapeOfTheConfigsOpens) {
  const auto names = synthetic_names();
  for (const char* name :
       {"llama2-7b", "llama2-13b", "llama2-70b", "llama3-8b", "llama3-70b", "llama3.1-8b",
        "llama3.1-70b", "llama3.2-1b", "llama3.2-3b", "llama-1.1b", "tiny"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
  for (const std::string& name : names) {
    const auto checkpoint = open_checkpoint("synthetic:" + name);
    const Hyperparams& config = checkpoint->config();
    const int64_t heads = config.integer("num_attention_heads", 1, 1024);
    EXPECT_EQ(config.integer("head_dim", 1, 1024) * heads, config.integer("hidden_size", 1, 65536));
    EXPECT_EQ(heads % config.integer("num_key_value_heads", 1, 1024), 0) << name;
    EXPECT_EQ(config.text("model_type"), "llama");
    EXPECT_EQ(config.number("rms_norm_eps", 0, 1), 1e-5);
    EXPECT_TRUE(checkpoint->synthetic());
    EXPECT_TRUE(checkpoint->tensor_names().empty());
    EXPECT_TRUE(checkpoint->eos_ids().empty());
    EXPECT_EQ(checkpoint->tokenizer(), nullptr);
    EXPECT_EQ(checkpoint->has("lm_head.weight"), !config.boolean_or("tie_word_embeddings", false));
    EXPECT_FALSE(checkpoint->has("model.layers.0.self_attn.q_proj.bias"));
    EXPECT_FALSE(checkpoint->has("rope_freqs.weight"));
  }
  const auto llama31 = open_checkpoint("synthetic:llama3.1-8b");
  EXPECT_EQ(llama31->config().child("rope_scaling")->text("rope_type"), "llama3");
  EXPECT_EQ(llama31->config().child("rope_scaling")->number("factor", 1, 64), 8.0);
}

// The number of weights of the published models.
TEST(Synthetic, ShapesHaveTheParametersOfTheRealModels) {
  const auto parameters = [](const std::string& name) {
    const auto checkpoint = open_checkpoint("synthetic:" + name);
    const Hyperparams& c = checkpoint->config();
    const auto at = [&](const char* key) { return c.integer(key, 1, 1 << 20); };
    const int64_t hidden = at("hidden_size"), q = at("num_attention_heads") * at("head_dim");
    const int64_t kv = at("num_key_value_heads") * at("head_dim");
    const int64_t layer =
        hidden * (2 * q + 2 * kv) + 3 * hidden * at("intermediate_size") + 2 * hidden;
    const int64_t embeddings = checkpoint->has("lm_head.weight") ? 2 : 1;
    return at("num_hidden_layers") * layer + hidden + embeddings * hidden * at("vocab_size");
  };
  EXPECT_EQ(parameters("llama2-7b"), 6738415616);
  EXPECT_EQ(parameters("llama2-13b"), 13015864320);
  EXPECT_EQ(parameters("llama2-70b"), 68976648192);
  EXPECT_EQ(parameters("llama3-8b"), 8030261248);
  EXPECT_EQ(parameters("llama3-70b"), 70553706496);
  EXPECT_EQ(parameters("llama3.1-8b"), 8030261248);
  EXPECT_EQ(parameters("llama3.1-70b"), 70553706496);
  EXPECT_EQ(parameters("llama3.2-1b"), 1235814400);
  EXPECT_EQ(parameters("llama3.2-3b"), 3212749824);
  EXPECT_EQ(parameters("llama-1.1b"), 1100048384);
}

TEST(Synthetic, MatricesAreNormalAndNormsAreOne) {
  const auto checkpoint = open_checkpoint("synthetic:tiny");
  for (const std::string& name : {kEmbed, kUp}) {
    const Moments m = moments(decode_rows(checkpoint->tensor(name, 768, 256)));
    EXPECT_NEAR(m.mean, 0, 0.02 * 0.01);
    EXPECT_NEAR(m.deviation, 0.02, 0.02 * 0.01);
    EXPECT_NEAR(m.kurtosis, 2.7, 0.05);  // of base/rng.h's sum of four uniforms
    EXPECT_LT(m.largest, 0.02 * 3.48);
  }
  const Moments down = moments(decode_rows(checkpoint->tensor(kDown, 256, 768)));
  EXPECT_NEAR(down.deviation, 0.02 / std::sqrt(2.0 * 4), 0.0001);
  for (const float x : decode_rows(checkpoint->tensor("model.norm.weight", 1, 256))) {
    EXPECT_EQ(x, 1.0f);
  }
}

TEST(Synthetic, NumbersDependOnSeedAndNameOnly) {
  const auto numbers = [](const std::string& model, const std::string& name) {
    return hash(open_checkpoint(model)->tensor(name, 513, 257));
  };
  const int workers = thread_pool().workers();
  const uint64_t expected = numbers("synthetic:tiny", kUp);
  for (const int threads : {1, 2, 3, 7}) {
    set_threads(threads);
    EXPECT_EQ(numbers("synthetic:tiny", kUp), expected) << threads << " threads";
  }
  set_threads(workers);
  EXPECT_EQ(numbers("synthetic:tiny@0", kUp), expected);
  EXPECT_NE(numbers("synthetic:tiny@1", kUp), expected);
  EXPECT_NE(numbers("synthetic:tiny", kEmbed), expected);
  EXPECT_EQ(numbers("synthetic:llama3-8b", kUp), expected);  // the shape's name plays no part
}

// Results recorded with these weights stay comparable only as long as the numbers never change.
TEST(Synthetic, NumbersNeverChange) {
  const auto checkpoint = open_checkpoint("synthetic:tiny@42");
  EXPECT_EQ(hash(checkpoint->tensor(kEmbed, 512, 256)), 14270935354357008452u);
  EXPECT_EQ(hash(checkpoint->tensor(kDown, 256, 768)), 8732643159539449473u);
}

TEST(Synthetic, LayersHaveTheRowsOfTheFirstTurned) {
  const auto checkpoint = open_checkpoint("synthetic:tiny");
  constexpr int64_t kRows = 7, kColumns = 33;
  const std::string down = "mlp.down_proj.weight";
  const auto rows_of_layer = [&](int layer) {
    return decode_rows(
        checkpoint->tensor(fmt::format("model.layers.{}.{}", layer, down), kRows, kColumns));
  };
  const std::vector<float> first = rows_of_layer(0);
  for (const int layer : {1, 3, 10}) {
    const auto turned =
        checkpoint->turned_rows(fmt::format("model.layers.{}.{}", layer, down), kRows);
    ASSERT_TRUE(turned);
    EXPECT_EQ(turned->shared, "model.layers.0." + down);
    EXPECT_EQ(turned->first, layer % kRows);
    const std::vector<float> rows = rows_of_layer(layer);
    for (int64_t i = 0; i < kRows * kColumns; ++i) {
      const int64_t row = (i / kColumns + layer) % kRows;
      ASSERT_EQ(rows[i], first[row * kColumns + i % kColumns]) << layer << " " << i;
    }
  }
  for (const char* own : {"model.embed_tokens.weight", "lm_head.weight", "model.layers.x.weight",
                          "model.layers.3", "model.layers.2.input_layernorm.weight"}) {
    EXPECT_FALSE(checkpoint->turned_rows(own, kRows)) << own;
  }
}

TEST(Embedded, FilesAreByteForByteThoseOfTheRepository) {
  ASSERT_FALSE(embedded_files().empty());
  for (const EmbeddedFile& file : embedded_files()) {
    const Bytes original = map_file(LB_SOURCE_DIR "/" + std::string(file.path));
    EXPECT_TRUE(std::equal(file.begin, file.end, original.data.begin(), original.data.end()))
        << file.path;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file.begin) % 64, 0u);
  }
}

TEST(Embedded, AFolderOfEmbeddedFilesActsLikeOneOnDisk) {
  const auto folder = open_embedded_folder("configs/models/", "embedded:shapes");
  ASSERT_NE(folder, nullptr);
  EXPECT_EQ(folder->names(), open_folder(LB_SOURCE_DIR "/configs/models")->names());
  EXPECT_EQ(folder->open("tiny.yaml").text(),
            map_file(LB_SOURCE_DIR "/configs/models/tiny.yaml").text());
  EXPECT_FALSE(folder->find("absent"));
  EXPECT_THROW(folder->open("absent"), Error);
  EXPECT_EQ(open_embedded_folder("models/none/", "embedded:none"), nullptr);
}

TEST(Embedded, ModelsInTheBinaryOpen) {
  for (const std::string& name : embedded_names()) {
    const auto checkpoint = open_checkpoint("embedded:" + name);
    EXPECT_EQ(checkpoint->source(), "embedded:" + name);
    EXPECT_FALSE(checkpoint->tensor_names().empty());
    const auto hidden = checkpoint->config().integer("hidden_size", 1, 1 << 20);
    const auto vocab = checkpoint->config().integer("vocab_size", 1, 1 << 20);
    EXPECT_NO_THROW(checkpoint->tensor("model.embed_tokens.weight", vocab, hidden));
  }
}

TEST(Synthetic, TheHashIsOfItsShapeAndItsSeed) {
  const std::string hash = open_checkpoint("synthetic:tiny")->hash();
  EXPECT_EQ(open_checkpoint("synthetic:tiny@0")->hash(), hash);
  EXPECT_NE(open_checkpoint("synthetic:tiny@1")->hash(), hash);
  EXPECT_NE(open_checkpoint("synthetic:llama3.1-8b")->hash(), hash);
}

}  // namespace
}  // namespace lowbit
