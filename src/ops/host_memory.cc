#include "ops/host_memory.h"

#include <sys/sysinfo.h>

#include <cstring>
#include <fstream>
#include <string>

#include "base/text.h"

namespace lowbit {

DeviceBytes host_allocate(size_t bytes) {
  std::byte* data = nullptr;
  Bytes memory = allocate_bytes(bytes, &data);
  return {data, bytes, std::move(memory.owner)};
}

DeviceBytes host_upload(const Bytes& bytes) {
  return {const_cast<std::byte*>(bytes.data.data()), bytes.data.size(), bytes.owner};
}

void host_copy(void* to, const void* from, size_t bytes, Stream) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

void host_synchronize(Stream) {}

void host_advance(const AdvanceArgs& a, Stream) {
  for (int32_t i = 0; i < a.rows; ++i) {
    a.drawn[a.next[i] % a.kept * a.rows + i] = a.tokens[i];
    a.pos[i] = a.next[i]++;
  }
}

DeviceInfo host_info() {
  DeviceInfo info;
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (!line.starts_with("model name")) continue;
    info.name = trim(std::string_view(line).substr(line.find(':') + 1));
    break;
  }
  struct sysinfo memory;
  if (sysinfo(&memory) == 0) info.memory_bytes = memory.totalram * memory.mem_unit;
  return info;
}

}  // namespace lowbit
