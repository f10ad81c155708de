#include "bench/nvml.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>

#include "base/check.h"
#include "base/text.h"
#include "base/timer.h"

namespace lowbit {
namespace {

constexpr int kSmClock = 1, kGpuTemperature = 0;  // NVML_CLOCK_SM, NVML_TEMPERATURE_GPU

template <class Function>
void find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(::dlsym(library, name));
}

// The library stays open: threads of its own may run.
NvmlApi load_api(void* library) {
  NvmlApi api{};
  find(library, "nvmlInit_v2", &api.init);
  find(library, "nvmlDeviceGetHandleByIndex_v2", &api.by_index);
  find(library, "nvmlDeviceGetHandleByUUID", &api.by_uuid);
  find(library, "nvmlSystemGetDriverVersion", &api.driver);
  find(library, "nvmlDeviceGetTotalEnergyConsumption", &api.energy);
  find(library, "nvmlDeviceGetPowerUsage", &api.power);
  find(library, "nvmlDeviceGetEnforcedPowerLimit", &api.power_limit);
  find(library, "nvmlDeviceGetClockInfo", &api.clock);
  find(library, "nvmlDeviceGetTemperature", &api.temperature);
  find(library, "nvmlDeviceGetCurrentClocksThrottleReasons", &api.slowed);
  find(library, "nvmlDeviceGetComputeRunningProcesses_v3", &api.processes);
  return api;
}

// A number that a function fills in, times `unit`; kUnknown if it cannot.
template <class Number>
double ask(int (*function)(NvmlDevice, Number*), NvmlDevice device, double unit) {
  Number number = 0;
  if (!function || function(device, &number) != 0) return kUnknown;
  return static_cast<double>(number) * unit;
}
double ask(int (*function)(NvmlDevice, int, uint32_t*), NvmlDevice device, int what) {
  uint32_t number = 0;
  return function && function(device, what, &number) == 0 ? number : kUnknown;
}

class Nvml final : public DeviceSource {
 public:
  Nvml(const NvmlApi& api, NvmlDevice device) : api_(api), device_(device) {}

  DeviceSample read() override {
    DeviceSample sample;
    sample.seconds = now_seconds();
    sample.joules = ask(api_.energy, device_, 1e-3);
    sample.watts = ask(api_.power, device_, 1e-3);
    sample.megahertz = ask(api_.clock, device_, kSmClock);
    sample.celsius = ask(api_.temperature, device_, kGpuTemperature);
    unsigned long long bits = 0;
    if (api_.slowed && api_.slowed(device_, &bits) == 0) sample.slowed = bits;
    constexpr int kEvery = 25;  // a list of processes costs the driver more than numbers
    if (reads_++ % kEvery == 0) others_ = others();
    sample.others = others_;
    return sample;
  }
  bool polled() const override { return true; }
  std::string driver() const override {
    std::array<char, 96> text{};
    const bool known = api_.driver && api_.driver(text.data(), text.size() - 1) == 0;
    return known ? text.data() : "";
  }
  double power_limit() const override {
    const double watts = ask(api_.power_limit, device_, 1e-3);
    return watts > 0 ? watts : 0;
  }

 private:
  int32_t others() const {
    std::array<NvmlProcess, 64> list{};
    uint32_t count = list.size();
    if (!api_.processes || api_.processes(device_, &count, list.data()) != 0) return 0;
    // This process uses the device. Where it is not listed it is there by the number that it has
    // outside its container.
    return static_cast<int32_t>(count > 0 ? count - 1 : 0);
  }

  NvmlApi api_;
  NvmlDevice device_;
  int64_t reads_ = 0;
  int32_t others_ = 0;
};

}  // namespace

FoundSource nvml_source(const NvmlApi& api, const std::string& visible) {
  if (!api.init || !api.by_index || (!api.energy && !api.power)) {
    return {nullptr, "this driver's NVML lacks functions that are needed"};
  }
  if (const int error = api.init()) return {nullptr, fmt::format("nvmlInit: error {}", error)};
  const std::string first = visible.substr(0, visible.find(','));
  const auto index = parse_int(first);
  NvmlDevice device = nullptr;
  const bool by_uuid = !first.empty() && !index;
  if (by_uuid && !api.by_uuid) return {nullptr, "this driver's NVML finds no GPU by its UUID"};
  const int error = by_uuid ? api.by_uuid(first.c_str(), &device)
                            : api.by_index(static_cast<uint32_t>(index.value_or(0)), &device);
  if (error) {
    return {nullptr, fmt::format("NVML does not know GPU {}: error {}",
                                 first.empty() ? "0" : printable(first), error)};
  }
  return {std::make_unique<Nvml>(api, device), ""};
}

FoundSource open_nvml() {
  void* library = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return {nullptr, "libnvidia-ml.so.1, a part of the driver, is not there"};
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return nvml_source(load_api(library), visible ? visible : "");
}

}  // namespace lowbit
