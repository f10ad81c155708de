// RAPL: energy that Intel and AMD packages count themselves, through Linux's powercap.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/text.h"
#include "base/timer.h"
#include "bench/device_watch.h"

namespace lowbit {
namespace {

// A counter in microjoules that starts again at zero after `range` of them.
struct Zone {
  std::string path;
  double range = 0;
  double last = 0, wrapped = 0;
};

// kUnknown if it cannot be read.
double number_in(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return parse_double(trim(line)).value_or(kUnknown);
}

std::string word_in(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

class Rapl final : public DeviceSource {
 public:
  explicit Rapl(std::vector<Zone> zones) : zones_(std::move(zones)) {}

  DeviceSample read() override {
    DeviceSample sample;
    sample.seconds = now_seconds();
    sample.joules = 0;
    for (Zone& zone : zones_) {
      const double now = number_in(zone.path);
      if (now < zone.last) zone.wrapped += zone.range;
      zone.last = now;
      sample.joules += (zone.wrapped + now) * 1e-6;
    }
    return sample;
  }

 private:
  std::vector<Zone> zones_;
};

// intel-rapl:0 is a package; intel-rapl:0:1 may be its memory, which the package does not count.
// Cores and graphics are part of the package.
bool counts(const std::string& folder, const std::string& name) {
  const auto colons = std::count(folder.begin(), folder.end(), ':');
  return folder.starts_with("intel-rapl:") && (colons == 1 ? name != "psys" : name == "dram");
}

}  // namespace

FoundSource open_rapl(const std::string& root) {
  std::error_code error;
  std::filesystem::directory_iterator entries(root, error);
  if (error) return {nullptr, fmt::format("{}: {}", root, error.message())};
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  std::vector<Zone> zones;
  for (const std::string& name : names) {
    const std::string folder = root + "/" + name;
    if (!counts(name, word_in(folder + "/name"))) continue;
    Zone zone{.path = folder + "/energy_uj"};
    zone.range = number_in(folder + "/max_energy_range_uj");
    zone.last = number_in(zone.path);
    if (!(zone.last >= 0) || !(zone.range > 0)) {
      return {nullptr, fmt::format("{}: cannot be read (Linux lets only root read it: run as root, "
                                   "or chmod a+r it)",
                                   zone.path)};
    }
    zones.push_back(std::move(zone));
  }
  if (zones.empty()) return {nullptr, fmt::format("{}: has no intel-rapl package", root)};
  return {std::make_unique<Rapl>(std::move(zones)), ""};
}

}  // namespace lowbit
