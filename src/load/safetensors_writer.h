// Writes one safetensors file tensor by tensor, so that no more than one is in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lowbit {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;           // "F32", "BF16", "U8", ...
  std::vector<int64_t> shape;  // outermost first
  int64_t bytes = 0;
};

class SafetensorsWriter {
 public:
  // Creates `path` (Error if it exists or cannot be written) and writes the header. `metadata`: one
  // free text each, under __metadata__.
  SafetensorsWriter(std::string path, const std::vector<SafetensorsEntry>& entries,
                    const std::vector<std::pair<std::string, std::string>>& metadata = {});
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // The next bytes of the tensors' data, in the order of the entries.
  void write(std::span<const std::byte> bytes);
  // Error unless exactly the bytes that the header announces were written; flushes to the disk.
  void finish();

 private:
  std::string path_;
  int file_;
  int64_t left_ = 0;
};

}  // namespace lowbit
