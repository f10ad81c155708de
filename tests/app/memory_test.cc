// Peak memory of a load: the weights plus what is in work, never a second copy of the model.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "app/run_lowbit.h"
#include "load/files.h"

namespace lowbit {
namespace {

using fixtures::Outcome;
using fixtures::run_binary;
using fixtures::TempFolder;
using nlohmann::ordered_json;

constexpr int64_t kHidden = 1024, kInner = 4096, kLayers = 4, kVocab = 4096;
constexpr int64_t kLargest = 2 * kInner * kHidden * 2;  // gate and up stacked, bf16
constexpr int64_t kSlack = 24 << 20;                    // the program itself, caches, buffers

// Zeros, as a sparse file: quick to write, and every page counts once it is read.
int64_t write_model(const TempFolder& folder) {
  const ordered_json config = {{"architectures", {"LlamaForCausalLM"}},
                               {"hidden_size", kHidden},
                               {"intermediate_size", kInner},
                               {"num_hidden_layers", kLayers},
                               {"num_attention_heads", 16},
                               {"num_key_value_heads", 16},
                               {"vocab_size", kVocab},
                               {"max_position_embeddings", 256}};
  folder.write("config.json", config.dump());
  ordered_json header = ordered_json::object();
  int64_t offset = 0;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t bytes = 2;
    for (const int64_t size : shape) bytes *= size;
    header[name] = {
        {"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  };
  add("model.embed_tokens.weight", {kVocab, kHidden});
  add("lm_head.weight", {kVocab, kHidden});
  add("model.norm.weight", {kHidden});
  for (int64_t i = 0; i < kLayers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      add(layer + "self_attn." + name + ".weight", {kHidden, kHidden});
    }
    add(layer + "mlp.gate_proj.weight", {kInner, kHidden});
    add(layer + "mlp.up_proj.weight", {kInner, kHidden});
    add(layer + "mlp.down_proj.weight", {kHidden, kInner});
    add(layer + "input_layernorm.weight", {kHidden});
    add(layer + "post_attention_layernorm.weight", {kHidden});
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::string path = folder.write("model.safetensors", fixtures::safetensors(text, ""));
  EXPECT_EQ(::truncate(path.c_str(), static_cast<off_t>(8 + text.size()) + offset), 0);
  return offset;
}

class PeakMemory : public testing::TestWithParam<const char*> {};

TEST_P(PeakMemory, IsTheWeightsPlusWhatIsInWork) {
#ifdef LB_SANITIZED
  GTEST_SKIP() << "sanitizers use memory of their own";
#endif
  const TempFolder folder;
  const int64_t file_bytes = write_model(folder);
  const std::string format = GetParam();
  const Outcome plan = run_binary({"inspect", folder.path(), "--format", format, "-o", "json"});
  ASSERT_EQ(plan.code, 0) << plan.err;
  const auto memory = nlohmann::json::parse(plan.out)["memory"]["total"].get<int64_t>();
  EXPECT_LT(plan.peak_bytes, 48 << 20) << "a plan reads no weights";

  const Outcome run = run_binary({"generate", "--model", folder.path(), "--prompt-ids", "1",
                                  "--ids", "--max-new-tokens", "1", "--format", format});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_LT(run.peak_bytes, memory + kLargest + kSlack)
      << "weights " << memory << ", file " << file_bytes;
  // The token table is not read in full.
  EXPECT_GT(run.peak_bytes, memory - kVocab * kHidden * 2) << "the measurement misses the weights";
  RecordProperty("peak_bytes", std::to_string(run.peak_bytes));
  std::printf("%s: weights %.1f MB, peak %.1f MB\n", format.c_str(),
              static_cast<double>(memory) / 1e6, static_cast<double>(run.peak_bytes) / 1e6);
}

INSTANTIATE_TEST_SUITE_P(Formats, PeakMemory, testing::Values("bf16", "int8"),
                         [](const auto& format) { return std::string(format.param); });

// `lowbit quantize` reads, quantizes and writes tensor by tensor.
TEST(QuantizeMemory, IsOneLayerHoweverManyThereAre) {
#ifdef LB_SANITIZED
  GTEST_SKIP() << "sanitizers use memory of their own";
#endif
  constexpr int64_t kLayer = (4 * kHidden + 3 * kInner) * kHidden * 2;  // bf16
  const TempFolder folder, target;
  const int64_t file_bytes = write_model(folder);
  const std::string out = target.path() + "/q";
  const Outcome run =
      run_binary({"quantize", folder.path(), "--format", "int8", "--out", out, "-o", "json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto written = nlohmann::json::parse(run.out)["bytes"].get<int64_t>();
  EXPECT_LT(run.peak_bytes, kLayer + kSlack) << "file " << file_bytes << ", written " << written;
  // The bound is worth something: neither what was read nor what was written fits under it.
  EXPECT_GT(std::min(file_bytes, written), kLayer + kSlack);
  std::printf("read %.1f MB, wrote %.1f MB, peak %.1f MB\n", static_cast<double>(file_bytes) / 1e6,
              static_cast<double>(written) / 1e6, static_cast<double>(run.peak_bytes) / 1e6);
}

}  // namespace
}  // namespace lowbit
