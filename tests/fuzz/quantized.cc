// A byte that picks a tool, then any bytes as a .safetensors file of weights that the tool packed:
// every weight is read in several shapes.
#include "load/quantized.h"

#include "base/check.h"
#include "load/safetensors.h"

namespace {

using namespace lowbit;

class OneFile final : public Folder {
 public:
  explicit OneFile(const Bytes& file) : file_(file) {}
  std::string path() const override { return "fuzz"; }
  std::vector<std::string> names() const override { return {"model.safetensors"}; }
  std::optional<Bytes> find(const std::string& name) const override {
    return name == "model.safetensors" ? std::optional(file_) : std::nullopt;
  }

 private:
  Bytes file_;
};

constexpr std::string_view kConfigs[] = {
    R"({"quant_method": "gptq", "bits": 4, "group_size": 8, "sym": false})",
    R"({"quant_method": "gptq", "bits": 3, "group_size": -1, "checkpoint_format": "gptq_v2"})",
    R"({"quant_method": "awq", "bits": 4, "group_size": 8})",
    R"({"quant_method": "compressed-tensors", "config_groups": {
        "a": {"weights": {"num_bits": 4}}, "b": {"weights": {"num_bits": 3}},
        "c": {"weights": {"block_structure": [128, 128]}, "input_activations": {}}}})",
    R"({"quant_method": "fp8", "weight_block_size": [128, 128]})",
    R"({"quant_method": "torchao"})",
    R"({"quant_method": "hqq"})",
    R"({"quant_method": "bitnet"})",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Bytes bytes{std::as_bytes(std::span(data + 1, size - 1)), nullptr, false};
  const OneFile folder(bytes);
  try {
    const StoredTensors tensors = parse_safetensors("fuzz", bytes);
    const std::string_view config = kConfigs[data[0] % std::size(kConfigs)];
    const QuantizedWeights weights({folder, tensors, Hyperparams::from_json("fuzz.json", config)});
    for (const std::string& name : weights.names()) {
      for (const int64_t n : {8, 32}) {
        for (const int64_t k : {16, 32, 40}) {
          try {
            weights.tensor(name, n, k);
          } catch (const Error&) {  // in this shape only
          }
        }
      }
    }
    weights.remarks();
  } catch (const Error&) {
  }
  return 0;
}
