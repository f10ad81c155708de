#include "load/zip.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr size_t kMaxComment = 0xffff;
constexpr uint16_t kEncrypted = 1, kExtra64 = 1;
constexpr uint32_t kIn64 = 0xffffffff;  // "see the zip64 record"
constexpr uint16_t kIn64Short = 0xffff;

// Little-endian fields at checked places of the file.
class View {
 public:
  View(const std::string& path, std::span<const std::byte> data) : path_(path), data_(data) {}

  [[noreturn]] void fail(const std::string& message) const {
    throw_error("{}: {}; the file is damaged or incomplete, download it again", path_, message);
  }
  size_t size() const { return data_.size(); }
  bool holds(uint64_t at, uint64_t bytes) const {
    return at <= data_.size() && bytes <= data_.size() - at;
  }
  void need(uint64_t at, uint64_t bytes, const std::string& what) const {
    if (!holds(at, bytes)) {
      fail(fmt::format("{}: {} bytes at byte {}, but the file ends after {}", what, bytes, at,
                       data_.size()));
    }
  }
  // `at` has been checked.
  template <class T>
  T number(uint64_t at) const {
    T value;
    std::memcpy(&value, data_.data() + at, sizeof value);
    return value;
  }
  std::string text(uint64_t at, size_t bytes) const {
    return {reinterpret_cast<const char*>(data_.data()) + at, bytes};
  }

 private:
  const std::string& path_;
  std::span<const std::byte> data_;
};

struct Directory {
  uint64_t at = 0, bytes = 0, entries = 0;
};

uint64_t find_end(const View& view) {
  if (view.size() >= kEndBytes) {
    const uint64_t last = view.size() - kEndBytes;
    const uint64_t first = last > kMaxComment ? last - kMaxComment : 0;
    for (uint64_t at = last + 1; at-- > first;) {
      if (view.number<uint32_t>(at) == kEnd) return at;
    }
  }
  view.fail("has no zip directory at its end");
}

Directory find_directory(const View& view) {
  const uint64_t end = find_end(view);
  if (view.number<uint16_t>(end + 4) != 0 && view.number<uint16_t>(end + 4) != kIn64Short) {
    view.fail("is one of several zip volumes");
  }
  Directory d{view.number<uint32_t>(end + 16), view.number<uint32_t>(end + 12),
              view.number<uint16_t>(end + 10)};
  if (d.at == kIn64 || d.bytes == kIn64 || d.entries == kIn64Short) {
    if (end < kLocator64Bytes || view.number<uint32_t>(end - kLocator64Bytes) != kLocator64) {
      view.fail("zip64: the locator is missing");
    }
    const auto at = view.number<uint64_t>(end - kLocator64Bytes + 8);
    view.need(at, kEnd64Bytes, "zip64 record");
    if (view.number<uint32_t>(at) != kEnd64) view.fail("zip64: the record is missing");
    d = {view.number<uint64_t>(at + 48), view.number<uint64_t>(at + 40),
         view.number<uint64_t>(at + 32)};
  }
  view.need(d.at, d.bytes, "zip directory");
  return d;
}

struct Entry {
  std::string name;
  uint64_t stored = 0, size = 0, local = 0;  // local: where its own header is
};

// Sizes and offset beyond 32 bits stand in an extra field, only those that need it, in this order.
void read_extra64(const View& view, uint64_t at, uint64_t bytes, Entry* entry) {
  const uint64_t end = at + bytes;
  while (at + 4 <= end) {
    const auto id = view.number<uint16_t>(at);
    const auto size = view.number<uint16_t>(at + 2);
    at += 4;
    if (size > end - at) view.fail(printable(entry->name, 200) + ": its extra field is cut off");
    if (id == kExtra64) {
      uint64_t field = at;
      for (uint64_t* value : {&entry->size, &entry->stored, &entry->local}) {
        if (*value != kIn64) continue;
        if (field + 8 > at + size) {
          view.fail(printable(entry->name, 200) + ": its zip64 field is too short");
        }
        *value = view.number<uint64_t>(field);
        field += 8;
      }
      return;
    }
    at += size;
  }
  if (entry->size == kIn64 || entry->stored == kIn64 || entry->local == kIn64) {
    view.fail(printable(entry->name, 200) + ": its zip64 field is missing");
  }
}

// Where the bytes of the entry are: after its local header, whose extra field may be of another
// length than the directory's (PyTorch pads it so that the bytes are aligned).
uint64_t data_at(const View& view, const Entry& entry, uint64_t limit) {
  const std::string name = printable(entry.name, 200);
  view.need(entry.local, kLocalBytes, name);
  if (view.number<uint32_t>(entry.local) != kLocal) view.fail(name + ": has no header");
  const uint64_t at = entry.local + kLocalBytes + view.number<uint16_t>(entry.local + 26) +
                      view.number<uint16_t>(entry.local + 28);
  if (at > limit || entry.size > limit - at) {
    view.fail(fmt::format("{}: {} bytes at byte {} reach beyond the data, which end at {}", name,
                          entry.size, at, limit));
  }
  return at;
}

}  // namespace

bool is_zip(const Bytes& file) { return file.text().starts_with("PK\x03\x04"); }

std::map<std::string, Bytes> read_zip(const std::string& path, const Bytes& file) {
  const View view(path, file.data);
  const Directory directory = find_directory(view);
  const uint64_t end = directory.at + directory.bytes;
  std::map<std::string, Bytes> entries;
  uint64_t at = directory.at;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (at > end || end - at < kCentralBytes || view.number<uint32_t>(at) != kCentral) {
      view.fail(fmt::format("the zip directory ends after {} of {} entries", i, directory.entries));
    }
    const auto flags = view.number<uint16_t>(at + 8), method = view.number<uint16_t>(at + 10);
    const uint64_t name_bytes = view.number<uint16_t>(at + 28);
    const uint64_t extra_bytes = view.number<uint16_t>(at + 30);
    const uint64_t next =
        at + kCentralBytes + name_bytes + extra_bytes + view.number<uint16_t>(at + 32);
    if (next > end) view.fail("the zip directory is cut off");
    Entry entry{view.text(at + kCentralBytes, name_bytes), view.number<uint32_t>(at + 20),
                view.number<uint32_t>(at + 24), view.number<uint32_t>(at + 42)};
    read_extra64(view, at + kCentralBytes + name_bytes, extra_bytes, &entry);
    const std::string name = printable(entry.name, 200);
    if ((flags & kEncrypted) != 0) throw_error("{}: {}: is encrypted", path, name);
    if (method != 0 || entry.stored != entry.size) {
      throw_error("{}: {}: is compressed; torch.save stores entries as they are, save it again",
                  path, name);
    }
    const uint64_t data = data_at(view, entry, directory.at);
    if (!entries.emplace(entry.name, file.slice(data, entry.size)).second) {
      throw_error("{}: {}: is there twice", path, name);
    }
    at = next;
  }
  return entries;
}

}  // namespace lowbit
