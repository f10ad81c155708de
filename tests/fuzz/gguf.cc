// Any bytes as a .gguf file: parsed, its tokenizer's arrays and, in the shape that each claims, its
// tensors read, then opened as a Llama.
#include "load/gguf.h"

#include "base/check.h"
#include "load/containers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lowbit;
  const Bytes bytes{std::as_bytes(std::span(data, size)), nullptr, false};
  try {
    const GgufFile file("fuzz", bytes);
    for (const auto& [name, tensor] : file.tensors()) {
      const auto& shape = tensor.shape;
      try {
        gguf_tensor(name, tensor, shape.size() == 2 ? shape[0] : 1, shape.back());
      } catch (const Error&) {  // this tensor only: the others are read all the same
      }
    }
    const auto checkpoint = open_gguf_checkpoint("fuzz", bytes);
    checkpoint->eos_ids();
    const int64_t hidden = checkpoint->config().integer("hidden_size", 1, 1 << 20);
    for (const std::string& name : checkpoint->tensor_names()) {
      try {
        checkpoint->tensor(name, hidden, hidden);
      } catch (const Error&) {
      }
    }
    checkpoint->tokenizer();
  } catch (const Error&) {
  }
  return 0;
}
