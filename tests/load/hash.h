// How golden files say what a tensor's numbers are.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "formats/codec.h"

namespace lowbit {

// FNV-1a, 64 bits, of a tensor's numbers as little-endian f32, as 16 hexadecimal digits.
inline std::string hash_of_numbers(const QTensor& tensor) {
  std::vector<float> numbers = decode_rows(tensor);
  for (float& x : numbers) x += 0.0f;  // a zero code times a negative scale may be -0 or 0
  return fmt::format("{:016x}", fnv1a(std::span<const float>(numbers)));
}

}  // namespace lowbit
