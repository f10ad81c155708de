#include "load/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "load/json.h"
#include "load/shards.h"

namespace lowbit {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;  // the reference reader's limit
constexpr std::string_view kSuffix = ".safetensors";
constexpr ShardNames kNames = {"model.safetensors.index.json", "model.safetensors", "", kSuffix};

struct DtypeBits {
  std::string_view name;
  int64_t bits;
};
constexpr DtypeBits kDtypes[] = {
    {"F64", 64},    {"F32", 32},    {"F16", 16},        {"BF16", 16},       {"I64", 64},
    {"I32", 32},    {"I16", 16},    {"I8", 8},          {"U64", 64},        {"U32", 32},
    {"U16", 16},    {"U8", 8},      {"BOOL", 8},        {"C64", 64},        {"F8_E4M3", 8},
    {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F6_E2M3", 6},
    {"F6_E3M2", 6}, {"F4", 4},
};

// "FILE: tensor NAME: message"
[[noreturn]] void fail(const std::string& path, const std::string& name,
                       const std::string& message) {
  throw_error("{}: {}: {}", path, printable(name, 200), message);
}

int64_t to_size(const std::string& path, const std::string& name, const char* field,
                const json& value) {
  const bool fits = value.is_number_unsigned() && value.get<uint64_t>() <= INT64_MAX;
  if (!fits) {
    fail(path, name,
         fmt::format("{}: is {}, expected an integer from 0 to 2^63 - 1", field, describe(value)));
  }
  return value.get<int64_t>();
}

const json& field(const std::string& path, const std::string& name, const json& entry,
                  const char* key, json::value_t type, const char* expected) {
  const auto at = entry.find(key);
  if (at == entry.end()) fail(path, name, fmt::format("{}: is missing in the header", key));
  if (at->type() != type) {
    fail(path, name, fmt::format("{}: is {}, expected {}", key, describe(*at), expected));
  }
  return *at;
}

// Bytes that shape and dtype ask for; nullopt for a dtype that is not in the table.
std::optional<int64_t> bytes_of(const std::string& path, const std::string& name,
                                const StoredTensor& tensor) {
  const auto row = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                [&](const DtypeBits& d) { return d.name == tensor.type; });
  if (row == std::end(kDtypes)) return std::nullopt;
  int64_t bits = row->bits;
  bool overflow = false;
  for (const int64_t size : tensor.shape) overflow |= __builtin_mul_overflow(bits, size, &bits);
  const bool has_zero =
      std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
  if (has_zero) return 0;
  if (overflow) fail(path, name, "shape: the product of its sizes overflows");
  return (bits + 7) / 8;
}

struct Parsed {
  json header;
  Bytes data;
};

Parsed parse_header(const std::string& path, const Bytes& file) {
  uint64_t header_size = 0;
  if (file.data.size() < sizeof header_size) {
    throw_error("{}: {} bytes, too short for a safetensors file", path, file.data.size());
  }
  std::memcpy(&header_size, file.data.data(), sizeof header_size);
  const uint64_t rest = file.data.size() - sizeof header_size;
  if (header_size > kMaxHeader) {
    throw_error("{}: header length {} is above {}; not a safetensors file, or damaged", path,
                header_size, kMaxHeader);
  }
  if (header_size > rest) {
    throw_error("{}: header length {}, but only {} bytes follow; the file is truncated", path,
                header_size, rest);
  }
  const Bytes header_bytes = file.slice(sizeof header_size, header_size);
  const Bytes data = file.slice(sizeof header_size + header_size, rest - header_size);
  const json header = parse_json(path + ": header", header_bytes.text());
  if (!header.is_object()) throw_error("{}: header: is {}, not an object", path, describe(header));
  return {header, data};
}

struct Extent {
  int64_t begin, end;
  const std::string* name;
};

// The reference reader's rule: sorted by offset, each tensor starts where the last one ended.
void check_extents(const std::string& path, std::vector<Extent> extents, int64_t size) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t at = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != at) {
      fail(path, *extent.name,
           fmt::format("data_offsets: start at {}, but {} at {}", extent.begin,
                       extent.begin < at ? "overlap a tensor that ends" : "the one before ends",
                       at));
    }
    at = extent.end;
  }
  if (at != size) {
    throw_error("{}: {} bytes follow the last tensor; the file is damaged", path, size - at);
  }
}

StoredTensor read_entry(const std::string& path, const std::string& name, const json& entry,
                        const Bytes& data, Extent* extent) {
  if (!entry.is_object()) fail(path, name, fmt::format("is {} in the header", describe(entry)));
  StoredTensor tensor{path, "", {}, {}};
  tensor.type =
      field(path, name, entry, "dtype", json::value_t::string, "a string").get<std::string>();
  for (const json& size :
       field(path, name, entry, "shape", json::value_t::array, "a list of sizes")) {
    tensor.shape.push_back(to_size(path, name, "shape", size));
  }
  const json& offsets =
      field(path, name, entry, "data_offsets", json::value_t::array, "[begin, end]");
  if (offsets.size() != 2) {
    fail(path, name, fmt::format("data_offsets: is {}, expected [begin, end]", describe(offsets)));
  }
  const int64_t begin = to_size(path, name, "data_offsets", offsets[0]);
  const int64_t end = to_size(path, name, "data_offsets", offsets[1]);
  const int64_t size = static_cast<int64_t>(data.data.size());
  if (begin > end) fail(path, name, fmt::format("data_offsets: end {} before {}", end, begin));
  if (end > size) {
    fail(path, name,
         fmt::format("data_offsets: end at byte {}, but the file holds {} bytes of data; it may be "
                     "incomplete, download it again",
                     end, size));
  }
  const auto expected = bytes_of(path, name, tensor);
  if (expected && *expected != end - begin) {
    fail(path, name,
         fmt::format("data_offsets: {} bytes, but shape and dtype ask for {}", end - begin,
                     *expected));
  }
  *extent = {begin, end, nullptr};
  tensor.data = data.slice(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  return tensor;
}

}  // namespace

StoredTensors parse_safetensors(const std::string& path, const Bytes& file) {
  const auto [header, data] = parse_header(path, file);
  StoredTensors tensors;
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;  // free text of the tool that wrote the file
    Extent extent;
    const auto at = tensors.emplace(name, read_entry(path, name, entry, data, &extent)).first;
    extent.name = &at->first;
    extents.push_back(extent);
  }
  check_extents(path, std::move(extents), static_cast<int64_t>(data.data.size()));
  return tensors;
}

StoredTensors open_safetensors(const Folder& folder) {
  return open_shards(folder, kNames, parse_safetensors);
}

std::map<std::string, std::string> read_safetensors_metadata(const Folder& folder) {
  std::map<std::string, std::string> metadata;
  for (const std::string& name : folder.names()) {
    if (!name.ends_with(kSuffix)) continue;
    const json header = parse_header(folder.path_of(name), folder.open(name)).header;
    const auto at = header.find("__metadata__");
    if (at == header.end() || !at->is_object()) continue;
    for (const auto& [key, value] : at->items()) {
      if (value.is_string()) metadata.emplace(key, value.get<std::string>());
    }
  }
  return metadata;
}

}  // namespace lowbit
