#include "load/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/check.h"
#include "formats/codec.h"
#include "load/checkpoint.h"
#include "load/files.h"

namespace lowbit {
namespace {

using fixtures::raw;
using fixtures::safetensors;

// A folder that is a table of strings.
class MemoryFolder final : public Folder {
 public:
  explicit MemoryFolder(std::map<std::string, std::string> files) : files_(std::move(files)) {}
  std::string path() const override { return "memory"; }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, text] : files_) names.push_back(name);
    return names;
  }
  std::optional<Bytes> find(const std::string& name) const override {
    const auto at = files_.find(name);
    if (at == files_.end()) return std::nullopt;
    return Bytes{std::as_bytes(std::span(at->second)), nullptr, false};
  }

 private:
  std::map<std::string, std::string> files_;
};

Bytes view(const std::string& text) { return {std::as_bytes(std::span(text)), nullptr, false}; }

std::string one(const std::string& name, float value) {
  return safetensors("{\"" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                     raw(value));
}

float first(const StoredTensors& tensors, const std::string& name) {
  return decode_rows(plain_tensor(name, tensors.at(name), 1, 1, ""))[0];
}

// Two tensors of so many bytes each.
StoredTensors two_tensors(const std::string& a, const std::string& b) {
  const auto tensor = [](const std::string& bytes) {
    return StoredTensor{"f", "F32", {static_cast<int64_t>(bytes.size() / 4)}, view(bytes)};
  };
  return {{"a", tensor(a)}, {"b", tensor(b)}};
}

TEST(Stored, TheHashIsOfNamesTypesShapesAndEveryByte) {
  const std::string a(4096, 'a'), b(100'000, 'b');
  const StoredTensors tensors = two_tensors(a, b);
  const std::string hash = hash_of(tensors);
  EXPECT_EQ(hash.size(), 16u);
  std::string changed = b;
  changed[50'001] ^= 1;
  EXPECT_NE(hash_of(two_tensors(a, changed)), hash);
  EXPECT_NE(hash_of(two_tensors(b, a)), hash);
  StoredTensors other = tensors;
  other["b"].type = "I32";
  EXPECT_NE(hash_of(other), hash);
  other = tensors;
  other["b"].shape = {2, 12'500};
  EXPECT_NE(hash_of(other), hash);
  other = {{"a", tensors.at("a")}, {"c", tensors.at("b")}};
  EXPECT_NE(hash_of(other), hash);
  other = tensors;
  other["b"].file = "another";  // the same weights, stored elsewhere
  EXPECT_EQ(hash_of(other), hash);
}

TEST(Stored, OfManyBytesTheHashIsOfPiecesOfEachTensor) {
  std::string large(size_t{65} << 20, 'x'), small(16'000, 'y');
  const std::string hash = hash_of(two_tensors(large, small));
  for (const size_t at : {size_t{0}, size_t{4095}, large.size() - 1}) {
    large[at] ^= 1;
    EXPECT_NE(hash_of(two_tensors(large, small)), hash) << at;
    large[at] ^= 1;
  }
  small[8'000] ^= 1;  // small ones count whole
  EXPECT_NE(hash_of(two_tensors(large, small)), hash);
  small[8'000] ^= 1;
  large[5'000] ^= 1;  // between two pieces
  EXPECT_EQ(hash_of(two_tensors(large, small)), hash);
}

TEST(Safetensors, AlignedTensorsViewTheFileAndOthersAreCopied) {
  const std::string file =
      safetensors(R"({"h":{"dtype":"BF16","shape":[1,3],"data_offsets":[0,6]},)"
                  R"("f":{"dtype":"F32","shape":[2],"data_offsets":[6,14]},)"
                  R"("__metadata__":{"format":"pt"}}  )",
                  raw(uint16_t{0x3f80}) + raw(uint16_t{0x4000}) + raw(uint16_t{0xbf80}) +
                      raw(1.5f) + raw(-2.5f));
  for (size_t shift = 0; shift < 8; ++shift) {  // wherever the file lies in memory
    alignas(8) char memory[256];
    std::copy(file.begin(), file.end(), memory + shift);
    const Bytes bytes{std::as_bytes(std::span(memory + shift, file.size())), nullptr, false};
    const StoredTensors tensors = parse_safetensors("x", bytes);
    ASSERT_EQ(tensors.size(), 2u);
    const QTensor h = plain_tensor("h", tensors.at("h"), 1, 3, "");
    const QTensor f = plain_tensor("f", tensors.at("f"), 1, 2, "");
    EXPECT_EQ(decode_rows(h), (std::vector<float>{1, 2, -1}));
    EXPECT_EQ(decode_rows(f), (std::vector<float>{1.5, -2.5}));
    const auto inside = [&](const QTensor& t) {
      const std::byte* at = t.codes.data.data();
      return at >= bytes.data.data() && at < bytes.data.data() + bytes.data.size();
    };
    const auto is_aligned = [&](const char* name, size_t size) {
      return reinterpret_cast<uintptr_t>(tensors.at(name).data.data.data()) % size == 0;
    };
    EXPECT_EQ(inside(h), is_aligned("h", 2));
    EXPECT_EQ(inside(f), is_aligned("f", 4));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(f.codes.data.data()) % 4, 0u);
  }
}

TEST(Safetensors, BuffersThatNobodyReadsMayHaveAnyType) {
  const std::string file = safetensors(R"({"i":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                                       R"("z":{"dtype":"F32","shape":[0,4],"data_offsets":[8,8]},)"
                                       R"("q":{"dtype":"F4","shape":[6],"data_offsets":[8,11]}})",
                                       "12345678abc");
  const StoredTensors tensors = parse_safetensors("x", view(file));
  EXPECT_EQ(tensors.size(), 3u);
  EXPECT_THROW(plain_tensor("i", tensors.at("i"), 1, 1, "F32"), Error);
  EXPECT_THROW(plain_tensor("z", tensors.at("z"), 0, 4, "F32"), Error);
}

TEST(Safetensors, AFolderOfOneFileNeedsNoIndex) {
  const MemoryFolder named({{"model.safetensors", one("a", 1)}, {"x.safetensors", one("a", 2)}});
  EXPECT_EQ(first(open_safetensors(named), "a"), 1);
  const MemoryFolder only({{"x.safetensors", one("a", 3)}});
  EXPECT_EQ(first(open_safetensors(only), "a"), 3);
}

TEST(Safetensors, CompleteShardsNeedNoIndexEvenIfTheirNumbersAreNotPadded) {
  std::map<std::string, std::string> files;
  for (int i = 1; i <= 11; ++i) {
    files[fmt::format("m-{}-of-11.safetensors", i)] =
        one(fmt::format("t{}", i), static_cast<float>(i));
  }
  const MemoryFolder folder(files);
  const StoredTensors tensors = open_safetensors(folder);
  EXPECT_EQ(tensors.size(), 11u);
  EXPECT_EQ(first(tensors, "t11"), 11);
}

TEST(Safetensors, TheIndexSaysWhichFilesCount) {
  const MemoryFolder folder({{"model.safetensors.index.json",
                              R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})"},
                             {"1.safetensors", one("a", 1)},
                             {"2.safetensors", one("b", 2)},
                             {"consolidated.safetensors", one("a", 3)}});
  const StoredTensors tensors = open_safetensors(folder);
  EXPECT_EQ(tensors.size(), 2u);
  EXPECT_EQ(first(tensors, "a"), 1);
  EXPECT_EQ(first(tensors, "b"), 2);
}

TEST(HfCheckpoint, MappedTensorsAreNotCopied) {
  const auto checkpoint = open_checkpoint(LB_SOURCE_DIR "/tests/golden/gguf/source");
  EXPECT_EQ(checkpoint->container(), "safetensors");
  EXPECT_FALSE(checkpoint->synthetic());
  const auto names = checkpoint->tensor_names();
  EXPECT_EQ(names.size(), 20u);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  const QTensor a = checkpoint->tensor("model.embed_tokens.weight", 288, 32);
  const QTensor b = checkpoint->tensor("model.embed_tokens.weight", 288, 32);
  EXPECT_TRUE(a.codes.mapped);
  EXPECT_EQ(a.codes.data.data(), b.codes.data.data());
  release_pages(a);
  EXPECT_EQ(decode_rows(a), decode_rows(b));
}

TEST(HfCheckpoint, GenerationConfigDecidesWhichIdsEnd) {
  const auto dir = std::filesystem::temp_directory_path() / fmt::format("lb_eos_{}", getpid());
  std::filesystem::create_directories(dir);
  const auto put = [&](const std::string& name, const std::string& text) {
    write_file_atomically((dir / name).string(), text);
  };
  const auto ids = [&] { return open_checkpoint(dir.string())->eos_ids(); };
  put("model.safetensors", one("a", 1));
  put("config.json", "{}");
  EXPECT_TRUE(ids().empty());
  put("config.json", R"({"eos_token_id": 2})");
  EXPECT_EQ(ids(), (std::vector<int32_t>{2}));
  put("generation_config.json", R"({"eos_token_id": null})");
  EXPECT_EQ(ids(), (std::vector<int32_t>{2}));
  put("generation_config.json", R"({"eos_token_id": [7, 8]})");
  EXPECT_EQ(ids(), (std::vector<int32_t>{7, 8}));
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace lowbit
