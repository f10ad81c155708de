#include "load/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "load/gguf_blocks.h"

namespace lowbit {
namespace {

using nlohmann::json;

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint32_t kMaxDims = 4;

// Numbers as in gguf.md.
enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kText,
  kArray,
  kU64,
  kI64,
  kF64,
  kValueTypes
};

struct ValueTypeRow {
  std::string_view name;
  size_t bytes;  // 0: not a number
};
constexpr ValueTypeRow kValueRows[kValueTypes] = {
    {"uint8", 1},  {"int8", 1},    {"uint16", 2},  {"int16", 2},  {"uint32", 4},
    {"int32", 4},  {"float32", 4}, {"bool", 1},    {"string", 0}, {"array", 0},
    {"uint64", 8}, {"int64", 8},   {"float64", 8},
};

// A cursor that never leaves the file; every message says what was being read.
class Reader {
 public:
  Reader(const std::string& path, std::span<const std::byte> data) : path_(path), data_(data) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return data_.size() - position_; }

  [[noreturn]] void fail(const std::string& message) const {
    throw_error("{}: {}", path_, message);
  }

  std::span<const std::byte> take(uint64_t size, const std::string& what) {
    if (size > left()) {
      fail(fmt::format("{}: {} bytes at byte {}, but the file ends after {}", what, size, position_,
                       data_.size()));
    }
    const auto bytes = data_.subspan(position_, size);
    position_ += size;
    return bytes;
  }

  template <class T>
  T number(const std::string& what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }

  std::string_view text(const std::string& what) {
    const auto size = number<uint64_t>(what + ": length");
    const auto bytes = take(size, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  // A number of things of at least `least_bytes` each: one that cannot fit is not believed.
  uint64_t count(const std::string& what, uint64_t least_bytes) {
    const auto count = number<uint64_t>(what);
    if (count > left() / least_bytes) {
      fail(fmt::format("{}: {} do not fit in the {} bytes that follow", what, count, left()));
    }
    return count;
  }

 private:
  const std::string& path_;
  std::span<const std::byte> data_;
  uint64_t position_ = 0;
};

uint32_t read_version(Reader& reader) {
  const auto magic = reader.take(4, "magic");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
    reader.fail("does not start with \"GGUF\"; not a GGUF file, or damaged");
  }
  const auto version = reader.number<uint32_t>("version");
  if (version != 0 && (version & 0xffff) == 0) {
    reader.fail("is a big-endian GGUF file; only little-endian ones are read");
  }
  if (version != 2 && version != 3) {
    reader.fail(fmt::format("is GGUF version {}; supported: 2 and 3", version));
  }
  return version;
}

ValueType read_type(Reader& reader, const std::string& what) {
  const auto type = reader.number<uint32_t>(what);
  if (type >= kValueTypes) reader.fail(fmt::format("{}: unknown value type {}", what, type));
  return static_cast<ValueType>(type);
}

json read_value(Reader& reader, ValueType type, const std::string& what) {
  switch (type) {
    case kU8:
      return reader.number<uint8_t>(what);
    case kI8:
      return reader.number<int8_t>(what);
    case kU16:
      return reader.number<uint16_t>(what);
    case kI16:
      return reader.number<int16_t>(what);
    case kU32:
      return reader.number<uint32_t>(what);
    case kI32:
      return reader.number<int32_t>(what);
    case kU64:
      return reader.number<uint64_t>(what);
    case kI64:
      return reader.number<int64_t>(what);
    case kF64:
      return reader.number<double>(what);
    case kF32: {
      // The shortest decimal, not the widened bits: 1e-5 must be what config.json's 1e-5 is.
      const auto value = reader.number<float>(what);
      return parse_double(fmt::format("{}", value)).value_or(value);
    }
    case kBool: {
      const auto value = reader.number<uint8_t>(what);
      if (value > 1) reader.fail(fmt::format("{}: is {}, a bool is 0 or 1", what, value));
      return value == 1;
    }
    default:
      return std::string(reader.text(what));
  }
}

GgufArray read_array(Reader& reader, const std::string& what) {
  const ValueType type = read_type(reader, what);
  if (type == kArray) reader.fail(what + ": arrays of arrays are not supported");
  GgufArray array{kValueRows[type].name, kValueRows[type].bytes, 0, {}, {}};
  if (type != kText) {
    array.count = reader.count(what + ": count", array.element_bytes);
    array.data = reader.take(array.count * array.element_bytes, what);
    return array;
  }
  array.count = reader.count(what + ": count", sizeof(uint64_t));
  array.texts.reserve(array.count);
  for (uint64_t i = 0; i < array.count; ++i) array.texts.push_back(reader.text(what));
  return array;
}

StoredTensor read_tensor_info(Reader& reader, const std::string& path, const std::string& name,
                              uint64_t* offset) {
  StoredTensor tensor{path, "", {}, {}};
  const auto dims = reader.number<uint32_t>(name + ": dimensions");
  if (dims == 0 || dims > kMaxDims) {
    reader.fail(fmt::format("{}: has {} dimensions, must be from 1 to {}", name, dims, kMaxDims));
  }
  for (uint32_t i = 0; i < dims; ++i) {
    const auto size = reader.number<uint64_t>(name + ": dimensions");
    if (size > INT64_MAX) reader.fail(fmt::format("{}: dimension {} is {}", name, i, size));
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  const auto type = reader.number<uint32_t>(name + ": type");
  const auto types = gguf_types();
  const auto row =
      std::find_if(types.begin(), types.end(), [&](const GgufType& t) { return t.id == type; });
  tensor.type = row == types.end() ? fmt::format("{} (unknown)", type) : std::string(row->name);
  *offset = reader.number<uint64_t>(name + ": offset");
  return tensor;
}

// Bytes of a tensor of a type that we read; 0 for the others, whose extents are not checked.
uint64_t data_bytes(const Reader& reader, const std::string& name, const StoredTensor& tensor) {
  const GgufType* type = find_gguf_type(tensor.type);
  if (!type || type->block_weights == 0) return 0;
  if (tensor.shape.back() % type->block_weights != 0) {
    reader.fail(fmt::format("{}: K = {} is not a multiple of {}, the block of {}", name,
                            tensor.shape.back(), type->block_weights, type->name));
  }
  int64_t bytes = type->block_bytes;
  bool overflow = false;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    const int64_t size =
        i + 1 == tensor.shape.size() ? tensor.shape[i] / type->block_weights : tensor.shape[i];
    overflow |= __builtin_mul_overflow(bytes, size, &bytes);
  }
  if (overflow) reader.fail(name + ": the product of its dimensions overflows");
  return static_cast<uint64_t>(bytes);
}

struct Extent {
  uint64_t begin, end;
  const std::string* name;
};

void check_no_overlap(const Reader& reader, std::vector<Extent> extents) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  for (size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].begin < extents[i - 1].end) {
      reader.fail(fmt::format("{}: its data overlap those of {}", printable(*extents[i].name),
                              printable(*extents[i - 1].name)));
    }
  }
}

}  // namespace

GgufFile::GgufFile(const std::string& path, const Bytes& file)
    : path_(path), file_(file), values_(Hyperparams::from_tree(path, json::object())) {
  Reader reader(path_, file.data);
  version_ = read_version(reader);
  // The shortest tensor entry: name length, one dimension, type, offset. The shortest pair: key
  // length, type, one byte.
  const uint64_t tensor_count = reader.count("number of tensors", 8 + 4 + 8 + 4 + 8);
  pair_count_ = reader.count("number of metadata pairs", 8 + 4 + 1);
  const uint64_t pairs_begin = reader.position();
  json values = json::object();
  for (uint64_t i = 0; i < pair_count_; ++i) {
    const std::string key(reader.text("metadata key"));
    const std::string what = printable(key, 200);
    const ValueType type = read_type(reader, what + ": type");
    const bool fresh = type == kArray ? arrays_.emplace(key, read_array(reader, what)).second
                                      : values.emplace(key, read_value(reader, type, what)).second;
    if (!fresh || (type == kArray ? values.contains(key) : arrays_.contains(key))) {
      reader.fail(what + ": the key appears twice");
    }
  }
  pairs_ = file_.data.subspan(pairs_begin, reader.position() - pairs_begin);
  values_ = Hyperparams::from_tree(path, std::move(values));
  const auto alignment = static_cast<uint64_t>(
      values_.integer_or("general.alignment", kDefaultAlignment, 1, INT32_MAX));
  if (!std::has_single_bit(alignment)) {
    values_.fail("general.alignment", fmt::format("is {}, must be a power of two", alignment));
  }
  std::vector<std::pair<StoredTensors::iterator, uint64_t>> offsets;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    const std::string name(reader.text("tensor name"));
    uint64_t offset = 0;
    StoredTensor tensor = read_tensor_info(reader, path_, printable(name, 200), &offset);
    const auto [at, fresh] = tensors_.emplace(name, std::move(tensor));
    if (!fresh) reader.fail(printable(name, 200) + ": the tensor appears twice");
    offsets.emplace_back(at, offset);
  }
  const uint64_t data_begin = (reader.position() + alignment - 1) / alignment * alignment;
  const uint64_t data_size = file.data.size() < data_begin ? 0 : file.data.size() - data_begin;
  std::vector<Extent> extents;
  for (const auto& [at, offset] : offsets) {
    const std::string name = printable(at->first, 200);
    if (offset % alignment != 0) {
      reader.fail(fmt::format("{}: offset {} is not a multiple of the alignment {}", name, offset,
                              alignment));
    }
    const uint64_t size = data_bytes(reader, name, at->second);
    if (offset > data_size || size > data_size - offset) {
      reader.fail(
          fmt::format("{}: needs {} bytes at {}, but the file holds {} bytes of data; it "
                      "may be incomplete, download it again",
                      name, size, offset, data_size));
    }
    if (size == 0) continue;
    at->second.data = file.slice(data_begin + offset, size);
    extents.push_back({offset, offset + size, &at->first});
  }
  check_no_overlap(reader, std::move(extents));
}

std::string GgufFile::without_tensors() const {
  std::string bytes = "GGUF";
  const auto append = [&](const auto& value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  append(version_);
  append(uint64_t{0});
  append(pair_count_);
  bytes.append(reinterpret_cast<const char*>(pairs_.data()), pairs_.size());
  return bytes;
}

const GgufArray* GgufFile::find_array(std::string_view key) const {
  const auto at = arrays_.find(key);
  if (at != arrays_.end()) return &at->second;
  if (values_.has(key)) values_.fail(key, "must be an array");
  return nullptr;
}

std::vector<std::string_view> GgufFile::texts(std::string_view key) const {
  const GgufArray* array = find_array(key);
  if (!array) return {};
  if (array->element != "string") {
    values_.fail(key, fmt::format("is an array of {}, expected string", array->element));
  }
  return array->texts;
}

std::vector<float> GgufFile::floats(std::string_view key) const {
  const GgufArray* array = find_array(key);
  if (!array) return {};
  if (array->element != "float32") {
    values_.fail(key, fmt::format("is an array of {}, expected float32", array->element));
  }
  std::vector<float> numbers(array->count);
  if (numbers.empty()) return numbers;
  std::memcpy(numbers.data(), array->data.data(), array->data.size());
  return numbers;
}

std::vector<int32_t> GgufFile::integers(std::string_view key) const {
  const GgufArray* array = find_array(key);
  if (!array) return {};
  if (array->element != "int32" && array->element != "uint32") {
    values_.fail(key, fmt::format("is an array of {}, expected int32", array->element));
  }
  std::vector<int32_t> numbers(array->count);
  if (numbers.empty()) return numbers;
  std::memcpy(numbers.data(), array->data.data(), array->data.size());
  return numbers;
}

QTensor gguf_tensor(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k,
                    float outer) {
  const QTensor outline = gguf_outline(name, stored, n, k);
  return outline.format.quantized()
             ? split_gguf_blocks(name, stored, *find_gguf_type(stored.type), n, k, outer)
             : plain_tensor(name, stored, n, k, readable_gguf_types());
}

QTensor gguf_outline(const std::string& name, const StoredTensor& stored, int64_t n, int64_t k) {
  const GgufType* type = find_gguf_type(stored.type);
  if (!type || !type->split) return plain_outline(name, stored, n, k, readable_gguf_types());
  check_shape(name, stored, n, k);
  return {format_of(type->format), n, k};
}

}  // namespace lowbit
