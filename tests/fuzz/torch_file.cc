// Any bytes as a file of torch.save: parsed, and every tensor read in the shape that it claims. An
// archive rarely survives a mutation, so the bytes are also taken as a pickle beside one storage.
#include "load/torch_file.h"

#include "base/check.h"
#include "every_tensor.h"
#include "load/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lowbit;
  const Bytes file{std::as_bytes(std::span(data, size)), nullptr, false};
  try {
    read_pickle("fuzz", file.text());
  } catch (const Error&) {
  }
  try {
    read_every_tensor(parse_torch_file("fuzz", file));
  } catch (const Error&) {
  }
  return 0;
}
