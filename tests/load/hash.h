// How golden files say what a tensor's numbers are.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "formats/codec.h"

namespace lowbit {

// FNV-1a, 64 bits, of a tensor's numbers as little-endian f32, as 16 hexadecimal digits.
inline std::string hash_of_numbers(const QTensor& tensor) {
  std::vector<float> numbers = decode_rows(tensor);
  for (float& x : numbers) x += 0.0f;  // a zero code times a negative scale may be -0 or 0
  uint64_t h = 0xcbf29ce484222325u;
  for (const std::byte b : std::as_bytes(std::span(numbers))) {
    h = (h ^ static_cast<uint64_t>(b)) * 0x100000001b3u;
  }
  return fmt::format("{:016x}", h);
}

}  // namespace lowbit
