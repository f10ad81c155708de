#include "bench/device_watch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/timer.h"
#include "bench/host_load.h"
#include "bench/measure.h"
#include "bench/nvml.h"

namespace lowbit {
namespace {

DeviceSample watts_at(double seconds, double watts) { return {.seconds = seconds, .watts = watts}; }

DeviceSample joules_at(double seconds, double joules) {
  return {.seconds = seconds, .joules = joules};
}

TEST(Energy, WattsAreIntegratedByTrapezoids) {
  // 100 W for 1 s, up to 300 W within the next, 300 W for 2 s.
  const std::vector<DeviceSample> samples = {watts_at(10, 100), watts_at(11, 100),
                                             watts_at(12, 300), watts_at(14, 300)};
  EXPECT_DOUBLE_EQ(joules_between(samples, 10, 14), 100 + 200 + 600);
  EXPECT_DOUBLE_EQ(joules_between(samples, 10.5, 13), 50 + 200 + 300);
  EXPECT_DOUBLE_EQ(joules_between(samples, 12.25, 12.75), 150);
}

TEST(Energy, ACounterNeedsNoWatts) {
  const std::vector<DeviceSample> samples = {joules_at(0, 5000), joules_at(2, 5100),
                                             joules_at(3, 5400)};
  EXPECT_DOUBLE_EQ(joules_between(samples, 0, 3), 400);
  EXPECT_DOUBLE_EQ(joules_between(samples, 1, 2.5), 50 + 150);
}

TEST(Energy, NothingIsKnownOutsideTheSamples) {
  const std::vector<DeviceSample> samples = {watts_at(1, 100), watts_at(2, 100)};
  EXPECT_TRUE(std::isnan(joules_between(samples, 0.9, 1.5)));
  EXPECT_TRUE(std::isnan(joules_between(samples, 1.5, 2.1)));
  EXPECT_TRUE(std::isnan(joules_between(std::span(samples).first(1), 1, 1)));
}

TEST(Energy, FollowsFromSamplesAndRunsByTheStatedFormulas) {
  std::vector<RunTiming> runs(6, RunTiming{0.2, 0.25, 0.5, 10});
  std::vector<DeviceSample> samples;
  for (size_t i = 0; i < runs.size(); ++i) {
    runs[i].begin = 2.0 * static_cast<double>(i);
    runs[i].end = runs[i].begin + 1;
    // 50 W while it runs; what is spent between runs is nobody's.
    samples.push_back(joules_at(runs[i].begin, 1000.0 * static_cast<double>(i)));
    samples.push_back(joules_at(runs[i].end, 1000.0 * static_cast<double>(i) + 50));
  }
  Record record;
  add_energy(&record, runs, samples, 10);
  EXPECT_DOUBLE_EQ(record.find("energy_per_token")->median, 5);
  EXPECT_DOUBLE_EQ(record.find("power")->median, 50);
  EXPECT_EQ(record.find("power")->n, 6);
  EXPECT_EQ(record.find("device_clock"), nullptr);
  EXPECT_TRUE(record.unstable.empty());
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i].megahertz = i == 0 ? 1200 : 1980;
    samples[i].celsius = 50 + static_cast<double>(i);
  }
  Record gpu;
  add_energy(&gpu, runs, samples, 10);
  EXPECT_EQ(gpu.find("device_clock")->median, 1980);
  EXPECT_EQ(gpu.find("device_temperature")->median, 61);
}

TEST(Energy, ADeviceThatTellsNothingIsNotMeasuredAndSaysSo) {
  Record record;
  add_energy(&record, std::vector<RunTiming>{{0.2, 0.25, 0.5, 10}},
             std::vector<DeviceSample>{{.seconds = 0}, {.seconds = 1}}, 10);
  EXPECT_EQ(record.find("energy_per_token"), nullptr);
  ASSERT_EQ(record.not_measured.size(), 1u);
  EXPECT_EQ(record.not_measured[0].first, "energy_per_token");
}

TEST(Device, SlowingDownAndOtherProcessesMakeACaseUnstable) {
  std::vector<DeviceSample> samples(4, {.megahertz = 1980, .celsius = 60});
  samples[1].megahertz = 1500;
  samples[2].celsius = 83;
  const DeviceSummary steady = summarize(samples);
  EXPECT_EQ(steady.megahertz, 1980);
  EXPECT_EQ(steady.celsius, 83);
  EXPECT_TRUE(steady.unstable.empty());
  samples[1].slowed = 0x40 | 0x01;  // too hot; idle is no slowing down
  samples[3].slowed = 0x04;
  samples[2].others = 2;
  EXPECT_EQ(summarize(samples).unstable,
            (std::vector<std::string>{
                "the device was slowed down in 2 of 4 samples: power cap, temperature (hardware)",
                "2 other processes used the device"}));
  samples.assign(3, {.slowed = 0x01 | 0x02 | 0x10});  // idle, the user's clocks, sync boost
  EXPECT_TRUE(summarize(samples).unstable.empty());
}

// Counts up to 20 W in steps of real time.
class FakeSource final : public DeviceSource {
 public:
  explicit FakeSource(bool polled) : polled_(polled) {}
  DeviceSample read() override {
    ++reads;
    const double now = now_seconds();
    return {.seconds = now, .joules = 20 * now};
  }
  bool polled() const override { return polled_; }
  std::atomic<int> reads{0};

 private:
  bool polled_;
};

TEST(Device, APolledSourceIsReadByItselfAndAnotherOnlyWhenTold) {
  FakeSource told(false), polled(true);
  DeviceWatch watch_told(told, 0.001), watch_polled(polled, 0.001);
  watch_told.look();
  while (polled.reads < 10) std::this_thread::yield();
  EXPECT_EQ(watch_told.stop().size(), 2u);
  const std::vector<DeviceSample> samples = watch_polled.stop();
  EXPECT_GE(samples.size(), 10u);
  EXPECT_NEAR(joules_between(samples, samples[1].seconds, samples[6].seconds),
              20 * (samples[6].seconds - samples[1].seconds), 1e-6);
}

class Powercap : public testing::Test {
 protected:
  Powercap()
      : root_((std::filesystem::temp_directory_path() / fmt::format("lowbit-rapl-{}", ::getpid()))
                  .string()) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  ~Powercap() override { std::filesystem::remove_all(root_); }

  void zone(const std::string& folder, const std::string& name, int64_t microjoules) const {
    std::filesystem::create_directories(root_ + "/" + folder);
    std::ofstream(root_ + "/" + folder + "/name") << name << "\n";
    std::ofstream(root_ + "/" + folder + "/energy_uj") << microjoules << "\n";
    std::ofstream(root_ + "/" + folder + "/max_energy_range_uj") << 1'000'000'000 << "\n";
  }
  std::string root_;
};

TEST_F(Powercap, PackagesAndTheirMemoryAreAddedAndPartsOfAPackageAreNot) {
  zone("intel-rapl:0", "package-0", 10'000'000);
  zone("intel-rapl:1", "package-1", 20'000'000);
  zone("intel-rapl:0:0", "core", 9'000'000);
  zone("intel-rapl:0:1", "dram", 3'000'000);
  zone("intel-rapl:2", "psys", 500'000'000);
  zone("intel-rapl-mmio:0", "package-0", 10'000'000);
  FoundSource found = open_rapl(root_);
  ASSERT_TRUE(found.source) << found.reason;
  EXPECT_DOUBLE_EQ(found.source->read().joules, 33);
  zone("intel-rapl:1", "package-1", 25'500'000);
  EXPECT_DOUBLE_EQ(found.source->read().joules, 38.5);
}

TEST_F(Powercap, ACounterThatStartsAgainGoesOn) {
  zone("intel-rapl:0", "package-0", 999'000'000);
  FoundSource found = open_rapl(root_);
  ASSERT_TRUE(found.source) << found.reason;
  const double before = found.source->read().joules;
  zone("intel-rapl:0", "package-0", 2'000'000);
  EXPECT_NEAR(found.source->read().joules - before, 3, 1e-9);
}

TEST_F(Powercap, WhatIsMissingIsNamed) {
  EXPECT_NE(open_rapl(root_ + "/absent").reason.find("/absent: No such file"), std::string::npos);
  EXPECT_NE(open_rapl(root_).reason.find("has no intel-rapl package"), std::string::npos);
  zone("intel-rapl:0", "package-0", 1);
  std::filesystem::remove(root_ + "/intel-rapl:0/energy_uj");
  EXPECT_NE(open_rapl(root_).reason.find("energy_uj: cannot be read"), std::string::npos);
}

// A driver whose GPU 1 draws 250 W at 1755 MHz and is used by one more process.
NvmlApi fake_nvml() {
  NvmlApi api{};
  api.init = [] { return 0; };
  api.by_index = [](uint32_t index, NvmlDevice* device) {
    static int gpu;
    *device = &gpu;
    return index == 1 ? 0 : 6;
  };
  api.by_uuid = [](const char* uuid, NvmlDevice* device) {
    static int gpu;
    *device = &gpu;
    return std::string_view(uuid) == "GPU-abc" ? 0 : 6;
  };
  api.driver = [](char* text, uint32_t size) {
    std::snprintf(text, size, "570.1");
    return 0;
  };
  api.energy = [](NvmlDevice, unsigned long long* millijoules) { return *millijoules = 7'500, 0; };
  api.power = [](NvmlDevice, uint32_t* milliwatts) { return *milliwatts = 250'000, 0; };
  api.power_limit = [](NvmlDevice, uint32_t* milliwatts) { return *milliwatts = 700'000, 0; };
  api.clock = [](NvmlDevice, int what, uint32_t* mhz) { return *mhz = 1755, what == 1 ? 0 : 2; };
  api.temperature = [](NvmlDevice, int what, uint32_t* c) { return *c = 61, what == 0 ? 0 : 2; };
  api.slowed = [](NvmlDevice, unsigned long long* bits) { return *bits = 0x4, 0; };
  api.processes = [](NvmlDevice, uint32_t* count, NvmlProcess* list) {
    *count = 2;
    list[0].pid = static_cast<uint32_t>(::getpid());
    list[1].pid = 1;
    return 0;
  };
  return api;
}

TEST(Nvml, ReadsTheFirstGpuThatThisProcessSees) {
  FoundSource found = nvml_source(fake_nvml(), "1,0");
  ASSERT_TRUE(found.source) << found.reason;
  const DeviceSample sample = found.source->read();
  EXPECT_DOUBLE_EQ(sample.joules, 7.5);
  EXPECT_DOUBLE_EQ(sample.watts, 250);
  EXPECT_DOUBLE_EQ(sample.megahertz, 1755);
  EXPECT_DOUBLE_EQ(sample.celsius, 61);
  EXPECT_EQ(sample.slowed, 4u);
  EXPECT_EQ(sample.others, 1);
  EXPECT_EQ(found.source->driver(), "570.1");
  EXPECT_DOUBLE_EQ(found.source->power_limit(), 700);
  EXPECT_TRUE(found.source->polled());
  EXPECT_TRUE(nvml_source(fake_nvml(), "GPU-abc").source);
}

TEST(Nvml, SaysWhyItCannotMeasure) {
  EXPECT_NE(nvml_source(fake_nvml(), "").reason.find("GPU 0: error 6"), std::string::npos);
  EXPECT_NE(nvml_source(fake_nvml(), "GPU-x").reason.find("GPU GPU-x"), std::string::npos);
  NvmlApi broken = fake_nvml();
  broken.init = [] { return 9; };
  EXPECT_EQ(nvml_source(broken, "1").reason, "nvmlInit: error 9");
  EXPECT_NE(nvml_source({}, "1").reason.find("lacks functions"), std::string::npos);
}

TEST(Nvml, AnOldDriverWithoutACounterTellsWatts) {
  NvmlApi api = fake_nvml();
  api.energy = nullptr;
  api.clock = nullptr;
  api.processes = nullptr;
  const DeviceSample sample = nvml_source(api, "1").source->read();
  EXPECT_TRUE(std::isnan(sample.joules));
  EXPECT_TRUE(std::isnan(sample.megahertz));
  EXPECT_DOUBLE_EQ(sample.watts, 250);
  EXPECT_EQ(sample.others, 0);
}

constexpr std::string_view kStat =
    "cpu  100 20 30 4000 50 6 7 80 9 0\ncpu0 50 10 15 2000 25 3 3 40 4 0\n"
    "cpu1 50 10 15 2000 25 3 4 40 5 0\nintr 12345\n";

TEST(HostLoad, IsReadFromTheFirstLineInTicks) {
  const HostLoad load = parse_proc_stat(kStat, 0.01);
  EXPECT_EQ(load.cpus, 2);
  EXPECT_DOUBLE_EQ(load.busy, 1.63);
  EXPECT_DOUBLE_EQ(load.stolen, 0.8);
}

TEST(HostLoad, OthersDisturbFromATenthOfTheMachineOn) {
  const HostLoad before = {.seconds = 10, .busy = 100, .stolen = 5, .own = 50, .cpus = 2};
  HostLoad after = {.seconds = 20, .busy = 121, .stolen = 6, .own = 70, .cpus = 2};
  EXPECT_TRUE(disturbances(before, after).empty());  // 20 of 21 s are ours
  EXPECT_TRUE(disturbances(before, {.seconds = 10.05, .busy = 109, .cpus = 2}).empty());
  after.busy = 128;
  after.stolen = 8;
  after.throttled = 3;
  EXPECT_EQ(disturbances(before, after),
            (std::vector<std::string>{"other processes kept 0.8 of 2 CPUs busy",
                                      "the hypervisor took 0.3 of 2 CPUs away",
                                      "CPUs were slowed down for heat 3 times"}));
}

TEST(HostLoad, OfThisMachineCountsThisProcess) {
  const HostLoad before = host_load();
  const Timer timer;
  while (timer.seconds() < 0.1) {
  }
  const HostLoad after = host_load();
  EXPECT_GT(after.cpus, 0);
  EXPECT_GT(after.own, before.own);
  EXPECT_GE(after.busy, before.busy);
}

}  // namespace
}  // namespace lowbit
