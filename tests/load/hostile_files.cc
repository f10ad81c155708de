#include "load/hostile_files.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>

#include "load/checkpoint.h"
#include "load/files.h"

namespace lowbit::fixtures {
namespace {

void write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("no `" + from + "` in " + text);
  return text.replace(at, from.size(), to);
}

// ---- The tiny Llama: hidden 32, intermediate 64, one layer, 2 heads of 16, 1 KV head, 8 tokens

const std::string kConfig = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
"hidden_act": "silu", "vocab_size": 8, "hidden_size": 32, "intermediate_size": 64,
"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
"max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
"tie_word_embeddings": true, "eos_token_id": 2})";

struct Shape {
  std::string hf, gguf;
  int64_t n, k;
};
const std::vector<Shape> kShapes = {
    {"model.embed_tokens.weight", "token_embd.weight", 8, 32},
    {"model.norm.weight", "output_norm.weight", 1, 32},
    {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", 1, 32},
    {"model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight", 1, 32},
    {"model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", 32, 32},
    {"model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", 16, 32},
    {"model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight", 16, 32},
    {"model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight", 32, 32},
    {"model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", 64, 32},
    {"model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", 64, 32},
    {"model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight", 32, 64},
};

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  int64_t begin, int64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

// bf16 ones: header and data of the tensors [first, last) of kShapes.
std::string header_of(size_t first, size_t last) {
  std::string header;
  int64_t at = 0;
  for (size_t i = first; i < last; ++i) {
    const Shape& s = kShapes[i];
    const std::string shape = s.n == 1
                                  ? "[" + std::to_string(s.k) + "]"
                                  : "[" + std::to_string(s.n) + "," + std::to_string(s.k) + "]";
    header += (i == first ? "{" : ",") + entry(s.hf, "BF16", shape, at, at + s.n * s.k * 2);
    at += s.n * s.k * 2;
  }
  return header + "}";
}

std::string data_of(size_t first, size_t last) {
  size_t weights = 0;
  for (size_t i = first; i < last; ++i) weights += static_cast<size_t>(kShapes[i].n * kShapes[i].k);
  std::string data;
  while (weights-- > 0) data += raw(uint16_t{0x3f80});
  return data;
}

std::string shard(size_t first, size_t last) {
  return safetensors(header_of(first, last), data_of(first, last));
}

std::string index_of(const std::vector<std::pair<std::string, std::string>>& map) {
  std::string text = R"({"metadata": {}, "weight_map": {)";
  for (const auto& [name, file] : map) {
    text += (&name == &map[0].first ? "" : ",") + ("\"" + name + "\":\"" + file + "\"");
  }
  return text + "}}";
}

constexpr size_t kSplit = 5;  // where the two-shard model is cut
const std::string kFirstShard = "model-00001-of-00002.safetensors";
const std::string kSecondShard = "model-00002-of-00002.safetensors";
const std::string kIndexFile = "model.safetensors.index.json";

std::string valid_index() {
  std::vector<std::pair<std::string, std::string>> map;
  for (size_t i = 0; i < kShapes.size(); ++i) {
    map.emplace_back(kShapes[i].hf, i < kSplit ? kFirstShard : kSecondShard);
  }
  return index_of(map);
}

void write_shards(const std::string& dir) {
  write(dir + "/config.json", kConfig);
  write(dir + "/" + kFirstShard, shard(0, kSplit));
  write(dir + "/" + kSecondShard, shard(kSplit, kShapes.size()));
}

// F32 ones with the tokenless metadata of a Llama; 32 is the default alignment and divides every
// tensor's size.
GgufBytes valid_gguf() {
  GgufBytes file;
  file.pairs = {gguf_string("general.architecture", "llama"),
                gguf_u32("llama.vocab_size", 8),
                gguf_u32("llama.block_count", 1),
                gguf_u32("llama.embedding_length", 32),
                gguf_u32("llama.feed_forward_length", 64),
                gguf_u32("llama.attention.head_count", 2),
                gguf_u32("llama.attention.head_count_kv", 1),
                gguf_u32("llama.context_length", 64),
                gguf_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f)};
  for (const Shape& s : kShapes) {
    std::vector<uint64_t> dims{static_cast<uint64_t>(s.k)};
    if (s.n > 1) dims.push_back(static_cast<uint64_t>(s.n));
    file.tensors.push_back(gguf_info(s.gguf, dims, 0, file.data.size()));
    for (int64_t i = 0; i < s.n * s.k; ++i) file.data += raw(1.0f);
  }
  return file;
}

// ---- Families of cases

HostileFile config_case(const std::string& name, const std::string& from, const std::string& to,
                        std::vector<std::string> expected) {
  expected.insert(expected.begin(), "config.json: ");
  return {"config_" + name,
          [=](const std::string& dir) {
            write_valid_hf(dir);
            write(dir + "/config.json", from.empty() ? to : replaced(kConfig, from, to));
            return dir;
          },
          expected};
}

HostileFile bytes_case(const std::string& name, const std::string& bytes,
                       std::vector<std::string> expected) {
  expected.insert(expected.begin(), "model.safetensors: ");
  return {"safetensors_" + name,
          [=](const std::string& dir) {
            write_valid_hf(dir);
            write(dir + "/model.safetensors", bytes);
            return dir;
          },
          expected};
}

// The valid header with one piece replaced.
HostileFile header_case(const std::string& name, const std::string& from, const std::string& to,
                        std::vector<std::string> expected) {
  const std::string header = replaced(header_of(0, kShapes.size()), from, to);
  return bytes_case(name, safetensors(header, data_of(0, kShapes.size())), std::move(expected));
}

HostileFile index_case(const std::string& name, const std::string& index,
                       std::vector<std::string> expected) {
  return {"index_" + name,
          [=](const std::string& dir) {
            write_shards(dir);
            write(dir + "/" + kIndexFile, index);
            return dir;
          },
          std::move(expected)};
}

HostileFile gguf_case(const std::string& name, const std::function<void(GgufBytes&)>& edit,
                      std::vector<std::string> expected) {
  expected.insert(expected.begin(), "model.gguf: ");
  return {"gguf_" + name,
          [=](const std::string& dir) {
            GgufBytes file = valid_gguf();
            edit(file);
            write(dir + "/model.gguf", file.bytes());
            return dir + "/model.gguf";
          },
          expected};
}

HostileFile name_case(const std::string& name, const std::string& model,
                      std::vector<std::string> expected) {
  return {"name_" + name, [=](const std::string&) { return model; }, std::move(expected)};
}

using Files = std::vector<std::pair<std::string, std::string>>;  // name, content

// A folder of these files; `open` is what to open in it.
HostileFile folder_case(const std::string& name, const Files& files,
                        std::vector<std::string> expected, const std::string& open = "") {
  return {"folder_" + name,
          [=](const std::string& dir) {
            for (const auto& [file, content] : files) write(dir + "/" + file, content);
            return dir + open;
          },
          std::move(expected)};
}

// ---- The table

std::vector<HostileFile> config_cases() {
  const std::string deep = "{\"a\":" + std::string(100'000, '[') + "}";
  return {
      config_case("empty", "", "", {"is empty"}),
      config_case("not_json", "", "hidden_size = 32", {"is not valid JSON", "line 1"}),
      config_case("truncated", "", kConfig.substr(0, 100), {"is not valid JSON"}),
      config_case("two_values", "", kConfig + "{}", {"is not valid JSON"}),
      config_case("invalid_utf8", "silu", "si\xff", {"is not valid JSON", "UTF-8"}),
      config_case("a_list", "", "[1, 2]", {"is a list of 2, expected an object"}),
      config_case("deep", "", deep, {"a: nested deeper than"}),
      config_case("duplicate_key", "\"hidden_act\"", "\"vocab_size\": 9, \"hidden_act\"",
                  {"vocab_size: the key appears twice"}),
      config_case("missing_hidden_size", "\"hidden_size\": 32,", "", {"hidden_size: is missing"}),
      config_case("null_vocab_size", "\"vocab_size\": 8", "\"vocab_size\": null",
                  {"vocab_size: is missing"}),
      config_case("negative_layers", "\"num_hidden_layers\": 1", "\"num_hidden_layers\": -1",
                  {"num_hidden_layers: is -1, must be from 1"}),
      config_case("zero_heads", "\"num_attention_heads\": 2", "\"num_attention_heads\": 0",
                  {"num_attention_heads: is 0, must be from 1"}),
      config_case("huge_hidden_size", "\"hidden_size\": 32",
                  "\"hidden_size\": 18446744073709551615",
                  {"hidden_size: is 18446744073709551615, must be"}),
      config_case("beyond_64_bits", "\"hidden_size\": 32", "\"hidden_size\": 1e30",
                  {"hidden_size: is 1e+30, expected an integer"}),
      config_case("fraction", "\"hidden_size\": 32", "\"hidden_size\": 32.5",
                  {"hidden_size: is 32.5, expected an integer"}),
      config_case("number_as_text", "\"hidden_size\": 32", "\"hidden_size\": \"32\"",
                  {"hidden_size: is \"32\", expected an integer"}),
      config_case("bool_as_number", "\"hidden_size\": 32", "\"hidden_size\": true",
                  {"hidden_size: is true, expected an integer"}),
      config_case("overflowing_number", "1e-5", "1e999", {"is not valid JSON", "number overflow"}),
      config_case("nan", "1e-5", "NaN", {"is not valid JSON"}),
      config_case("negative_eps", "1e-5", "-1e-5", {"rms_norm_eps: is -1e-05, must be from 0"}),
      config_case("text_as_bool", "\"tie_word_embeddings\": true",
                  "\"tie_word_embeddings\": \"no\"",
                  {"tie_word_embeddings: is \"no\", expected true or false"}),
      config_case("eos_list_of_text", "\"eos_token_id\": 2", "\"eos_token_id\": [2, \"</s>\"]",
                  {"eos_token_id: is \"</s>\", expected an integer"}),
      config_case("negative_eos", "\"eos_token_id\": 2", "\"eos_token_id\": -5",
                  {"eos_token_id: is -5, must be from 0"}),
  };
}

std::vector<HostileFile> safetensors_cases() {
  const std::string valid = shard(0, kShapes.size());
  const std::string norm = kShapes[1].hf;
  const std::string norm_entry = entry(norm, "BF16", "[32]", 512, 576);
  std::string values = "{\"a\":[0";
  for (int i = 0; i < 600'000; ++i) values += ",0";
  return {
      bytes_case("empty", "", {"0 bytes, too short"}),
      bytes_case("seven_bytes", "1234567", {"7 bytes, too short"}),
      bytes_case("length_only", raw(uint64_t{100}), {"header length 100, but only 0 bytes"}),
      bytes_case("truncated_header", valid.substr(0, 200), {"but only 192 bytes follow"}),
      bytes_case("huge_header_length", raw(~uint64_t{0}) + valid.substr(8),
                 {"header length 18446744073709551615 is above 100000000"}),
      bytes_case("empty_header", safetensors("", ""), {"header: is empty"}),
      bytes_case("header_not_json", safetensors("{]", ""), {"header: is not valid JSON"}),
      bytes_case("header_a_list", safetensors("[]", ""), {"header: is a list of 0"}),
      bytes_case("header_deep", safetensors("{\"a\":" + std::string(5000, '['), ""),
                 {"header: a: nested deeper than"}),
      bytes_case("header_many_values", safetensors(values + "]}", ""),
                 {"header: a: more than 500000 values"}),
      bytes_case("truncated_data", valid.substr(0, valid.size() - 10),
                 {"data_offsets: end at byte", "incomplete"}),
      bytes_case("bytes_after_the_end", valid + "xyz", {"3 bytes follow the last tensor"}),
      header_case("duplicate_tensor", "{\"model.embed", "{" + norm_entry + ",\"model.embed",
                  {norm + ": the key appears twice"}),
      header_case("entry_not_an_object", norm_entry, "\"" + norm + "\":7", {norm + ": is 7"}),
      header_case("missing_dtype", "\"dtype\":\"BF16\",\"shape\":[32]", "\"shape\":[32]",
                  {norm + ": dtype: is missing"}),
      header_case("dtype_a_number", "\"dtype\":\"BF16\",\"shape\":[32]",
                  "\"dtype\":16,\"shape\":[32]", {norm + ": dtype: is 16, expected a string"}),
      header_case("unsupported_dtype", "\"dtype\":\"BF16\",\"shape\":[32]",
                  "\"dtype\":\"I16\",\"shape\":[32]",
                  {norm + ": has type I16; supported: F32, F16, BF16"}),
      header_case("unknown_dtype", "\"dtype\":\"BF16\",\"shape\":[32]",
                  "\"dtype\":\"Q\\u001b\",\"shape\":[32]",
                  {norm + ": has type Q\\x1b; supported: F32, F16, BF16"}),
      header_case("wrong_dtype_size", "\"dtype\":\"BF16\",\"shape\":[32]",
                  "\"dtype\":\"F32\",\"shape\":[32]",
                  {norm + ": data_offsets: 64 bytes, but shape and dtype ask for 128"}),
      header_case("missing_shape", "\"shape\":[32],", "", {norm + ": shape: is missing"}),
      header_case("shape_a_number", "\"shape\":[32]", "\"shape\":32",
                  {norm + ": shape: is 32, expected a list"}),
      header_case("negative_shape", "\"shape\":[32]", "\"shape\":[-32]",
                  {norm + ": shape: is -32, expected an integer from 0"}),
      header_case("fractional_shape", "\"shape\":[32]", "\"shape\":[32.0]",
                  {norm + ": shape: is 32, expected an integer"}),
      header_case("overflowing_shape", "\"shape\":[32]", "\"shape\":[4294967296,4294967296]",
                  {norm + ": shape: the product of its sizes overflows"}),
      header_case("shape_with_zero", "\"shape\":[32]", "\"shape\":[32,0]",
                  {norm + ": data_offsets: 64 bytes, but shape and dtype ask for 0"}),
      header_case("wrong_shape", "\"shape\":[32]", "\"shape\":[4,8]",
                  {norm + ": has shape [4, 8], the model's hyperparameters ask for [1, 32]"}),
      header_case("three_dimensions", "\"shape\":[32]", "\"shape\":[1,1,32]",
                  {norm + ": has shape [1, 1, 32]"}),
      header_case("transposed", "\"shape\":[64,32]", "\"shape\":[32,64]",
                  {"gate_proj.weight: has shape [32, 64], the model's hyperparameters ask for "
                   "[64, 32]"}),
      header_case("missing_offsets", ",\"data_offsets\":[512,576]", "",
                  {norm + ": data_offsets: is missing"}),
      header_case("one_offset", "[512,576]", "[512]", {norm + ": data_offsets: is a list of 1"}),
      header_case("reversed_offsets", "[512,576]", "[576,512]",
                  {norm + ": data_offsets: end 512 before 576"}),
      header_case("negative_offset", "[512,576]", "[-64,0]", {norm + ": data_offsets: is -64"}),
      header_case("overflowing_offset", "[512,576]", "[512,18446744073709551615]",
                  {norm + ": data_offsets: is 18446744073709551615"}),
      header_case("offset_past_the_file", "[512,576]", "[99999936,100000000]",
                  {norm + ": data_offsets: end at byte 100000000"}),
      header_case("overlap", "[512,576]", "[448,512]", {"data_offsets: start at", "overlap"}),
      header_case("hole", "[0,512]", "[0,510]", {"data_offsets: 510 bytes"}),
      bytes_case("gap",
                 safetensors("{" + entry("a", "U8", "[2]", 0, 2) + "," +
                                 entry("b", "U8", "[2]", 4, 6) + "}",
                             "123456"),
                 {"b: data_offsets: start at 4, but the one before ends at 2"}),
      bytes_case("data_do_not_start_at_zero",
                 safetensors("{" + entry("a", "U8", "[2]", 2, 4) + "}", "1234"),
                 {"a: data_offsets: start at 2"}),
  };
}

std::vector<HostileFile> index_cases() {
  const std::string norm = kShapes[1].hf;
  const std::string pair = "\"" + norm + "\":\"" + kFirstShard + "\"";
  const auto with = [&](const std::string& to) { return replaced(valid_index(), pair, to); };
  return {
      index_case("empty", "", {kIndexFile + ": is empty"}),
      index_case("not_json", "{", {kIndexFile + ": is not valid JSON"}),
      index_case("a_list", "[]", {kIndexFile + ": weight_map: must be an object"}),
      index_case("no_weight_map", "{}", {kIndexFile + ": weight_map: must be an object"}),
      index_case("empty_weight_map", index_of({}), {kIndexFile + ": weight_map: must be"}),
      index_case("file_a_number", with("\"" + norm + "\":1"),
                 {kIndexFile + ": weight_map: " + norm + ": is 1, expected the name of a file"}),
      index_case("absent_file", with("\"" + norm + "\":\"model-00003-of-00003.safetensors\""),
                 {kIndexFile + ": weight_map: names model-00003-of-00003.safetensors, which"}),
      index_case("path_traversal", with("\"" + norm + "\":\"../x.safetensors\""),
                 {kIndexFile, norm + ": is \"../x.safetensors\", expected the name of a file"}),
      index_case("absolute_path", with("\"" + norm + "\":\"/etc/passwd\""),
                 {kIndexFile, norm + ": is \"/etc/passwd\", expected the name of a file"}),
      index_case("dot_dot", with("\"" + norm + "\":\"..\""), {norm + ": is \"..\", expected"}),
      index_case("nul_in_name", with("\"" + norm + "\":\"a\\u0000b\""),
                 {norm + ": is \"a\\x00b\", expected"}),
      index_case("tensor_in_the_other_shard", with("\"" + norm + "\":\"" + kSecondShard + "\""),
                 {kIndexFile + ": weight_map: " + norm + ": is not in " + kSecondShard}),
      index_case("tensor_in_no_shard", with(pair + ",\"x\":\"" + kFirstShard + "\""),
                 {kIndexFile + ": weight_map: x: is not in " + kFirstShard}),
      index_case("unlisted_tensor", with("\"" + kShapes[0].hf + "2\":\"" + kFirstShard + "\""),
                 {kIndexFile + ": weight_map: "}),
      index_case("duplicate_key", with(pair + "," + pair),
                 {kIndexFile + ": weight_map." + norm + ": the key appears twice"}),
      folder_case("index_lacks_a_tensor",
                  {{"config.json", kConfig},
                   {kFirstShard, shard(0, kSplit)},
                   {kSecondShard, shard(kSplit, kShapes.size())},
                   {kIndexFile, replaced(valid_index(), pair + ",", "")}},
                  {kIndexFile + ": weight_map: lacks " + norm}),
      folder_case("tensor_in_two_shards",
                  {{"config.json", kConfig},
                   {kFirstShard, shard(0, kSplit)},
                   {kSecondShard, shard(kSplit - 1, kShapes.size())},
                   {kIndexFile, valid_index()}},
                  {kSecondShard + ": " + kShapes[kSplit - 1].hf + ": is also in", kFirstShard}),
      folder_case("broken_second_shard",
                  {{"config.json", kConfig},
                   {kFirstShard, shard(0, kSplit)},
                   {kSecondShard, "short"},
                   {kIndexFile, valid_index()}},
                  {kSecondShard + ": 5 bytes, too short"}),
  };
}

std::vector<HostileFile> folder_cases() {
  const std::pair<std::string, std::string> config{"config.json", kConfig};
  const std::pair<std::string, std::string> weights{"model.safetensors", shard(0, kShapes.size())};
  const std::string first = shard(0, kSplit), second = shard(kSplit, kShapes.size());
  return {
      folder_case("empty", {}, {"has no config.json"}),
      folder_case("only_gguf", {{"model.gguf", valid_gguf().bytes()}},
                  {"has no config.json, but model.gguf: pass that file"}),
      folder_case("no_weights", {config}, {"holds config.json but no weights (*.safetensors"}),
      folder_case("other_pytorch", {config, {"model.bin", "x"}},
                  {"holds model.bin, but weights are read from"}),
      folder_case("no_zip", {config, {"consolidated.00.pth", "x"}},
                  {"consolidated.00.pth: has no zip directory at its end"}),
      folder_case("two_files_and_no_index",
                  {config, {"a.safetensors", first}, {"b.safetensors", second}},
                  {"several .safetensors files (a.safetensors, b.safetensors)", kIndexFile}),
      folder_case("missing_shard",
                  {config,
                   {"model-00001-of-00003.safetensors", first},
                   {"model-00003-of-00003.safetensors", second}},
                  {"shard 2 of 3 is missing"}),
      folder_case("missing_last_shard",
                  {config,
                   {"m-00001-of-00003.safetensors", first},
                   {"m-00002-of-00003.safetensors", second}},
                  {"shard 3 of 3 is missing"}),
      folder_case("broken_generation_config",
                  {config, weights, {"generation_config.json", R"({"eos_token_id": {}})"}},
                  {"generation_config.json: eos_token_id: is an object, expected an integer"}),
      folder_case("tensors_of_one_layer_for_two",
                  {{"config.json", replaced(kConfig, "layers\": 1", "layers\": 2")}, weights},
                  {"model.layers.1.", ": no such tensor among the 11"}),
      folder_case("no_tensors", {config, {"model.safetensors", safetensors("{}", "")}},
                  {"model.embed_tokens.weight: no such tensor, there are none"}),
      folder_case("missing_tensor", {config, {"model.safetensors", shard(0, kShapes.size() - 1)}},
                  {kShapes.back().hf + ": no such tensor among the 10"}),
      folder_case("a_safetensors_file", {config, weights},
                  {"model.safetensors: is one file of a model; pass the folder"},
                  "/model.safetensors"),
      folder_case("a_text_file", {{"notes.txt", "hello"}},
                  {"notes.txt: is not a model file; a model is a Hugging Face folder"},
                  "/notes.txt"),
      {"folder_config_is_a_folder",
       [](const std::string& dir) {
         std::filesystem::create_directory(dir + "/config.json");
         return dir;
       },
       {"has no config.json"}},
  };
}

std::vector<HostileFile> name_cases() {
  return {
      name_case("empty", "", {"no such file or folder", "a Hugging Face folder"}),
      name_case("absent_path", "/no/such/model", {"/no/such/model: no such file or folder"}),
      name_case("absent_gguf", "no/such.gguf", {"no/such.gguf: no such file or folder"}),
      name_case("hub_id", "meta-llama/Llama-3.1-8B",
                {"meta-llama/Llama-3.1-8B: no such folder", "does not download"}),
      name_case("shape_without_prefix", "llama3.1-8b",
                {"llama3.1-8b: no such file or folder", "did you mean `synthetic:llama3.1-8b`?"}),
      name_case("unknown_shape", "synthetic:lama3-8b",
                {"unknown shape `lama3-8b`, did you mean `llama3-8b`", "known: "}),
      name_case("no_shape", "synthetic:", {"unknown shape ``"}),
      name_case("bad_seed", "synthetic:tiny@x", {"seed `x`: expected an integer"}),
      name_case("negative_seed", "synthetic:tiny@-1", {"seed `-1`: expected an integer"}),
      name_case("huge_seed", "synthetic:tiny@99999999999999999999", {"expected an integer"}),
      name_case("unknown_embedded", "embedded:nothing", {"embedded:nothing: no"}),
      name_case("embedded_path", "embedded:../configs", {"embedded:../configs: no"}),
      name_case("control_characters", "a\nb\x1b[31m", {"a\\x0ab\\x1b[31m: no such file"}),
  };
}

// Replaces the pair that starts with `key`.
void set_pair(GgufBytes& file, const std::string& key, const std::string& pair) {
  for (std::string& old : file.pairs) {
    if (old.starts_with(gguf_text(key))) {
      old = pair;
      return;
    }
  }
  throw std::logic_error("no pair " + key);
}

std::vector<HostileFile> gguf_header_cases() {
  using G = GgufBytes;
  const auto whole = [](const std::string& name, const std::string& bytes,
                        std::vector<std::string> expected) {
    expected.insert(expected.begin(), "model.gguf: ");
    return HostileFile{"gguf_" + name,
                       [=](const std::string& dir) {
                         write(dir + "/model.gguf", bytes);
                         return dir + "/model.gguf";
                       },
                       expected};
  };
  const std::string valid = valid_gguf().bytes();
  return {
      whole("empty", "", {"magic: 4 bytes at byte 0, but the file ends after 0"}),
      whole("magic_only", "GGUF", {"version: 4 bytes at byte 4, but the file ends after 4"}),
      whole("truncated_tensors", valid.substr(0, 900), {"the file ends after 900"}),
      whole("truncated_after_150", valid.substr(0, 150),
            {"number of tensors: 11 do not fit in the 134 bytes"}),
      whole("truncated_data", valid.substr(0, valid.size() - 100), {"needs", "incomplete"}),
      gguf_case("bad_magic", [](G& f) { f.magic = "GGML"; }, {"does not start with \"GGUF\""}),
      gguf_case("version_1", [](G& f) { f.version = 1; }, {"is GGUF version 1; supported"}),
      gguf_case("version_4", [](G& f) { f.version = 4; }, {"is GGUF version 4; supported"}),
      gguf_case("version_0", [](G& f) { f.version = 0; }, {"is GGUF version 0; supported"}),
      gguf_case("big_endian", [](G& f) { f.version = 0x03000000; }, {"big-endian"}),
      gguf_case("huge_tensor_count", [](G& f) { f.tensor_count = INT64_MAX; },
                {"number of tensors: 9223372036854775807 do not fit"}),
      gguf_case("huge_pair_count", [](G& f) { f.pair_count = INT64_MAX; },
                {"number of metadata pairs: 9223372036854775807 do not fit"}),
      gguf_case("huge_key_length", [](G& f) { f.pairs[0] = raw(~uint64_t{0}) + "general"; },
                {"metadata key: 18446744073709551615 bytes at byte"}),
      gguf_case("unknown_value_type", [](G& f) { f.pairs[1] = gguf_pair("a.b", 99, raw(0)); },
                {"a.b: type: unknown value type 99"}),
      gguf_case("huge_string", [](G& f) { f.pairs[1] = gguf_pair("a.b", 8, raw(1ull << 60)); },
                {"a.b: 1152921504606846976 bytes at byte"}),
      gguf_case("bool_of_two", [](G& f) { f.pairs[1] = gguf_pair("a.b", 7, "\x02"); },
                {"a.b: is 2, a bool is 0 or 1"}),
      gguf_case("nested_array",
                [](G& f) { f.pairs[1] = gguf_pair("a.b", 9, raw(9u) + raw(uint64_t{1})); },
                {"a.b: arrays of arrays are not supported"}),
      gguf_case("array_of_unknown",
                [](G& f) { f.pairs[1] = gguf_pair("a.b", 9, raw(77u) + raw(uint64_t{1})); },
                {"a.b: unknown value type 77"}),
      gguf_case("huge_array",
                [](G& f) { f.pairs[1] = gguf_pair("a.b", 9, raw(6u) + raw(1ull << 62)); },
                {"a.b: count: 4611686018427387904 do not fit"}),
      gguf_case("huge_array_of_strings",
                [](G& f) { f.pairs[1] = gguf_pair("a.b", 9, raw(8u) + raw(1ull << 61)); },
                {"a.b: count: 2305843009213693952 do not fit"}),
      gguf_case("duplicate_key", [](G& f) { f.pairs.push_back(f.pairs[2]); },
                {"llama.block_count: the key appears twice"}),
      gguf_case("key_as_value_and_array",
                [](G& f) {
                  f.pairs.push_back(gguf_pair("llama.block_count", 9, raw(6u) + raw(uint64_t{0})));
                },
                {"llama.block_count: the key appears twice"}),
      gguf_case("alignment_zero", [](G& f) { f.pairs.push_back(gguf_u32("general.alignment", 0)); },
                {"general.alignment: is 0"}),
      gguf_case("alignment_24", [](G& f) { f.pairs.push_back(gguf_u32("general.alignment", 24)); },
                {"general.alignment: is 24, must be a power of two"}),
      gguf_case("alignment_text",
                [](G& f) { f.pairs.push_back(gguf_string("general.alignment", "32")); },
                {"general.alignment: is \"32\", expected an integer"}),
  };
}

std::vector<HostileFile> gguf_tensor_cases() {
  using G = GgufBytes;
  const std::string norm = kShapes[1].gguf;
  const auto info = [=](std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    return [=](G& f) { f.tensors[1] = gguf_info(norm, dims, type, offset); };
  };
  return {
      gguf_case("duplicate_tensor", [](G& f) { f.tensors[2] = f.tensors[1]; },
                {norm + ": the tensor appears twice"}),
      gguf_case("missing_tensor",
                [](G& f) { f.tensors[1] = gguf_info("other.weight", {32}, 0, 1024); },
                {kShapes[1].hf + ": no such tensor"}),
      gguf_case("two_names", [](G& f) { f.tensors[1] = gguf_info(kShapes[2].hf, {32}, 0, 1024); },
                {kShapes[2].hf + ": the tensor is there under two names"}),
      gguf_case("no_dimensions", info({}, 0, 1024), {norm + ": has 0 dimensions"}),
      gguf_case("five_dimensions", info({32, 1, 1, 1, 1}, 0, 1024), {norm + ": has 5 dimensions"}),
      gguf_case("negative_dimension", info({~uint64_t{0}}, 0, 1024), {norm + ": dimension 0 is"}),
      gguf_case("overflowing_dimensions", info({1ull << 32, 1ull << 32}, 0, 1024),
                {norm + ": the product of its dimensions overflows"}),
      gguf_case("wrong_shape", info({8, 4}, 0, 1024),
                {kShapes[1].hf + ": has shape [4, 8], the model's hyperparameters ask for"}),
      gguf_case("unsupported_type", info({32}, 20, 1024),
                {kShapes[1].hf + ": has type IQ4_NL; supported: F32, F16, BF16, Q8_0, Q4_0",
                 "which llama-quantize makes of"}),
      gguf_case("unknown_type", info({32}, 4711, 1024),
                {kShapes[1].hf + ": has type 4711 (unknown); supported"}),
      gguf_case("partial_block", info({48}, 8, 1024),
                {norm + ": K = 48 is not a multiple of 32, the block of Q8_0"}),
      gguf_case("partial_super_block", info({32}, 12, 1024),
                {norm + ": K = 32 is not a multiple of 256, the block of Q4_K"}),
      gguf_case("truncated_super_block", info({1 << 20}, 14, 1024),
                {norm + ": needs 860160 bytes"}),
      gguf_case("misaligned_offset", info({32}, 0, 1028),
                {norm + ": offset 1028 is not a multiple of the alignment 32"}),
      gguf_case("offset_past_the_file", info({32}, 0, 1ull << 40),
                {norm + ": needs 128 bytes at 1099511627776"}),
      gguf_case("overflowing_offset", info({32}, 0, ~uint64_t{31}), {norm + ": needs 128 bytes"}),
      gguf_case("overlap", info({32}, 0, 992), {norm + ": its data overlap"}),
      gguf_case("huge_name", [](G& f) { f.tensors[1] = raw(1ull << 63); },
                {"tensor name: 9223372036854775808 bytes"}),
  };
}

std::vector<HostileFile> gguf_llama_cases() {
  using G = GgufBytes;
  const auto set = [](const std::string& key, uint32_t value) {
    return [=](G& f) { set_pair(f, key, gguf_u32(key, value)); };
  };
  const auto add = [](const std::string& pair) { return [=](G& f) { f.pairs.push_back(pair); }; };
  return {
      gguf_case("no_architecture", [](G& f) { f.pairs.erase(f.pairs.begin()); },
                {"general.architecture: is missing"}),
      gguf_case("other_architecture",
                [](G& f) { f.pairs[0] = gguf_string("general.architecture", "qwen2"); },
                {"general.architecture: is \"qwen2\"; supported: llama"}),
      gguf_case("architecture_a_number",
                [](G& f) { f.pairs[0] = gguf_u32("general.architecture", 1); },
                {"general.architecture: is 1, expected a string"}),
      gguf_case("no_block_count", [](G& f) { f.pairs.erase(f.pairs.begin() + 2); },
                {"llama.block_count: is missing"}),
      gguf_case("zero_heads", set("llama.attention.head_count", 0),
                {"llama.attention.head_count: is 0, must be from 1"}),
      gguf_case("more_kv_heads", set("llama.attention.head_count_kv", 3),
                {"llama.attention.head_count_kv: is 3, must be from 1 to 2"}),
      gguf_case("huge_embedding", set("llama.embedding_length", ~0u),
                {"llama.embedding_length: is 4294967295, must be"}),
      gguf_case("head_count_array",
                [](G& f) {
                  set_pair(f, "llama.attention.head_count",
                           gguf_pair("llama.attention.head_count", 9,
                                     raw(4u) + raw(uint64_t{1}) + raw(2u)));
                },
                {"llama.attention.head_count: is missing"}),
      gguf_case("odd_head_size",
                [](G& f) {
                  set_pair(f, "llama.attention.head_count",
                           gguf_u32("llama.attention.head_count", 32));
                  set_pair(f, "llama.attention.head_count_kv",
                           gguf_u32("llama.attention.head_count_kv", 16));
                },
                {"q_proj.weight: 32 rows cannot be split into 32 heads"}),
      gguf_case("value_length", add(gguf_u32("llama.attention.value_length", 8)),
                {"llama.attention.value_length: differs"}),
      gguf_case("partial_rotary", add(gguf_u32("llama.rope.dimension_count", 8)),
                {"llama.rope.dimension_count: differs from the head size 16"}),
      gguf_case("nan_epsilon",
                [](G& f) {
                  f.pairs.back() = gguf_f32("llama.attention.layer_norm_rms_epsilon",
                                            std::numeric_limits<float>::quiet_NaN());
                },
                {"llama.attention.layer_norm_rms_epsilon: is nan, must be from 0 to 1"}),
      gguf_case("experts", add(gguf_u32("llama.expert_count", 8)),
                {"llama.expert_count: mixture-of-experts"}),
      gguf_case("split", add(gguf_u32("split.count", 3)),
                {"split.count: this file is one of 3 parts; join them"}),
      gguf_case("tokens_not_an_array",
                [](G& f) { f.pairs[1] = gguf_u32("tokenizer.ggml.tokens", 8); },
                {"tokenizer.ggml.tokens: must be an array"}),
      gguf_case("tokens_are_numbers",
                [](G& f) {
                  f.pairs[1] = gguf_pair("tokenizer.ggml.tokens", 9, raw(4u) + raw(uint64_t{0}));
                },
                {"tokenizer.ggml.tokens: is an array of uint32, expected string"}),
      gguf_case("negative_eos", add(gguf_pair("tokenizer.ggml.eos_token_id", 5, raw(-1))),
                {"tokenizer.ggml.eos_token_id: is -1, must be from 0"}),
  };
}

std::vector<HostileFile> gguf_tokenizer_cases() {
  using G = GgufBytes;
  const auto add = [](const std::vector<std::string>& pairs) {
    return [=](G& f) { f.pairs.insert(f.pairs.end(), pairs.begin(), pairs.end()); };
  };
  const std::string one_token =
      gguf_pair("tokenizer.ggml.tokens", 9, raw(8u) + raw(uint64_t{1}) + gguf_text("a"));
  const std::string gpt2 = gguf_string("tokenizer.ggml.model", "gpt2");
  return {
      gguf_case("unknown_tokenizer", add({gguf_string("tokenizer.ggml.model", "rwkv"), one_token}),
                {"tokenizer.ggml.model is \"rwkv\"; supported"}),
      gguf_case("tokenizer_without_tokens", add({gpt2}), {"tokenizer.ggml.tokens is empty"}),
      gguf_case("scores_are_doubles",
                add({gpt2, gguf_pair("tokenizer.ggml.scores", 9, raw(12u) + raw(uint64_t{0}))}),
                {"tokenizer.ggml.scores: is an array of float64, expected float32"}),
      gguf_case("bos_outside_the_vocabulary",
                add({gpt2, one_token, gguf_string("tokenizer.ggml.pre", "llama-bpe"),
                     gguf_u32("tokenizer.ggml.bos_token_id", 9)}),
                {"bos_token_id: id 9 is outside the vocabulary"}),
  };
}

}  // namespace

std::string write_valid_hf(const std::string& dir) {
  write(dir + "/config.json", kConfig);
  write(dir + "/model.safetensors", shard(0, kShapes.size()));
  return dir;
}

std::string write_valid_gguf(const std::string& dir) {
  write(dir + "/model.gguf", valid_gguf().bytes());
  return dir + "/model.gguf";
}

std::vector<HostileFile> hostile_files() {
  std::vector<HostileFile> all;
  for (auto& cases : {config_cases(), safetensors_cases(), index_cases(), folder_cases(),
                      name_cases(), gguf_header_cases(), gguf_tensor_cases(), gguf_llama_cases(),
                      gguf_tokenizer_cases(), hostile_quantized_files(), hostile_torch_files()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

void read_llama(const std::string& model) {
  constexpr int64_t kMax = 1 << 20;
  const auto checkpoint = open_checkpoint(model);
  const Hyperparams& config = checkpoint->config();
  const int64_t vocab = config.integer("vocab_size", 1, kMax);
  const int64_t hidden = config.integer("hidden_size", 1, kMax);
  const int64_t inter = config.integer("intermediate_size", 1, kMax);
  const int64_t layers = config.integer("num_hidden_layers", 1, kMax);
  const int64_t heads = config.integer("num_attention_heads", 1, kMax);
  const int64_t kv_heads = config.integer_or("num_key_value_heads", heads, 1, heads);
  const int64_t head_dim = config.integer_or("head_dim", hidden / heads, 1, kMax);
  config.number("rms_norm_eps", 0, 1);
  config.number_or("rope_theta", 10000.0, 1, 1e12);
  const bool tied = config.boolean_or("tie_word_embeddings", false);
  checkpoint->eos_ids();
  checkpoint->tokenizer();
  checkpoint->tensor("model.embed_tokens.weight", vocab, hidden);
  checkpoint->tensor("model.norm.weight", 1, hidden);
  if (!tied) checkpoint->tensor("lm_head.weight", vocab, hidden);
  for (int64_t i = 0; i < layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    checkpoint->tensor(layer + "input_layernorm.weight", 1, hidden);
    checkpoint->tensor(layer + "self_attn.q_proj.weight", heads * head_dim, hidden);
    checkpoint->tensor(layer + "self_attn.k_proj.weight", kv_heads * head_dim, hidden);
    checkpoint->tensor(layer + "self_attn.v_proj.weight", kv_heads * head_dim, hidden);
    checkpoint->tensor(layer + "self_attn.o_proj.weight", hidden, heads * head_dim);
    checkpoint->tensor(layer + "post_attention_layernorm.weight", 1, hidden);
    checkpoint->tensor(layer + "mlp.gate_proj.weight", inter, hidden);
    checkpoint->tensor(layer + "mlp.up_proj.weight", inter, hidden);
    checkpoint->tensor(layer + "mlp.down_proj.weight", hidden, inter);
  }
}

}  // namespace lowbit::fixtures
