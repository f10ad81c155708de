// BitNet as transformers saves it: ternary weights and one scale.
//   weight [n / 4, k] U8   bits 2i and 2i + 1 of byte j belong to row i n / 4 + j, as value + 1
//   weight_scale [1]       linear_class `bitlinear` (the default) divides by it, `autobitlinear`
//                          multiplies
#include "base/check.h"
#include "base/text.h"
#include "load/packed_parts.h"

namespace lowbit {
namespace {

class BitnetReader final : public QuantizedReader {
 public:
  explicit BitnetReader(const QuantizedFiles& files) : files_(files) {
    const Hyperparams& config = files.config;
    const std::string linear = config.text_or("linear_class", "bitlinear");
    if (linear != "bitlinear" && linear != "autobitlinear") {
      config.fail("linear_class",
                  fmt::format("is `{}`; supported: bitlinear, autobitlinear", printable(linear)));
    }
    divides_ = linear == "bitlinear";
    if (config.text_or("quantization_mode", "offline") != "offline") {
      config.fail("quantization_mode",
                  "weights that are made ternary as the model runs are not supported; remove "
                  "quantization_config from config.json and use --format ternary");
    }
    if (config.boolean_or("use_rms_norm", false)) {
      config.fail("use_rms_norm", "a norm of its own before each Linear is not supported");
    }
  }

  QTensor outline(const std::string& module, int64_t n, int64_t k) const override {
    const PackedParts parts(files_, module);
    if (n % 4 != 0) parts.fail("weight", fmt::format("{} rows are no multiple of 4", n));
    parts.get("weight", {"U8"}, {n / 4, k});
    if (const double scale = parts.number("weight_scale"); !(scale > 0 && scale < 1e38)) {
      parts.fail("weight_scale", fmt::format("is {}, must be above 0", scale));
    }
    return {format_of(FormatId::kTernary), n, k};
  }

  QTensor tensor(const std::string& module, int64_t n, int64_t k) const override {
    const QTensorBuilder out = build_qtensor(outline(module, n, k).format, n, k);
    const PackedParts parts(files_, module);
    const StoredTensor& packed = *parts.find("weight");
    const auto bytes = packed.data.data;
    constexpr std::byte kLow{0x55};
    for (const std::byte b : bytes) {
      if ((b & b >> 1 & kLow) != std::byte{0})
        parts.fail("weight", "holds the code 3, which is no ternary number; the file is damaged");
    }
    fill_codes(out, [&](int64_t row, std::span<uint32_t> codes) {
      const std::byte* from = bytes.data() + row % (n / 4) * k;
      const auto shift = static_cast<int>(row / (n / 4)) * 2;
      for (size_t i = 0; i < codes.size(); ++i) {
        codes[i] = static_cast<uint32_t>(from[i] >> shift) & 3u;
      }
    });
    auto scale = static_cast<float>(parts.number("weight_scale"));
    if (divides_) scale = 1 / scale;
    std::memcpy(out.scales, &scale, sizeof scale);
    release_pages(packed.data);
    return out.tensor;
  }

  std::vector<std::string> remarks(const std::set<std::string>&) const override {
    return {"the model was trained with activations of 8 bits; here only --format W+A rounds them"};
  }

 private:
  QuantizedFiles files_;
  bool divides_ = true;
};

}  // namespace

std::unique_ptr<QuantizedReader> open_bitnet(const QuantizedFiles& files) {
  return std::make_unique<BitnetReader>(files);
}

}  // namespace lowbit
