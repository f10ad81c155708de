#include "load/torch_file.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/text.h"
#include "load/pickle.h"
#include "load/shards.h"
#include "load/zip.h"

namespace lowbit {
namespace {

constexpr size_t kMaxPickle = 8 << 20;  // a model of 400 billion weights needs half of one MiB
constexpr ShardNames kNames = {"pytorch_model.bin.index.json", "pytorch_model.bin",
                               "pytorch_model-", ".bin"};

struct ElementType {
  std::string_view name;
  int64_t bytes;
};
constexpr ElementType kElements[] = {
    {"F64", 8},     {"F32", 4}, {"F16", 2},     {"BF16", 2},        {"I64", 8},
    {"I32", 4},     {"I16", 2}, {"I8", 1},      {"U64", 8},         {"U32", 4},
    {"U16", 2},     {"U8", 1},  {"BOOL", 1},    {"C64", 8},         {"F8_E4M3", 1},
    {"F8_E5M2", 1}, {"", 1},    {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1},
};

int64_t element_bytes(std::string_view type) {
  const auto row = std::find_if(std::begin(kElements), std::end(kElements),
                                [&](const ElementType& e) { return e.name == type; });
  LB_CHECK(row != std::end(kElements), "type {}", type);
  return row->bytes;
}

class TorchFile {
 public:
  TorchFile(const std::string& path, const Bytes& file)
      : path_(path), entries_(read_zip(path, file)), folder_(find_folder()) {
    check_byte_order();
    const Bytes& text = entries_.at(folder_ + "data.pkl");
    if (text.data.size() > kMaxPickle) {
      throw_error("{}: data.pkl: {} bytes, at most {} are read", path, text.data.size(),
                  kMaxPickle);
    }
    pickle_ = read_pickle(path + ": data.pkl", text.text());
  }

  StoredTensors tensors() const {
    const PickleValue& root = at(pickle_.root);
    if (root.kind != PickleKind::kDict) {
      throw_error("{}: holds no dict of tensors; save the model's state_dict()", path_);
    }
    StoredTensors tensors = tensors_of(root);
    for (size_t i = 0; tensors.empty() && i + 1 < root.items.size(); i += 2) {
      const PickleValue &key = at(root.items[i]), &value = at(root.items[i + 1]);
      const bool inner = key.text == "state_dict" || key.text == "model";
      if (inner && value.kind == PickleKind::kDict) tensors = tensors_of(value);
    }
    if (tensors.empty()) throw_error("{}: holds no tensors", path_);
    return tensors;
  }

 private:
  const PickleValue& at(uint32_t value) const { return pickle_.values[value]; }

  // "archive/" of archive/data.pkl
  std::string find_folder() const {
    constexpr std::string_view kPickle = "/data.pkl";
    std::string folder;
    for (const auto& [name, bytes] : entries_) {
      if (!name.ends_with(kPickle) || std::count(name.begin(), name.end(), '/') != 1) continue;
      if (!folder.empty()) throw_error("{}: holds two pickles of weights", path_);
      folder = name.substr(0, name.size() - kPickle.size() + 1);
    }
    if (folder.empty()) {
      throw_error("{}: holds no data.pkl, so it is not what torch.save writes", path_);
    }
    return folder;
  }

  void check_byte_order() const {
    const auto order = entries_.find(folder_ + "byteorder");
    if (order != entries_.end() && order->second.text() != "little") {
      throw_error("{}: byteorder: is `{}`; only little-endian files are read", path_,
                  printable(order->second.text()));
    }
  }

  StoredTensors tensors_of(const PickleValue& dict) const {
    StoredTensors tensors;
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const PickleValue &key = at(dict.items[i]), &value = at(dict.items[i + 1]);
      if (key.kind != PickleKind::kText || value.kind != PickleKind::kTensor) continue;
      const std::string name(key.text);
      tensors[name] = tensor(name, value);  // the last of two wins, as in Python
    }
    return tensors;
  }

  [[noreturn]] void fail(const std::string& name, const std::string& message) const {
    throw_error("{}: {}: {}", path_, printable(name, 200), message);
  }

  std::vector<int64_t> sizes(const std::string& name, uint32_t tuple, const char* what) const {
    std::vector<int64_t> sizes;
    if (at(tuple).items.size() > 16) fail(name, fmt::format("{}: has over 16 dimensions", what));
    for (const uint32_t item : at(tuple).items) {
      if (at(item).kind != PickleKind::kInt || at(item).number < 0) {
        fail(name, fmt::format("{}: must be integers from 0 up", what));
      }
      sizes.push_back(at(item).number);
    }
    return sizes;
  }

  StoredTensor tensor(const std::string& name, const PickleValue& value) const {
    StoredTensor tensor{path_, std::string(value.type), sizes(name, value.items[2], "size"), {}};
    const std::vector<int64_t> stride = sizes(name, value.items[3], "stride");
    if (stride.size() != tensor.shape.size()) fail(name, "size and stride differ in length");
    const Bytes storage = storage_of(name, at(value.items[0]));
    const int64_t offset = at(value.items[1]).number;
    if (offset < 0) fail(name, fmt::format("storage_offset: is {}", offset));
    int64_t count = 1;  // also the stride that the next dimension outwards must have
    bool overflow = false, dense = true;
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      dense &= tensor.shape[i] == 1 || stride[i] == count;
      overflow |= __builtin_mul_overflow(count, tensor.shape[i], &count);
    }
    int64_t begin = 0, bytes = 0, end = 0;
    const int64_t each = element_bytes(value.type);
    overflow |= __builtin_mul_overflow(offset, each, &begin);
    overflow |= __builtin_mul_overflow(count, each, &bytes);
    overflow |= __builtin_add_overflow(begin, bytes, &end);
    if (count == 0 && !overflow) return tensor;
    if (!dense) {
      tensor.type += " with strides " + shape_text(stride) + ", not contiguous()";
      return tensor;
    }
    if (overflow || end > static_cast<int64_t>(storage.data.size())) {
      fail(name, fmt::format("{} of {} at element {} does not fit in its storage of {} bytes",
                             shape_text(tensor.shape), value.type, offset, storage.data.size()));
    }
    tensor.data = storage.slice(static_cast<size_t>(begin), static_cast<size_t>(bytes));
    return tensor;
  }

  Bytes storage_of(const std::string& name, const PickleValue& storage) const {
    const auto entry = entries_.find(folder_ + "data/" + std::string(storage.text));
    if (entry == entries_.end()) {
      fail(name, fmt::format("its storage data/{} is not in the file", printable(storage.text)));
    }
    int64_t bytes = 0;
    const bool overflow =
        __builtin_mul_overflow(storage.number, element_bytes(storage.type), &bytes);
    if (overflow || bytes != static_cast<int64_t>(entry->second.data.size())) {
      fail(name,
           fmt::format("its storage data/{} has {} bytes, but {} elements of {} are asked for",
                       printable(storage.text), entry->second.data.size(), storage.number,
                       storage.type.empty() ? "one byte" : storage.type));
    }
    return entry->second;
  }

  std::string path_;
  std::map<std::string, Bytes> entries_;
  std::string folder_;
  Pickle pickle_;
};

}  // namespace

StoredTensors parse_torch_file(const std::string& path, const Bytes& file) {
  if (file.text().starts_with("\x80")) {
    throw_error(
        "{}: is a bare pickle, which PyTorch wrote before version 1.6 (a zip archive since); "
        "torch.load it there and torch.save it again",
        path);
  }
  return TorchFile(path, file).tensors();
}

StoredTensors open_torch_folder(const Folder& folder) {
  return open_shards(folder, kNames, parse_torch_file);
}

bool has_torch_weights(const Folder& folder) { return !shard_files(folder, kNames).empty(); }

}  // namespace lowbit
