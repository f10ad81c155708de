// Any bytes as a .safetensors file: parsed, and every tensor read in the shape that it claims.
#include "load/safetensors.h"

#include "base/check.h"
#include "every_tensor.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lowbit;
  const Bytes file{std::as_bytes(std::span(data, size)), nullptr, false};
  try {
    read_every_tensor(parse_safetensors("fuzz", file));
  } catch (const Error&) {
  }
  return 0;
}
