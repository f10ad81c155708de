// The tiny Llama as pytorch_model.bin, broken in one place: the archive, the pickle, a tensor.
#include <filesystem>
#include <fstream>
#include <functional>

#include "load/hostile_files.h"
#include "load/torch_files.h"

namespace lowbit::fixtures {
namespace {

HostileFile bytes_case(const std::string& name, const std::string& bytes,
                       std::vector<std::string> expected) {
  expected.insert(expected.begin(), "pytorch_model.bin: ");
  return {"torch_" + name,
          [=](const std::string& dir) {
            write_valid_hf(dir);
            std::filesystem::remove(dir + "/model.safetensors");
            std::ofstream(dir + "/pytorch_model.bin", std::ios::binary) << bytes;
            return dir;
          },
          expected};
}

const std::string kName = "model.norm.weight";

// A file whose one storage "0" has four floats, and whose pickle is this.
std::string with_pickle(const std::string& text) {
  return zip_file({{"a/data.pkl", text}, {"a/data/0", std::string(16, '\0')}});
}

// {kName: value}
std::string with_value(const std::string& value) {
  return with_pickle(pickle("}" + pickle_text(kName) + value + "s"));
}

std::string with_view(const TorchView& view) {
  return with_value(pickle_tensor(pickle_storage("FloatStorage", "0", 4), view));
}

HostileFile pickle_case(const std::string& name, const std::string& text,
                        std::vector<std::string> expected) {
  expected.insert(expected.begin(), "data.pkl: byte ");
  return bytes_case("pickle_" + name, with_pickle(text), std::move(expected));
}

std::vector<HostileFile> zip_cases() {
  const std::vector<ZipEntry> entries =
      torch_entries({{kName, "FloatStorage", {4}, "0123456789abcdef"}});
  const std::string valid = zip_file(entries), valid64 = zip_file(entries, 64, true);
  const auto edited = [&](const std::function<void(std::vector<ZipEntry>&)>& edit) {
    std::vector<ZipEntry> copy = entries;
    edit(copy);
    return zip_file(copy);
  };
  const auto patched = [](std::string file, size_t from_end, const std::string& bytes) {
    return file.replace(file.size() - from_end, bytes.size(), bytes);
  };
  const size_t locator = 22 + 20, record = locator + 56;
  return {
      bytes_case("empty", "", {"has no zip directory"}),
      bytes_case("truncated", valid.substr(0, valid.size() / 2), {"has no zip directory"}),
      bytes_case("compressed", edited([](auto& e) { e[2].method = 8; }),
                 {"archive/data/0: is compressed"}),
      bytes_case("encrypted", edited([](auto& e) { e[2].flags = 1; }),
                 {"archive/data/0: is encrypted"}),
      bytes_case("twice", edited([](auto& e) { e.push_back(e[2]); }),
                 {"archive/data/0: is there twice"}),
      bytes_case("big_endian", edited([](auto& e) { e[1].data = "big"; }), {"byteorder: is `big`"}),
      bytes_case("no_pickle", edited([](auto& e) { e[0].name = "archive/x"; }),
                 {"holds no data.pkl"}),
      bytes_case("two_pickles", edited([](auto& e) {
                   e.push_back({"b/data.pkl", ""});
                 }),
                 {"two pickles"}),
      bytes_case("no_storage", edited([](auto& e) { e.pop_back(); }),
                 {kName + ": its storage data/0 is not in the file"}),
      bytes_case("short_storage", edited([](auto& e) { e[2].data.pop_back(); }),
                 {kName + ": its storage data/0 has 15 bytes, but 4 elements of F32"}),
      bytes_case("directory_outside", patched(valid, 6, raw(uint32_t{0x7fffffff})),
                 {"zip directory: ", "but the file ends after"}),
      bytes_case("more_entries", patched(valid, 12, raw(uint16_t{9})),
                 {"the zip directory ends after 3 of 9 entries"}),
      bytes_case("no_locator", patched(valid64, locator, "XXXX"),
                 {"zip64: the locator is missing"}),
      bytes_case("locator_outside", patched(valid64, locator - 8, raw(~uint64_t{0})),
                 {"zip64 record: 56 bytes at byte 18446744073709551615"}),
      bytes_case("no_record", patched(valid64, record, "XXXX"), {"zip64: the record is missing"}),
      bytes_case("many_entries64", patched(valid64, record - 32, raw(~uint64_t{0})),
                 {"ends after 3 of 18446744073709551615 entries"}),
      bytes_case("directory64_outside", patched(valid64, record - 48, raw(~uint64_t{7})),
                 {"zip directory: "}),
      bytes_case("no_entry_header", patched(valid, valid.size(), "XXXX"),
                 {"archive/data.pkl: has no header"}),
  };
}

std::vector<HostileFile> pickle_cases() {
  const std::string run = pickle_global("os", "system") + "(" + pickle_text("true") + "tR";
  return {
      pickle_case("runs_a_program", pickle(run), {"asks for os.system, which is not"}),
      pickle_case("never_stops", "\x80\x02}", {"1 bytes are asked for, but 0 are left"}),
      pickle_case("protocol_1", "\x80\x01}.", {"is of pickle protocol 1"}),
      pickle_case("empty_stack", pickle(""), {"takes a value from an empty stack"}),
      pickle_case("below_the_mark", pickle("N(0"), {"takes a value from an empty stack"}),
      pickle_case("no_mark", pickle("NNt"), {"up to a mark that is not there"}),
      pickle_case("no_memo", pickle("h\x05"), {"value 5 has not been stored"}),
      pickle_case("long_text", pickle("X" + raw(uint32_t{0xfffffff0}) + "abc"),
                  {"4294967280 bytes are asked for, but 4 are left"}),
      pickle_case("long_integer", pickle("\x8a\x09" + std::string(9, '\1')),
                  {"does not fit in 64 bits"}),
      pickle_case("endless_name", pickle("cos"), {"a name does not end"}),
      pickle_case("append_to_dict", pickle("}Na"), {"changes what is not a list"}),
      pickle_case("set_in_list", pickle("]NNs"), {"changes what is not a dict"}),
      pickle_case("key_without_value", pickle("}(Nu"), {"a key without a value"}),
      pickle_case("attributes_of_a_list", pickle("]}b"), {"changes what is not a dict"}),
      pickle_case("calls_a_list", pickle("])R"), {"calls what is not a function"}),
      pickle_case("calls_with_a_list", pickle(pickle_global("torch", "Size") + "]R"),
                  {"with what is not a tuple"}),
      pickle_case("ordered_dict_of_pairs",
                  pickle(pickle_global("collections", "OrderedDict") + "]\x85R"),
                  {"OrderedDict that is made from other values"}),
      pickle_case("foreign_reference", pickle(pickle_text("module") + "\x85Q"),
                  {"not a storage of this file"}),
      pickle_case("tensor_of_text",
                  pickle(pickle_global("torch._utils", "_rebuild_tensor") + "(NNNNtR"),
                  {"other values than storage, offset, size and stride"}),
      pickle_case("parameter_of_none",
                  pickle(pickle_global("torch._utils", "_rebuild_parameter") + "N\x85R"),
                  {"a parameter is no tensor"}),
      bytes_case("root_a_list", with_pickle(pickle("]")), {"holds no dict of tensors"}),
      bytes_case("root_itself", with_pickle(pickle("}q\x01" + pickle_text("model") + "h\x01s")),
                 {"holds no tensors"}),
  };
}

std::vector<HostileFile> tensor_cases() {
  const int64_t huge = int64_t{1} << 62;
  return {
      bytes_case("offset_beyond", with_view({1, {4}, {1}}),
                 {kName + ": [4] of F32 at element 1 does not fit in its storage of 16 bytes"}),
      bytes_case("negative_offset", with_view({-1, {4}, {1}}), {kName + ": storage_offset: is -1"}),
      bytes_case("huge_offset", with_view({huge, {4}, {1}}), {"does not fit in its storage"}),
      bytes_case("negative_size", with_view({0, {-4}, {1}}),
                 {kName + ": size: must be integers from 0 up"}),
      bytes_case("huge_size", with_view({0, {huge, huge}, {huge, 1}}),
                 {"does not fit in its storage"}),
      bytes_case("missing_stride", with_view({0, {2, 2}, {1}}),
                 {kName + ": size and stride differ in length"}),
      bytes_case("many_dimensions",
                 with_view({0, std::vector<int64_t>(17, 1), std::vector<int64_t>(17, 1)}),
                 {kName + ": size: has over 16 dimensions"}),
      bytes_case(
          "huge_storage",
          with_value(pickle_tensor(pickle_storage("FloatStorage", "0", huge), {0, {4}, {1}})),
          {kName + ": its storage data/0 has 16 bytes, but"}),
      bytes_case("storage_path",
                 with_value(pickle_tensor(pickle_storage("FloatStorage", "../data.pkl", 4),
                                          {0, {4}, {1}})),
                 {kName + ": its storage data/../data.pkl is not in the file"}),
  };
}

}  // namespace

std::vector<HostileFile> hostile_torch_files() {
  std::vector<HostileFile> all;
  for (auto& cases : {zip_cases(), pickle_cases(), tensor_cases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

}  // namespace lowbit::fixtures
