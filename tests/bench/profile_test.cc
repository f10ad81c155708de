// kernel_profile, oom_profile and profile_compile: on numbers made up here, then on a small model.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/bench_model.h"
#include "bench/fake_device.h"
#include "bench/kernel_profile.h"
#include "cpu/backend.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

using nlohmann::json;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// ---- kernels ------------------------------------------------------------------------------------

// 10 GB/s up to 1 MB, 1 GB/s beyond; 100 GFLOP/s, 400 GOP/s.
const Ceilings kMachine = {.levels = {{"L2", 1'000'000, 10e9}, {"memory", 0, 1e9}},
                           .float_flops = 100e9,
                           .integer_flops = 400e9,
                           .measured = ""};

constexpr LinearKernel kKernels[] = {
    {.name = "k.float", .weights = nullptr, .activations = nullptr, .launch = nullptr},
    {.name = "k.integer",
     .weights = nullptr,
     .activations = nullptr,
     .products = Products::kInteger,
     .launch = nullptr}};

// Of two layers; `slowness` times as long as the ops are written here.
TimedStep step_of(const std::string& name, double start, double slowness) {
  TimedStep step{name, {}};
  double at = start;
  const auto add = [&](const char* op, const char* kernel, int layer, double seconds, double bytes,
                       double flops) {
    step.ops.push_back({op, kernel, layer, at, seconds * slowness, bytes, flops});
    at += seconds * slowness + 1e-6;  // between two ops
  };
  add("embed", "embed", -1, 1e-6, 1e3, 0);
  for (int layer = 0; layer < 2; ++layer) {
    add("norm", "rmsnorm", layer, 2e-6, 1e4, 1e3);
    add("qkv", layer == 0 ? "k.float" : "k.integer", layer, 100e-6, 2e4, 4e6);
  }
  return step;
}

KernelLimits limits() { return {.ceilings = kMachine, .kernels = kKernels, .step_bytes = 2e6}; }

TEST(KernelProfile, TimesAreMediansOverSteps) {
  const std::vector<TimedStep> steps = {step_of("decode at 7", 0, 1), step_of("b", 1, 9),
                                        step_of("c", 2, 2)};
  const StepProfile profile = profile_of(steps, limits());
  ASSERT_EQ(profile.rows.size(), 5u);
  EXPECT_EQ(profile.name, "decode at 7");
  EXPECT_EQ(profile.steps, 3);
  EXPECT_DOUBLE_EQ(profile.rows[2].seconds, 200e-6);
  EXPECT_NEAR(profile.seconds, 2 * 205e-6 + 4e-6, 1e-9);
}

TEST(KernelProfile, WeightsComeFromTheLevelOfTheStepOtherNumbersFromTheirOwn) {
  const std::vector<TimedStep> steps = {step_of("s", 0, 1)};
  const StepProfile profile = profile_of(steps, limits());
  const KernelRow &norm = profile.rows[1], &floats = profile.rows[2], &integers = profile.rows[4];
  EXPECT_EQ(norm.limit, "L2");
  EXPECT_DOUBLE_EQ(norm.least_seconds, 1e4 / 10e9);
  EXPECT_EQ(floats.limit, "compute");  // 40 us of computing, 20 us of reading
  EXPECT_DOUBLE_EQ(floats.least_seconds, 4e6 / 100e9);
  EXPECT_EQ(integers.limit, "memory");  // 10 us, 20 us
  EXPECT_DOUBLE_EQ(integers.least_seconds, 2e4 / 1e9);
}

TEST(KernelProfile, TablesAddUpOpsAndLayers) {
  const std::vector<TimedStep> steps = {step_of("decode at 7", 0, 1)};
  const std::string text = kernel_summary(profile_of(steps, limits()));
  EXPECT_TRUE(contains(text, "decode at 7: 205.0 us in kernels, 209.0 us in all\n")) << text;
  EXPECT_TRUE(contains(text, "qkv    several  2      200.0  97.6 %  0.040  0.20  40.00    30 %"))
      << text;
  EXPECT_TRUE(contains(text, "norm   rmsnorm  2      4.0    2.0 %   0.020  5.00")) << text;
  EXPECT_TRUE(contains(text, "layers.1  2      102.0  49.8 %")) << text;
  EXPECT_TRUE(contains(text, "outside   1      1.0")) << text;
  const std::string every = every_kernel(profile_of(steps, limits()));
  EXPECT_TRUE(contains(every, "layers.1  qkv    k.integer  100.0")) << every;
}

TEST(KernelProfile, WithoutCeilingsThereIsNoPercentage) {
  const std::vector<TimedStep> steps = {step_of("s", 0, 1)};
  const std::string text = kernel_summary(profile_of(steps, {}));
  EXPECT_TRUE(contains(text, "97.6 %  0.040  0.20  40.00    -           -")) << text;
}

// Twice as fast as the machine can multiply: the row, its sums and a line below the table say so.
TEST(KernelProfile, AKernelThatIsFasterThanTheMachineIsMarked) {
  std::vector<TimedStep> steps(6, step_of("decode at 7", 0, 1));
  for (TimedStep& step : steps) step.ops[2].seconds = 20e-6;
  const StepProfile profile = profile_of(steps, limits());
  EXPECT_TRUE(profile.rows[2].above_ceiling());
  EXPECT_FALSE(profile.rows[4].above_ceiling());
  const std::string line =
      "decode at 7: layers.0.qkv took 20.00 us in k.float, and 40.00 us is the least that its "
      "number of operations allows: bytes, operations or times are wrong";
  EXPECT_TRUE(above_ceiling(profile).starts_with(line)) << above_ceiling(profile);
  const std::string text = kernel_summary(profile), every = every_kernel(profile);
  EXPECT_TRUE(contains(text, "qkv    several  2      120.0")) << text;
  EXPECT_TRUE(contains(text, "50 % !")) << text;  // 60 us of 120: a sum hides it
  EXPECT_TRUE(contains(every, "200 % !")) << every;
  EXPECT_FALSE(contains(every, "20 % !")) << every;  // integers
  for (const std::string& table : {text, every}) {
    EXPECT_TRUE(contains(table, "! above the ceiling: " + line)) << table;
  }
}

TEST(KernelProfile, ATimeThatReachesTheCeilingWithinItsIntervalIsNoise) {
  std::vector<TimedStep> steps(6, step_of("s", 0, 1));
  for (TimedStep& step : steps) step.ops[2].seconds = 39e-6;
  KernelLimits clock = limits();
  EXPECT_NE(above_ceiling(profile_of(steps, clock)), "");
  clock.clock_seconds = 1.5e-6;
  EXPECT_EQ(above_ceiling(profile_of(steps, clock)), "");
  steps[3].ops[2].seconds = 41e-6;
  EXPECT_EQ(above_ceiling(profile_of(steps, limits())), "");
  EXPECT_EQ(above_ceiling(profile_of(steps, {})), "");  // no ceilings are known
}

TEST(KernelProfile, TheTraceHasOpsInLayersInSteps) {
  const std::vector<TimedStep> steps = {step_of("prefill", 5, 1), step_of("decode", 6, 1)};
  const json events = json::parse(chrome_json(steps))["traceEvents"];
  ASSERT_EQ(events.size(), 2 * (1 + 2 + 5));
  const auto end = [](const json& e) { return e["ts"].get<double>() + e["dur"].get<double>(); };
  EXPECT_EQ(events[0]["name"], "prefill");
  EXPECT_DOUBLE_EQ(events[0]["ts"], 0);
  EXPECT_NEAR(events[0]["dur"], 209, 1e-6);
  EXPECT_EQ(events[2]["name"], "layers.0");
  EXPECT_EQ(events[4]["args"]["op"], "layers.0.qkv");
  EXPECT_EQ(events[4]["args"]["bytes"], 2e4);
  EXPECT_NEAR(end(events[2]), end(events[4]), 1e-6);
  EXPECT_NEAR(events[8]["ts"], 1e6, 1e-6);
}

// ---- memory -------------------------------------------------------------------------------------

TEST(MemoryTimeline, AddsUpByPart) {
  MemoryTimeline timeline(100);
  timeline.took(MemoryPart::kWeights, "a", 10);
  timeline.took(MemoryPart::kTemporary, "b", 5);
  timeline.took(MemoryPart::kState, "kv", 7);
  timeline.gave_back(MemoryPart::kTemporary, "b", 5);
  timeline.stepped("decode at 3", 6, 4);
  ASSERT_EQ(timeline.entries().size(), 5u);
  const MemoryEntry& last = timeline.entries().back();
  EXPECT_EQ(last.event, "decode at 3");
  EXPECT_EQ(last.taken, (std::array<double, kMemoryParts>{10, 7, 0, 0}));
  EXPECT_EQ(last.state_used, 6);
  EXPECT_GT(last.resident, 1e5);
  EXPECT_EQ(timeline.entries()[2].total(), 22);
  EXPECT_TRUE(contains(memory_text(timeline), "most memory: 22 B at `state: kv`: weights 10 B"));
}

TEST(MemoryTimeline, KeepsTheLastEntries) {
  MemoryTimeline timeline(3);
  for (int i = 0; i < 10; ++i) timeline.stepped(std::to_string(i), 0, 0);
  EXPECT_EQ(timeline.entries().size(), 3u);
  EXPECT_EQ(timeline.entries().front().event, "7");
  EXPECT_EQ(timeline.dropped(), 7);
}

TEST(MemoryTimeline, NothingFollowsAFailure) {
  MemoryTimeline timeline(100);
  timeline.took(MemoryPart::kWeights, "a", 10);
  timeline.failed(MemoryPart::kState, "kv", 1 << 30);
  timeline.gave_back(MemoryPart::kWeights, "a", 10);
  ASSERT_TRUE(timeline.failure());
  EXPECT_EQ(timeline.entries().back().total(), 10);
  const json snapshot = json::parse(snapshot_json(timeline, "OOM"));
  EXPECT_EQ(snapshot["failed"]["part"], "state");
  EXPECT_EQ(snapshot["failed"]["bytes"], 1 << 30);
  EXPECT_EQ(snapshot["entries"]["events"].back(), "state: kv failed");
  EXPECT_TRUE(contains(memory_text(timeline), "could not be had: 1.07 GB of state for kv"));
}

TEST(MemoryTimeline, ThinnedKeepsThePeakAndTheEnd) {
  MemoryTimeline timeline(10000);
  for (int i = 0; i < 1000; ++i) {
    timeline.took(MemoryPart::kTemporary, std::to_string(i), i == 637 ? 100 : 1);
    timeline.gave_back(MemoryPart::kTemporary, std::to_string(i), i == 637 ? 100 : 1);
  }
  const std::vector<MemoryEntry> few = thinned(timeline.entries(), 50);
  EXPECT_LE(few.size(), 50u);
  EXPECT_EQ(few.back(), timeline.entries().back());
  EXPECT_TRUE(std::any_of(few.begin(), few.end(), [](const auto& e) { return e.total() == 100; }));
  EXPECT_EQ(thinned(timeline.entries(), 5000).size(), 2000u);
}

TEST(MemoryTimeline, IsReadBackAndWhatIsNoneOfItIsRefused) {
  MemoryEntry entry{.event = "e", .seconds = 0.25, .taken = {1, 2, 3, 4}};
  entry.state_used = 5;
  entry.temporary_used = 6;
  entry.resident = 7;
  const nlohmann::ordered_json stored = to_json({entry, entry});
  EXPECT_EQ(parse_memory("x", stored), (std::vector<MemoryEntry>{entry, entry}));
  for (const char* key : {"events", "seconds", "weights", "temporary_used", "resident"}) {
    nlohmann::ordered_json broken = stored;
    broken.erase(key);
    EXPECT_THROW(parse_memory("x", broken), Error) << key;
    broken[key] = {nullptr, nullptr};
    EXPECT_THROW(parse_memory("x", broken), Error) << key;
    broken[key] = {1};
    EXPECT_THROW(parse_memory("x", broken), Error) << key;
  }
}

// ---- a case -------------------------------------------------------------------------------------

class ProfileOf : public testing::Test {
 protected:
  ProfileOf() {
    folder_ = testing::TempDir() + "lowbit_profile_" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_);
    case_.model = "synthetic:tiny";
    case_.format = "int4";
    case_.quality = "none";
    case_.prompt_tokens = 5;
    case_.new_tokens = 4;
    case_.max_seconds = 0;
  }
  ~ProfileOf() override { std::filesystem::remove_all(folder_); }

  Record run(const Backend& backend, ProfileKeys keys) {
    keys.folder = folder_;
    const auto on_text = [&](std::string_view line) { text_ += std::string(line) + "\n"; };
    return run_case(case_, backend, {.scratch = "", .profile = keys, .on_text = on_text});
  }
  // The one file whose name begins and ends so; "" if there is none.
  std::string file(const std::string& begin, const std::string& end = "") const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const std::string name = entry.path().filename();
      if (name.starts_with(begin) && name.ends_with(end)) {
        return std::string(map_file(entry.path()).text());
      }
    }
    return "";
  }

  std::string folder_, text_;
  BenchCase case_;
};

TEST_F(ProfileOf, NothingIsWrittenWithoutKeys) {
  const Record record = run(ref_backend(), {});
  EXPECT_EQ(record.status, Status::kOk) << record.reason;
  EXPECT_EQ(text_, "");
  EXPECT_TRUE(record.memory.empty());
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(ProfileOf, KernelsOfPrefillAndDecodeAreAllThere) {
  const Record record = run(cpu_backend(), {.kernels = true});
  ASSERT_EQ(record.status, Status::kOk) << record.reason;
  EXPECT_TRUE(contains(text_, "prefill of 5 tokens, medians of 3 steps: ")) << text_;
  EXPECT_TRUE(contains(text_, "decode at 6, medians of 9 steps: ")) << text_;
  EXPECT_TRUE(contains(text_, " us without the trace")) << text_;
  const std::string every = file("kernel_profile_");
  for (const KernelChoice& choice : record.fingerprint.kernels) {
    if (choice.m_lo > 1) continue;
    EXPECT_TRUE(contains(every, choice.kernel)) << choice.kernel;
  }
  const LoadedModel loaded = load("synthetic:tiny", cpu_backend(), {.plan_only = true});
  for (const Linear* linear : loaded.model->linears()) {
    const auto parts = split(linear->name, '.');  // layers.3.qkv
    const std::string row = parts.size() == 3 ? fmt::format("layers.{}  {}", parts[1], parts[2])
                                              : "outside   " + linear->name;
    EXPECT_TRUE(contains(every, row)) << row << every;
  }
  EXPECT_EQ(file("trace.json"), file("chrome_trace_"));
  EXPECT_GT(json::parse(file("trace.json"))["traceEvents"].size(), 100u);
}

TEST_F(ProfileOf, MemoryIsWhatTheModelAndTheStepperHold) {
  const Record record = run(ref_backend(), {.memory = true});
  ASSERT_EQ(record.status, Status::kOk) << record.reason;
  const MemoryEntry& last = record.memory.back();
  EXPECT_EQ(last.event, "decode at 8");
  EXPECT_EQ(last.taken[0], record.find("model_bytes")->median);
  EXPECT_EQ(last.taken[1], record.find("kv_bytes")->median);
  EXPECT_GT(last.taken[2], 0);
  EXPECT_GT(last.taken[3], 0);
  EXPECT_LE(last.state_used, last.taken[1]);
  EXPECT_GT(last.state_used, 0);
  EXPECT_GT(last.temporary_used, 0);
  EXPECT_LT(last.temporary_used, last.taken[3]);
  EXPECT_NE(file("memory_snapshot_0_"), "");
  EXPECT_NE(file("memory_snapshot_1_"), "");
  EXPECT_EQ(parse_record("r", to_json_line(record)), record);
}

TEST_F(ProfileOf, TheLastEntriesAreKept) {
  run(ref_backend(), {.memory = true, .max_entries = 2});
  const json snapshot = json::parse(file("memory_snapshot_1_"));
  EXPECT_EQ(snapshot["entries"]["events"], (json{"decode at 7", "decode at 8"}));
  EXPECT_GT(snapshot["dropped"], 10);
}

TEST_F(ProfileOf, LoadingIsTheSumOfItsPhasesAndThePlanSaysWhyNot) {
  const Record record = run(cpu_backend(), {.load = true});
  ASSERT_EQ(record.status, Status::kOk) << record.reason;
  const json profile = json::parse(file("profile_compile_", ".json"));
  double sum = 0;
  for (const json& phase : profile["phases"]) sum += phase["seconds"].get<double>();
  EXPECT_GT(profile["phases"]["quantize"]["seconds"], 0);
  EXPECT_GT(profile["phases"]["read"]["bytes"], 0);
  EXPECT_LE(sum, profile["load_seconds"].get<double>());
  EXPECT_GT(sum, 0.2 * profile["load_seconds"].get<double>());
  std::map<std::string, int> reads;
  for (const json& part : profile["parts"]) {
    if (part["phase"] == "read") ++reads[part["what"]];
  }
  EXPECT_EQ(reads["model.layers.0.self_attn.q_proj.weight"], 1);
  EXPECT_TRUE(contains(text_, "reads other formats: ")) << text_;
  EXPECT_TRUE(contains(text_, "capture")) << text_;
}

// Gives out so much and no more.
constexpr size_t kMost = 100'000;
DeviceBytes scarce(size_t bytes) {
  if (bytes > kMost) throw OutOfMemory(fmt::format("out of memory: {} bytes", bytes));
  return ref_backend().allocate(bytes);
}

TEST_F(ProfileOf, TheAllocationThatFailsIsNamedAndWhatWasTakenThen) {
  Backend backend = ref_backend();
  backend.allocate = scarce;
  const Record record = run(backend, {.memory = true});
  EXPECT_EQ(record.status, Status::kFail);
  EXPECT_TRUE(contains(text_, "could not be had: ")) << text_;
  const json snapshot = json::parse(file("memory_snapshot_OOM_"));
  EXPECT_GT(snapshot["failed"]["bytes"], kMost);
  EXPECT_EQ(record.memory.back().event, snapshot["entries"]["events"].back());
  EXPECT_TRUE(record.memory.back().event.ends_with(" failed")) << record.memory.back().event;
  EXPECT_GT(record.memory.back().taken[0], 0);
}

// By the device's clock, which a fake one moves by a known time for every op.
TEST_F(ProfileOf, ADevicesOpsAreTimedByItsOwnClockBehindAHeldStream) {
  fakes::fake_device() = {};
  fakes::fake_device().mark_seconds = 2e-6;
  fakes::fake_device().launch_seconds = 1e-6 + kKernelEdges;
  Backend backend = fakes::device_backend();
  backend.op.rmsnorm = [](const RmsNormArgs& args, Stream stream) {
    ref_backend().op.rmsnorm(args, stream);
    fakes::fake_device().now += 7e-6 + fakes::fake_device().launch_seconds;
  };
  const LoadedModel loaded = load("synthetic:tiny", backend, {});
  Stepper stepper(*loaded.model, backend, {.max_context = 16});
  OpTimeline timeline(backend);
  stepper.set_trace(&timeline);
  const std::vector<int32_t> prompt = {1, 2, 3};
  for (const char* name : {"first", "second"}) {
    timeline.start_step(name);
    stepper.prefill(0, prompt);
  }
  const std::span<const TimedStep> steps = timeline.steps();
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(fakes::fake_device().marks, 1);  // the origin's; those of the ops are passed
  EXPECT_GT(fakes::fake_device().held, 0);
  double begin = -1;
  int norms = 0;
  for (const TimedStep& step : steps) {
    EXPECT_GT(step.seconds(), 0);
    for (const TimedOp& op : step.ops) {
      EXPECT_GE(op.begin, begin);
      begin = op.begin;
      const bool norm = op.kernel == "rmsnorm";
      norms += norm;
      // Others launch nothing.
      EXPECT_NEAR(op.seconds, norm ? 7e-6 + kKernelEdges : 0, 1e-12) << op.tag();
    }
  }
  EXPECT_GT(norms, 2);
  EXPECT_NEAR(timeline.mark_seconds(), 3e-6, 1e-12);  // which is in no op's time
  const json trace = json::parse(chrome_json(timeline));
  EXPECT_NEAR(trace["otherData"]["event_overhead_us"].get<double>(), 3, 1e-6);
}

// The profile of a device whose ops take no time, where stored ceilings are far too low.
Record profile_with_low_ceilings(const std::string& folder, double read_rate) {
  fakes::fake_device() = {};
  fakes::fake_device().read_rate = read_rate;
  const Backend backend = fakes::device_backend();
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const std::string before = cache ? cache : "";
  ::setenv("XDG_CACHE_HOME", folder.c_str(), 1);
  Fingerprint machine = machine_fingerprint();
  machine.gpu = "Fake GPU";
  const Ceilings low = {.levels = {{"L2", 40'000'000, 1e3}, {"memory", 0, 1e3}},
                        .float_flops = 1e18,
                        .integer_flops = 1e18,
                        .measured = "",
                        .gpu = machine.gpu};
  store_ceilings(ceilings_path(), ceilings_record(low, machine));
  const LoadedModel loaded = load("synthetic:tiny", backend, {});
  Stepper stepper(*loaded.model, backend, {.max_context = 16});
  Profiler profiler({.kernels = true}, backend, [](std::string_view) {});
  profiler.run(loaded, stepper, {.prompt_tokens = 3, .new_tokens = 2}, machine);
  before.empty() ? ::unsetenv("XDG_CACHE_HOME") : ::setenv("XDG_CACHE_HOME", before.c_str(), 1);
  Record record;
  profiler.finish(&record);
  return record;
}

TEST_F(ProfileOf, KernelsAboveACeilingThatIsNoHigherWhenMeasuredAgainFailTheCase) {
  const Record stale = profile_with_low_ceilings(folder_, 1e15);
  EXPECT_EQ(stale.status, Status::kOk) << stale.reason;
  const Record wrong = profile_with_low_ceilings(folder_, 1e6);
  EXPECT_EQ(wrong.status, Status::kFail);
  EXPECT_TRUE(contains(wrong.reason, "kernel_profile: prefill of 3 tokens: embed took 0.00 us"))
      << wrong.reason;
  EXPECT_TRUE(contains(wrong.reason, "the least that the bandwidth of L2 allows (and "))
      << wrong.reason;
}

TEST_F(ProfileOf, AToolThatWatchesADeviceSeesOpsInsideStepsAndTimedRunsHaveNoRanges) {
  fakes::fake_device() = {};
  const Backend backend = fakes::device_backend();
  const LoadedModel loaded = load("synthetic:tiny", backend, {});
  Stepper stepper(*loaded.model, backend, {.max_context = 16});
  const std::vector<int32_t> prompt = {1, 2, 3};
  stepper.prefill(0, prompt);
  const std::vector<std::string>& ranges = fakes::fake_device().ranges;
  EXPECT_TRUE(ranges.empty()) << ranges[0];
  size_t ops = 0;
  {
    OpTimeline timeline(backend);
    stepper.set_trace(&timeline);
    for (const char* name : {"first", "second"}) {
      timeline.start_step(name);
      stepper.prefill(0, prompt);
    }
    stepper.set_trace(nullptr);
    ops = timeline.steps()[1].ops.size();
  }
  EXPECT_TRUE(fakes::fake_device().open_ranges.empty());
  ASSERT_EQ(ranges.size(), 2 * (1 + ops));
  EXPECT_EQ(ranges[0], "first");
  EXPECT_EQ(ranges[1], "first/embed");
  EXPECT_EQ(ranges[1 + ops], "second");
  EXPECT_NE(std::find(ranges.begin(), ranges.end(), "second/layers.3.down"), ranges.end());
}

TEST_F(ProfileOf, OnADeviceThePeakIsItsOwnAndTheTableSaysWhatItsMarksTake) {
  fakes::fake_device() = {};
  fakes::fake_device().mark_seconds = 2e-6;
  fakes::fake_device().launch_seconds = kKernelEdges;
  const Record record = run(fakes::device_backend(), {.kernels = true, .memory = true});
  ASSERT_EQ(record.status, Status::kOk) << record.reason;
  EXPECT_EQ(record.find("peak_device_memory")->median, 5000);
  EXPECT_EQ(record.memory.back().resident, 1000);
  EXPECT_TRUE(contains(text_, "in kernels")) << text_;
  EXPECT_TRUE(contains(text_, "less the 2.00 us that two take around a kernel")) << text_;
}

TEST_F(ProfileOf, ACacheThatDoesNotFitSaysWhatWould) {
  fakes::fake_device() = {};
  fakes::fake_device().free = 3'000'000;
  Backend backend = fakes::device_backend();
  const LoadedModel loaded = load("synthetic:tiny", backend, {});
  backend.allocate = scarce;
  const size_t per_token = bytes_per_token(loaded.model->state()[0]);
  try {
    const StateStore state(backend, loaded.model->state(), 4, 2048);
    FAIL() << "no error";
  } catch (const OutOfMemory& error) {
    const std::string text = error.what();
    EXPECT_TRUE(contains(text, "state (")) << text;
    EXPECT_TRUE(contains(text, "the cache of 4 sequences of 2048 tokens takes")) << text;
    const size_t fits = 3'000'000 / per_token / 64 * 64;
    EXPECT_TRUE(contains(text, fmt::format("at most {} tokens fit in all", fits))) << text;
  }
}

TEST_F(ProfileOf, WeightsThatDoNotFitSayHowManyBitsWould) {
  fakes::fake_device() = {};
  Backend backend = fakes::device_backend();
  backend.upload = [](const Bytes& bytes) -> DeviceBytes {
    throw OutOfMemory(fmt::format("out of memory: {} bytes", bytes.data.size()));
  };
  const auto error_of = [&] {
    try {
      load("synthetic:tiny", backend, {});
    } catch (const OutOfMemory& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  fakes::fake_device().free = 30'000;
  const std::string text = error_of();
  EXPECT_TRUE(contains(text, "; the weights take ")) << text;
  EXPECT_TRUE(contains(text, "bits per weight fit")) << text;
}

TEST(Profile, KeysReachTheProcessOfTheCase) {
  const ProfileKeys keys = {true, false, true, 7, "a \"folder\""};
  EXPECT_EQ(parse_profile(profile_text(keys)), keys);
}

}  // namespace
}  // namespace lowbit
