// Synthetic matrices that are quantized once for all layers are what each layer would have got.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "load/checkpoint.h"
#include "models/model.h"
#include "models/scaling.h"
#include "ops/view.h"
#include "ref/backend.h"

namespace lowbit {
namespace {

class Quantized final : public LoadTrace {
 public:
  void spent(LoadPhase phase, std::string_view what, double, size_t) override {
    if (phase == LoadPhase::kQuantize) ++count_[std::string(what)];
  }
  // Matrices of layers above the first that were quantized.
  int64_t of_later_layers() const {
    return std::count_if(count_.begin(), count_.end(), [](const auto& entry) {
      return entry.first.starts_with("model.layers.") &&
             !entry.first.starts_with("model.layers.0.");
    });
  }

 private:
  std::map<std::string, int> count_;
};

bool same_planes(const DeviceTensor& a, const DeviceTensor& b) {
  for (size_t i = 0; i < a.planes.size(); ++i) {
    const auto* first = static_cast<const std::byte*>(a.planes[i].data);
    const auto* second = static_cast<const std::byte*>(b.planes[i].data);
    if (!std::equal(first, first + a.planes[i].size, second, second + b.planes[i].size)) {
      return false;
    }
  }
  return format_of(a.view) == format_of(b.view);
}

int64_t copies = 0;

// ref as a device whose memory is its own: what is uploaded is a copy, and rows are copied there.
Backend with_memory_of_its_own() {
  Backend backend = ref_backend();
  backend.upload = [](const Bytes& bytes) {
    DeviceBytes memory = ref_backend().allocate(bytes.data.size());
    std::copy(bytes.data.begin(), bytes.data.end(), static_cast<std::byte*>(memory.data));
    return memory;
  };
  backend.copy = [](void* to, const void* from, size_t bytes) {
    std::memcpy(to, from, bytes);
    ++copies;
  };
  return backend;
}

class TurnedRowsOfFormat : public testing::TestWithParam<const char*> {};

TEST_P(TurnedRowsOfFormat, AreQuantizedOnceAndTheSame) {
  const auto checkpoint = open_checkpoint("synthetic:tiny");
  const ScaledCheckpoint apart(*checkpoint);  // scales nothing, and tells of no shared rows
  const std::string text = GetParam();
  const size_t at = text.find('@');
  Quantized once, each;
  LoadOptions options;
  if (text != "stored") options.policy.all.format = parse_format(text.substr(0, at));
  if (at != std::string::npos) {
    options.policy.all.quantizer = &find_quantizer(text.substr(at + 1));
  }
  options.load_trace = &once;
  const auto turned = load_model(*checkpoint, ref_backend(), options);
  options.load_trace = &each;
  const auto expected = load_model(apart, ref_backend(), options);
  const bool blocks_of_rows = text == "fp8-b128x128";
  EXPECT_EQ(once.of_later_layers() == 0, !blocks_of_rows);
  EXPECT_EQ(each.of_later_layers() > 0, text != "stored");
  copies = 0;
  const Backend device = with_memory_of_its_own();
  options.load_trace = nullptr;
  const auto there = load_model(*checkpoint, device, options);
  EXPECT_EQ(copies > 0, !blocks_of_rows);
  for (size_t i = 0; i < there->linears().size(); ++i) {
    const Linear &a = *there->linears()[i], &b = *expected->linears()[i];
    EXPECT_TRUE(same_planes(a.weight, b.weight)) << a.name << " in device memory";
  }
  ASSERT_EQ(turned->linears().size(), expected->linears().size());
  for (size_t i = 0; i < turned->linears().size(); ++i) {
    const Linear &a = *turned->linears()[i], &b = *expected->linears()[i];
    EXPECT_TRUE(same_planes(a.weight, b.weight)) << a.name;
  }
  EXPECT_FALSE(same_planes(turned->linears()[0]->weight, turned->linears()[4]->weight))
      << "layers differ";
  EXPECT_EQ(turned->parameters(), expected->parameters());
  EXPECT_EQ(turned->memory().total(), expected->memory().total());
  ASSERT_EQ(turned->tensors().size(), expected->tensors().size());
  for (size_t i = 0; i < turned->tensors().size(); ++i) {
    EXPECT_EQ(turned->tensors()[i].tensor, expected->tensors()[i].tensor);
    EXPECT_EQ(turned->tensors()[i].stored, expected->tensors()[i].stored);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, TurnedRowsOfFormat,
                         testing::Values("stored", "int8", "int8-tensor", "int4", "int4@hqq",
                                         "int3-asym", "int4-sym-24", "ternary5", "fp8",
                                         "fp8-b128x128", "mxfp4", "nvfp4", "q4_k", "qqq"),
                         [](const auto& p) {
                           std::string text = p.param;
                           std::replace_if(
                               text.begin(), text.end(),
                               [](char c) { return c == '-' || c == '@'; }, '_');
                           return text;
                         });

// What was kept for one layer is not served to a layer of another format.
TEST(TurnedRows, LayersOfTheirOwnFormatHaveIt) {
  const auto checkpoint = open_checkpoint("synthetic:tiny");
  const ScaledCheckpoint apart(*checkpoint);
  LoadOptions options;
  options.policy.all.format = parse_format("int8");
  options.policy.rules = {{"layers.1.*", {parse_format("int4")}}};
  const Backend device = with_memory_of_its_own();
  const auto turned = load_model(*checkpoint, ref_backend(), options);
  const auto there = load_model(*checkpoint, device, options);
  const auto expected = load_model(apart, ref_backend(), options);
  for (size_t i = 0; i < turned->linears().size(); ++i) {
    const Linear &a = *turned->linears()[i], &b = *expected->linears()[i];
    EXPECT_EQ(a.format, b.format) << a.name;
    EXPECT_TRUE(same_planes(a.weight, b.weight)) << a.name;
    EXPECT_TRUE(same_planes(there->linears()[i]->weight, b.weight)) << a.name;
  }
  EXPECT_EQ(turned->linears()[4]->format, parse_format("int4"));
}

}  // namespace
}  // namespace lowbit
