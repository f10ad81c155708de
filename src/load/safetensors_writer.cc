#include "load/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace lowbit {

SafetensorsWriter::SafetensorsWriter(
    std::string path, const std::vector<SafetensorsEntry>& entries,
    const std::vector<std::pair<std::string, std::string>>& metadata)
    : path_(std::move(path)),
      file_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) {
  if (file_ < 0) throw_error("{}: cannot create: {}", path_, std::strerror(errno));
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  int64_t total = 0;
  for (const SafetensorsEntry& entry : entries) {
    header[entry.name] = {{"dtype", entry.dtype},
                          {"shape", entry.shape},
                          {"data_offsets", {total, total + entry.bytes}}};
    total += entry.bytes;
  }
  std::string text = header.dump();
  constexpr size_t kAlign = 64;  // of the data, so that a mapped file can be read in place
  text.append((kAlign - (sizeof(uint64_t) + text.size()) % kAlign) % kAlign, ' ');
  const uint64_t size = text.size();
  left_ = static_cast<int64_t>(sizeof size + size) + total;
  write(std::as_bytes(std::span(&size, 1)));
  write(std::as_bytes(std::span(text)));
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ >= 0) ::close(file_);
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  left_ -= static_cast<int64_t>(bytes.size());
  LB_CHECK(left_ >= 0, "{}: {} bytes more than announced", path_, -left_);
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_error("{}: cannot write: {}", path_, std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void SafetensorsWriter::finish() {
  LB_CHECK(left_ == 0, "{}: {} bytes fewer than announced", path_, left_);
  if (::fsync(file_) != 0) throw_error("{}: cannot write: {}", path_, std::strerror(errno));
}

}  // namespace lowbit
