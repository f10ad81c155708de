// PyTorch's files: goldens that torch.save has written (scripts/golden/torch_files.py), and files
// of our own writer where a golden would be too large or PyTorch writes no such thing.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>

#include "base/check.h"
#include "formats/codec.h"
#include "load/checkpoint.h"
#include "load/pickle.h"
#include "load/torch_file.h"
#include "load/torch_files.h"

namespace lowbit {
namespace {

using namespace fixtures;  // the opcodes read as a language

const std::string kGolden = LB_SOURCE_DIR "/tests/golden/torch/";

StoredTensors read_golden(const std::string& name) {
  return parse_torch_file(name, map_file(kGolden + name));
}

StoredTensors read_bytes(const std::string& file) {
  return parse_torch_file("x", {std::as_bytes(std::span(file)), nullptr, false});
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TorchTensor floats(const std::string& name, std::vector<int64_t> shape, float first) {
  TorchTensor t{name, "FloatStorage", std::move(shape), ""};
  int64_t count = 1;
  for (const int64_t size : t.shape) count *= size;
  for (int64_t i = 0; i < count; ++i) t.data += raw(first + static_cast<float>(i));
  return t;
}

std::vector<float> numbers(const StoredTensors& tensors, const std::string& name, int64_t n,
                           int64_t k) {
  return decode_rows(plain_tensor(name, tensors.at(name), n, k, ""));
}

TEST(TorchFile, TypesViewsAndNestingAreThoseOfPyTorch) {
  const StoredTensors tensors = read_golden("types.bin");
  EXPECT_FALSE(tensors.contains("step"));  // a number, not a tensor
  std::vector<float> eight(8);
  std::iota(eight.begin(), eight.end(), 0.0f);
  for (const char* name : {"float32", "float16", "bfloat16"}) {
    EXPECT_EQ(numbers(tensors, name, 1, 8), eight) << name;
  }
  const std::pair<const char*, const char*> types[] = {{"float64", "F64"},
                                                       {"int64", "I64"},
                                                       {"int32", "I32"},
                                                       {"int16", "I16"},
                                                       {"int8", "I8"},
                                                       {"uint8", "U8"},
                                                       {"float8_e4m3fn", "F8_E4M3"},
                                                       {"float8_e5m2", "F8_E5M2"},
                                                       {"uint16", "U16"}};
  for (const auto& [name, type] : types) EXPECT_EQ(tensors.at(name).type, type);
  EXPECT_EQ(tensors.at("uint16").data.data.size(), 16u);
  EXPECT_EQ(tensors.at("float8_e4m3fn").data.data[1], std::byte{0x38});  // 1.0
  EXPECT_EQ(numbers(tensors, "rows", 2, 4), (std::vector<float>{4, 5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(tensors.at("scalar").shape, std::vector<int64_t>{});
  EXPECT_EQ(tensors.at("empty").shape, (std::vector<int64_t>{0, 4}));
  const std::string error = error_of([&] { numbers(tensors, "transposed", 4, 3); });
  EXPECT_NE(error.find("strides [1, 4], not contiguous()"), std::string::npos) << error;
}

TEST(TorchFile, WhatIsNotPlainWeightsIsRefusedByName) {
  EXPECT_NE(error_of([] { read_golden("object.bin"); }).find("asks for posix.system, which is not"),
            std::string::npos);
  EXPECT_NE(error_of([] {
              read_golden("module.bin");
            }).find("asks for torch.nn.modules.linear.Linear, which is not"),
            std::string::npos);
  EXPECT_NE(error_of([] { read_golden("legacy.bin"); }).find("PyTorch wrote before version 1.6"),
            std::string::npos);
}

TEST(TorchFile, EveryNameOutsideTheTableIsRefused) {
  const std::pair<const char*, const char*> names[] = {{"builtins", "eval"},
                                                       {"os", "system"},
                                                       {"posix", "system"},
                                                       {"subprocess", "Popen"},
                                                       {"torch", "load"},
                                                       {"torch._utils", "_import_dotted_name"},
                                                       {"torch._utils", "Size"},
                                                       {"collections", "defaultdict"},
                                                       {"torch.storage", "float32"},
                                                       {"", "OrderedDict"}};
  for (const auto& [module, name] : names) {
    const std::string stacked = std::string("\x8c") + static_cast<char>(strlen(module)) + module +
                                "\x8c" + static_cast<char>(strlen(name)) + name + "\x93";
    for (const std::string& body : {pickle_global(module, name), stacked}) {
      const std::string error = error_of([&] { read_pickle("x", pickle(body)); });
      EXPECT_NE(error.find(fmt::format("asks for {}.{}, which", module, name)), std::string::npos)
          << error;
    }
  }
}

TEST(TorchFile, EveryOpcodeThatCouldRunOrFetchCodeIsRefused) {
  // INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT1, EXT2, EXT4, PERSID, BYTEARRAY8, NEXT_BUFFER
  for (const int op : std::vector<int>{'i', 'o', 0x81, 0x92, 0x82, 0x83, 0x84, 'P', 0x96, 0x97}) {
    const std::string body = std::string("N)") + static_cast<char>(op) + "aaaaaaaa\nb\n";
    const std::string error = error_of([&] { read_pickle("x", pickle(body)); });
    EXPECT_NE(error.find(fmt::format("opcode 0x{:02x} is none", op)), std::string::npos) << error;
  }
}

TEST(TorchFile, StoragesAreViewedWhereTheyLie) {
  const std::string file = torch_file({floats("a", {2, 3}, 1), floats("b", {5}, 10)});
  const StoredTensors tensors = read_bytes(file);
  EXPECT_EQ(numbers(tensors, "a", 2, 3), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(numbers(tensors, "b", 1, 5), (std::vector<float>{10, 11, 12, 13, 14}));
  for (const char* name : {"a", "b"}) {
    const auto* data = reinterpret_cast<const char*>(tensors.at(name).data.data.data());
    EXPECT_GE(data, file.data());
    EXPECT_LT(data, file.data() + file.size());
    EXPECT_EQ((data - file.data()) % 64, 0);
  }
}

TEST(TorchFile, Zip64AndAnyAlignmentAreRead) {
  const auto entries = torch_entries({floats("a", {2, 3}, 1)});
  for (const bool zip64 : {false, true}) {
    for (const size_t align : {1u, 2u, 7u, 64u, 4096u}) {
      const std::string file = zip_file(entries, align, zip64);
      EXPECT_EQ(numbers(read_bytes(file), "a", 2, 3), (std::vector<float>{1, 2, 3, 4, 5, 6}));
      EXPECT_EQ(numbers(read_bytes(file.substr(0, file.size() - 2) + raw(uint16_t{3}) + "xyz"), "a",
                        2, 3)[0],
                1);  // an archive with a comment
    }
  }
}

TEST(TorchFile, APickleFarLargerThanAnyModelsIsNotRead) {
  auto entries = torch_entries({floats("a", {1}, 1)});
  entries[0].data = std::string(9 << 20, 'N');
  const std::string error = error_of([&] { read_bytes(zip_file(entries)); });
  EXPECT_NE(error.find("data.pkl: 9437184 bytes, at most"), std::string::npos) << error;
}

TEST(TorchFile, NoTruncatedFileIsRead) {
  const std::string file = torch_file({floats("a", {2, 3}, 1)});
  for (size_t size = 0; size < file.size(); ++size) {
    const std::string error = error_of([&] { read_bytes(file.substr(0, size)); });
    EXPECT_EQ(error.rfind("x: ", 0), 0u) << size << ": " << error;
  }
}

// ---- gpt-fast's names

class GptFastFolder {
 public:
  explicit GptFastFolder(const std::string& name)
      : root_(std::filesystem::temp_directory_path() / ("lb_torch_" + std::to_string(getpid()))),
        path_((root_ / name).string()) {
    std::filesystem::create_directories(path_);
  }
  ~GptFastFolder() { std::filesystem::remove_all(root_); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
  }
  const std::string& path() const { return path_; }

 private:
  std::filesystem::path root_;
  std::string path_;
};

// One layer of 6 heads of 2, hidden 12, intermediate 8, 5 tokens.
std::vector<TorchTensor> stories(bool one_qkv, bool tied) {
  std::vector<TorchTensor> t = {floats("tok_embeddings.weight", {5, 12}, 0),
                                floats("norm.weight", {12}, 1),
                                floats("layers.0.attention_norm.weight", {12}, 2),
                                floats("layers.0.ffn_norm.weight", {12}, 3),
                                floats("layers.0.attention.wo.weight", {12, 12}, 4),
                                floats("layers.0.feed_forward.w1.weight", {8, 12}, 5),
                                floats("layers.0.feed_forward.w3.weight", {8, 12}, 6),
                                floats("layers.0.feed_forward.w2.weight", {12, 8}, 7)};
  if (one_qkv) t.push_back(floats("layers.0.attention.wqkv.weight", {36, 12}, 0));
  const float part = 12 * 12;
  if (!one_qkv) t.push_back(floats("layers.0.attention.wq.weight", {12, 12}, 0));
  if (!one_qkv) t.push_back(floats("layers.0.attention.wk.weight", {12, 12}, part));
  if (!one_qkv) t.push_back(floats("layers.0.attention.wv.weight", {12, 12}, 2 * part));
  if (!tied) t.push_back(floats("output.weight", {5, 12}, 9));
  return t;
}

TEST(GptFast, ShapeByTheFoldersNameAndTensorsByTheirRole) {
  const GptFastFolder folder("my-stories15M-copy");
  for (const bool one_qkv : {true, false}) {
    folder.write("model.pth", torch_file(stories(one_qkv, false)));
    for (const std::string& model : {folder.path(), folder.path() + "/model.pth"}) {
      const auto checkpoint = open_checkpoint(model);
      const Hyperparams& config = checkpoint->config();
      EXPECT_EQ(config.integer("num_attention_heads", 1, 99), 6);
      EXPECT_EQ(config.integer("num_hidden_layers", 1, 99), 1);
      EXPECT_EQ(config.integer("intermediate_size", 1, 99), 8);
      EXPECT_EQ(config.integer("vocab_size", 1, 99), 5);
      EXPECT_FALSE(config.boolean_or("tie_word_embeddings", true));
      const auto first = [&](const std::string& name, int64_t n, int64_t k) {
        return decode_rows(checkpoint->tensor(name, n, k))[0];
      };
      EXPECT_EQ(first("model.norm.weight", 1, 12), 1);
      const std::string layer = "model.layers.0.";
      EXPECT_EQ(first(layer + "input_layernorm.weight", 1, 12), 2);
      EXPECT_EQ(first(layer + "post_attention_layernorm.weight", 1, 12), 3);
      EXPECT_EQ(first(layer + "self_attn.o_proj.weight", 12, 12), 4);
      EXPECT_EQ(first(layer + "mlp.gate_proj.weight", 8, 12), 5);
      EXPECT_EQ(first(layer + "mlp.up_proj.weight", 8, 12), 6);
      EXPECT_EQ(first(layer + "mlp.down_proj.weight", 12, 8), 7);
      EXPECT_EQ(first("lm_head.weight", 5, 12), 9);
      EXPECT_EQ(first(layer + "self_attn.v_proj.weight", 12, 12), 2 * 12 * 12);
      EXPECT_EQ(first(layer + "self_attn.k_proj.weight", 12, 12), 12 * 12);
    }
  }
  folder.write("model.pth", torch_file(stories(true, true)));
  EXPECT_TRUE(open_checkpoint(folder.path())->config().boolean_or("tie_word_embeddings", false));
}

TEST(GptFast, TheLongestNameThatFitsTheFolderDecides) {
  struct Row {
    const char* folder;
    int64_t heads, kv_heads;
    double theta;
    double factor;  // 0: none
  };
  const Row rows[] = {
      {"Llama-2-7b-chat-hf", 32, 32, 1e4, 0},        {"CodeLlama-7b-Python-hf", 32, 32, 1e6, 0},
      {"Mistral-7B-Instruct-v0.2", 32, 8, 1e4, 0},   {"Meta-Llama-3-8B", 32, 8, 5e5, 0},
      {"Meta-Llama-3.1-8B-Instruct", 32, 8, 5e5, 8}, {"Llama-3.2-3B", 24, 8, 5e5, 32}};
  for (const Row& row : rows) {
    const GptFastFolder folder(row.folder);
    std::vector<TorchTensor> tensors = stories(false, false);
    folder.write("model.pth", torch_file(tensors));
    const auto checkpoint = open_checkpoint(folder.path());
    const Hyperparams& config = checkpoint->config();
    EXPECT_EQ(config.integer("num_attention_heads", 1, 999), row.heads) << row.folder;
    EXPECT_EQ(config.integer("num_key_value_heads", 1, 999), row.kv_heads) << row.folder;
    EXPECT_EQ(config.number("rope_theta", 1, 1e9), row.theta) << row.folder;
    const auto scaling = config.child("rope_scaling");
    EXPECT_EQ(scaling ? scaling->number("factor", 1, 99) : 0, row.factor) << row.folder;
  }
  const GptFastFolder unknown("something");
  unknown.write("model.pth", torch_file(stories(false, false)));
  const std::string error = error_of([&] { open_checkpoint(unknown.path()); });
  EXPECT_NE(error.find("neither config.json nor params.json"), std::string::npos) << error;
  EXPECT_NE(error.find("stories15m"), std::string::npos) << error;
}

TEST(GptFast, MetasParamsAreRead) {
  const GptFastFolder folder("anything");
  folder.write("consolidated.00.pth", torch_file(stories(false, false)));
  folder.write("params.json", R"({"dim": 12, "n_heads": 6, "n_kv_heads": 6, "n_layers": 1,
    "norm_eps": 1e-06, "rope_theta": 500000.0, "use_scaled_rope": true, "vocab_size": 5})");
  const auto checkpoint = open_checkpoint(folder.path());
  EXPECT_EQ(checkpoint->config().number("rms_norm_eps", 0, 1), 1e-6);
  EXPECT_EQ(checkpoint->config().child("rope_scaling")->number("factor", 1, 99), 32);
  folder.write("consolidated.01.pth", "x");
  const std::string error = error_of([&] { open_checkpoint(folder.path()); });
  EXPECT_NE(error.find("one of several parts"), std::string::npos) << error;
}

TEST(GptFast, NamesOfHuggingFaceAreSentToTheFolder) {
  const GptFastFolder folder("x");
  folder.write("model.pth", torch_file({floats("model.embed_tokens.weight", {2, 2}, 0)}));
  const std::string error = error_of([&] { open_checkpoint(folder.path() + "/model.pth"); });
  EXPECT_NE(error.find("name it pytorch_model.bin"), std::string::npos) << error;
}

}  // namespace
}  // namespace lowbit
