// A writer of torch.save's files for tests, without any of the loader's checks.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "load/files.h"

namespace lowbit::fixtures {

// ---- Pickles: one function per opcode or value, put together with +

inline std::string pickle(const std::string& body) { return "\x80\x02" + body + "."; }
inline std::string pickle_text(const std::string& text) {
  return "X" + raw(static_cast<uint32_t>(text.size())) + text;
}
inline std::string pickle_int(int64_t value) { return std::string("\x8a\x08") + raw(value); }
inline std::string pickle_global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string pickle_tuple(const std::vector<int64_t>& values) {
  std::string out = "(";
  for (const int64_t value : values) out += pickle_int(value);
  return out + "t";
}
// collections.OrderedDict()
inline std::string pickle_ordered() { return pickle_global("collections", "OrderedDict") + ")R"; }

inline std::string pickle_storage(const std::string& type, const std::string& key,
                                  int64_t elements) {
  return "(" + pickle_text("storage") + pickle_global("torch", type) + pickle_text(key) +
         pickle_text("cpu") + pickle_int(elements) + "tQ";
}

struct TorchView {
  int64_t offset = 0;
  std::vector<int64_t> shape, stride;
};
inline std::string pickle_tensor(const std::string& storage, const TorchView& view) {
  return pickle_global("torch._utils", "_rebuild_tensor_v2") + "(" + storage +
         pickle_int(view.offset) + pickle_tuple(view.shape) + pickle_tuple(view.stride) + "\x89" +
         pickle_ordered() + "tR";
}

inline std::vector<int64_t> dense_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> stride(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) stride[i - 1] = stride[i] * shape[i];
  return stride;
}

// ---- Zip archives

struct ZipEntry {
  std::string name, data;
  uint16_t method = 0, flags = 0;
};

// `align`: of each entry's data, by a padded extra field as PyTorch has it. `zip64`: every size and
// offset stands in the extra fields that are meant for files beyond 4 GiB.
inline std::string zip_file(const std::vector<ZipEntry>& entries, size_t align = 64,
                            bool zip64 = false) {
  constexpr uint32_t kIn64 = 0xffffffff;
  std::string out, directory;
  for (const ZipEntry& e : entries) {
    const uint64_t at = out.size(), size = e.data.size();
    const uint32_t shown = zip64 ? kIn64 : static_cast<uint32_t>(size);
    std::string extra;
    if (zip64) extra = raw(uint16_t{1}) + raw(uint16_t{16}) + raw(size) + raw(size);
    const size_t begin = at + 30 + e.name.size() + extra.size() + 4;
    const size_t padding = (align - begin % align) % align;
    extra += "FB" + raw(static_cast<uint16_t>(padding)) + std::string(padding, 'Z');
    const std::string common = raw(uint16_t{0}) + raw(e.flags) + raw(e.method) + raw(uint32_t{0}) +
                               raw(uint32_t{0}) + raw(shown) + raw(shown) +
                               raw(static_cast<uint16_t>(e.name.size()));
    out +=
        "PK\x03\x04" + common + raw(static_cast<uint16_t>(extra.size())) + e.name + extra + e.data;
    std::string more;
    if (zip64) more = raw(uint16_t{1}) + raw(uint16_t{24}) + raw(size) + raw(size) + raw(at);
    directory += "PK\x01\x02" + raw(uint16_t{0}) + common +
                 raw(static_cast<uint16_t>(more.size())) + raw(uint16_t{0}) + raw(uint16_t{0}) +
                 raw(uint16_t{0}) + raw(uint32_t{0}) +
                 raw(zip64 ? kIn64 : static_cast<uint32_t>(at)) + e.name + more;
  }
  const uint64_t at = out.size(), size = directory.size(), count = entries.size();
  out += directory;
  if (zip64) {
    out += "PK\x06\x06" + raw(uint64_t{44}) + raw(uint32_t{0}) + raw(uint64_t{0}) + raw(count) +
           raw(count) + raw(size) + raw(at);
    out += "PK\x06\x07" + raw(uint32_t{0}) + raw(at + size) + raw(uint32_t{1});
  }
  const auto shown_count = static_cast<uint16_t>(zip64 ? 0xffff : count);
  return out + "PK\x05\x06" + raw(uint32_t{0}) + raw(shown_count) + raw(shown_count) +
         raw(static_cast<uint32_t>(zip64 ? kIn64 : size)) +
         raw(static_cast<uint32_t>(zip64 ? kIn64 : at)) + raw(uint16_t{0});
}

// ---- Both

struct TorchTensor {
  std::string name, type;  // "BFloat16Storage"
  std::vector<int64_t> shape;
  std::string data;
};

inline std::vector<ZipEntry> torch_entries(const std::vector<TorchTensor>& tensors) {
  std::vector<ZipEntry> entries = {{"archive/data.pkl", ""}, {"archive/byteorder", "little"}};
  std::string items;
  for (const TorchTensor& t : tensors) {
    const std::string key = std::to_string(entries.size() - 2);
    int64_t elements = 1;
    for (const int64_t size : t.shape) elements *= size;
    items += pickle_text(t.name) + pickle_tensor(pickle_storage(t.type, key, elements),
                                                 {0, t.shape, dense_strides(t.shape)});
    entries.push_back({"archive/data/" + key, t.data});
  }
  entries[0].data = pickle(pickle_ordered() + "q\x01(" + items + "u}" + pickle_text("_metadata") +
                           pickle_ordered() + "sb");
  return entries;
}

inline std::string torch_file(const std::vector<TorchTensor>& tensors) {
  return zip_file(torch_entries(tensors));
}

}  // namespace lowbit::fixtures
