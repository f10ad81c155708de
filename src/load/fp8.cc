// quant_method `fp8` (DeepSeek, vLLM, transformers) and `fbgemm_fp8`: weight [n, k] of F8_E4M3 and
// its scale, which multiplies in spite of its name: weight_scale_inv for blocks of 128 x 128 (or
// one number), weight_scale for a row or the whole tensor. Scales of inputs are for tools that
// round activations.
#include "base/check.h"
#include "base/text.h"
#include "load/packed_parts.h"

namespace lowbit {
namespace {

class Fp8Reader final : public QuantizedReader {
 public:
  explicit Fp8Reader(const QuantizedFiles& files) : files_(files) {
    const std::vector<int64_t> block = files.config.integers_or("weight_block_size", 1, INT32_MAX);
    blocks_ = !block.empty();
    if (blocks_ && block != std::vector<int64_t>{128, 128}) {
      files.config.fail("weight_block_size", "only blocks of [128, 128] are supported");
    }
  }

  QTensor outline(const std::string& module, int64_t n, int64_t k) const override {
    const PackedParts parts(files_, module);
    return {byte_format(parts, "weight", grid(parts, n, k), nullptr, n, k), n, k};
  }

  QTensor tensor(const std::string& module, int64_t n, int64_t k) const override {
    const PackedParts parts(files_, module);
    const ScaleGrid scales = grid(parts, n, k);
    const Format format = byte_format(parts, "weight", scales, nullptr, n, k);
    return byte_tensor(*parts.find("weight"), format, scales, nullptr, n, k);
  }

  std::vector<std::string> remarks(const std::set<std::string>&) const override {
    return {"the config asks for rounded activations; here only --format W+A rounds them"};
  }

 private:
  ScaleGrid grid(const PackedParts& parts, int64_t n, int64_t k) const {
    if (parts.has("weight_scale_inv")) parts.refuse({"weight_scale"}, "fp8 with weight_scale_inv");
    const char* part = parts.has("weight_scale_inv") ? "weight_scale_inv" : "weight_scale";
    return read_scale_grid(parts, part, n, k, blocks_);
  }

  QuantizedFiles files_;
  bool blocks_ = false;
};

}  // namespace

std::unique_ptr<QuantizedReader> open_fp8(const QuantizedFiles& files) {
  return std::make_unique<Fp8Reader>(files);
}

}  // namespace lowbit
