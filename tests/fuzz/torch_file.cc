// Any bytes as a file of torch.save: parsed, and every tensor read in the shape that it claims. An
// archive rarely survives a mutation, so the bytes are also taken as a pickle beside one storage.
#include "load/torch_file.h"

#include "base/check.h"
#include "load/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lowbit;
  const Bytes file{std::as_bytes(std::span(data, size)), nullptr, false};
  try {
    read_pickle("fuzz", file.text());
  } catch (const Error&) {
  }
  try {
    for (const auto& [name, tensor] : parse_torch_file("fuzz", file)) {
      const auto& shape = tensor.shape;
      try {
        plain_tensor(name, tensor, shape.size() == 2 ? shape[0] : 1,
                     shape.empty() ? 1 : shape.back(), "F32");
      } catch (const Error&) {  // this tensor only: the others are read all the same
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
