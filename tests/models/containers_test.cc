// One model in several containers. A Hugging Face folder and the GGUF file made from it (F16, rows
// of q and k permuted as llama.cpp's converter does) give the same logits, bit for bit.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "backends.h"
#include "engine/loaded_model.h"
#include "engine/stepper.h"
#include "load/embedded.h"
#include "load/torch_files.h"

namespace lowbit {
namespace {

const std::string kGolden = LB_SOURCE_DIR "/tests/golden/";

std::vector<float> logits_of(const std::string& model, const Backend& backend,
                             const LoadOptions& options = {}) {
  const bool golden = model[0] != '/' && !model.starts_with("embedded:");
  const LoadedModel loaded = load(golden ? kGolden + model : model, backend, options);
  Stepper stepper(*loaded.model, backend, {.max_context = 16});
  const std::vector<int32_t> tokens{1, 2, 3, 40, 5, 60, 7, 8};
  const Chunk chunk{0, tokens, static_cast<int32_t>(tokens.size())};
  stepper.step(std::span(&chunk, 1));
  const std::span<const float> logits = stepper.logits();
  return {logits.begin(), logits.end()};
}

TEST(Containers, FolderAndGgufGiveTheSameLogits) {
  for (const Backend* backend : backends()) {
    const std::vector<float> folder = logits_of("gguf/source", *backend);
    EXPECT_EQ(folder, logits_of("gguf/f16.gguf", *backend)) << backend->name;
    // The f32 file also carries rope factors, so equal logits there would mean that nobody read
    // them.
    EXPECT_NE(folder, logits_of("gguf/f32.gguf", *backend)) << backend->name;
  }
}

// Files of PyTorch: two shards as Hugging Face writes them, and the llama harness's model.pth.
TEST(Containers, FilesOfPyTorchGiveTheSameLogits) {
  for (const Backend* backend : backends()) {
    const std::vector<float> folder = logits_of("gguf/source", *backend);
    for (const char* model : {"torch/sharded", "torch/gpt-fast", "torch/gpt-fast/model.pth"}) {
      EXPECT_EQ(folder, logits_of(model, *backend)) << model << " on " << backend->name;
    }
  }
}

// Rows of q or k with their rotary pairs side by side, as gpt-fast has them.
std::string interleaved(const QTensor& t, int64_t heads) {
  const auto row_bytes = static_cast<size_t>(t.k) * sizeof(uint16_t);
  const char* rows = reinterpret_cast<const char*>(t.codes.data.data());
  const int64_t half = t.n / heads / 2;
  std::string out;
  for (int64_t row = 0; row < t.n; ++row) {
    const int64_t head = row / (2 * half), pair = row / 2 % half;
    const int64_t from = head * 2 * half + row % 2 * half + pair;
    out.append(rows + static_cast<size_t>(from) * row_bytes, row_bytes);
  }
  return out;
}

// The embedded model as the harness's converter would store it, in a folder without its name.
class EmbeddedAsGptFast {
 public:
  EmbeddedAsGptFast()
      : path_(std::filesystem::temp_directory_path() / ("lb_pth_" + std::to_string(getpid()))),
        from_(open_checkpoint("embedded:prose-7m")) {
    std::filesystem::create_directories(path_);
    add("tok_embeddings", "model.embed_tokens", 4096, 256);
    add("norm", "model.norm", 1, 256);
    for (int i = 0; i < 8; ++i) add_layer(i);
    std::ofstream(path_ / "model.pth", std::ios::binary) << fixtures::torch_file(tensors_);
    std::ofstream(path_ / "config.json") << from_->config_json();
    for (const SideFile& file : from_->side_files()) {
      std::ofstream(path_ / file.name, std::ios::binary) << file.data.text();
    }
  }
  ~EmbeddedAsGptFast() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::string bytes(const std::string& hf, int64_t n, int64_t k) const {
    return std::string(from_->tensor(hf + ".weight", n, k).codes.text());
  }
  void add_bytes(const std::string& name, std::vector<int64_t> shape, std::string data) {
    tensors_.push_back({name + ".weight", "BFloat16Storage", std::move(shape), std::move(data)});
  }
  void add(const std::string& name, const std::string& hf, int64_t n, int64_t k) {
    add_bytes(name, n == 1 ? std::vector{k} : std::vector{n, k}, bytes(hf, n, k));
  }
  void add_layer(int i) {
    const std::string to = "layers." + std::to_string(i) + ".", from = "model." + to;
    const auto q = from_->tensor(from + "self_attn.q_proj.weight", 256, 256);
    const auto k = from_->tensor(from + "self_attn.k_proj.weight", 128, 256);
    add_bytes(to + "attention.wqkv", {512, 256},
              interleaved(q, 4) + interleaved(k, 2) + bytes(from + "self_attn.v_proj", 128, 256));
    add(to + "attention.wo", from + "self_attn.o_proj", 256, 256);
    add(to + "feed_forward.w1", from + "mlp.gate_proj", 768, 256);
    add(to + "feed_forward.w3", from + "mlp.up_proj", 768, 256);
    add(to + "feed_forward.w2", from + "mlp.down_proj", 256, 768);
    add(to + "attention_norm", from + "input_layernorm", 1, 256);
    add(to + "ffn_norm", from + "post_attention_layernorm", 1, 256);
  }

  std::filesystem::path path_;
  std::unique_ptr<Checkpoint> from_;
  std::vector<fixtures::TorchTensor> tensors_;
};

TEST(Containers, TheEmbeddedModelAsModelPthGivesTheSameLogits) {
  if (embedded_names().empty()) GTEST_SKIP() << "no model is linked into this binary";
  const EmbeddedAsGptFast folder;
  for (const Backend* backend : backends()) {
    EXPECT_EQ(logits_of(folder.path(), *backend, {}), logits_of("embedded:prose-7m", *backend, {}));
  }
  const auto tokenizer = open_checkpoint(folder.path())->tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(open_checkpoint(folder.path())->eos_ids(), std::vector<int32_t>{4095});
}

// What a plan without weights promises, and what the model computes with the codes as stored, holds
// of the numbers that they stand for.
TEST(Containers, WeightsOfOtherToolsRunAsTheNumbersThatTheyHold) {
  std::vector<std::string> models = {"gguf/blocks.gguf"};
  for (const auto& entry : std::filesystem::directory_iterator(kGolden + "quantized")) {
    models.push_back("quantized/" + entry.path().filename().string());
  }
  EXPECT_GE(models.size(), 30u);
  LoadOptions decoded, plan;
  decoded.set_format(parse_format_pair("f32"));
  plan.plan_only = true;
  for (const Backend* backend : backends()) {
    for (const std::string& model : models) {
      SCOPED_TRACE(model + " on " + std::string(backend->name));
      EXPECT_EQ(load(kGolden + model, *backend, plan).model->memory().total(),
                load(kGolden + model, *backend, {}).model->memory().total());
      const std::vector<float> stored = logits_of(model, *backend);
      const std::vector<float> numbers = logits_of(model, *backend, decoded);
      ASSERT_EQ(stored.size(), numbers.size());
      float largest = 0, error = 0;
      for (size_t i = 0; i < stored.size(); ++i) {
        largest = std::max(largest, std::abs(numbers[i]));
        error = std::max(error, std::abs(stored[i] - numbers[i]));
      }
      // Where no kernel reads a format, its numbers are rounded to bf16.
      EXPECT_LE(error, largest * (backend->name == "ref" ? 1e-5f : 3e-2f));
    }
  }
}

// llama.cpp's mixtures keep v in more bits than q and k: none of them is decoded for it.
TEST(Containers, PartsOfOneLinearKeepFormatsOfTheirOwn) {
  const LoadedModel loaded = load(kGolden + "gguf/blocks.gguf", *backends()[0], {});
  std::vector<std::string> formats;
  for (const Linear* linear : loaded.model->linears()) {
    formats.push_back(fmt::format("{} {} {}", linear->name, linear->n, name(linear->format)));
  }
  EXPECT_EQ(formats,
            (std::vector<std::string>{"layers.0.qkv 64 q4_k", "layers.0.qkv 32 q5_k",
                                      "layers.0.qkv 32 q6_k", "layers.0.o 256 nvfp4",
                                      "layers.0.gate_up 256 q2_k", "layers.0.gate_up 256 q3_k",
                                      "layers.0.down 256 tq1_0", "head 288 tq2_0"}));
}

}  // namespace
}  // namespace lowbit
