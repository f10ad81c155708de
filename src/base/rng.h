// A counter-based generator: value i of stream s never depends on how many threads asked or in
// which order, so synthetic weights are the same on every machine.
// Source: SplitMix64's finaliser (Steele, Lea, Flood 2014; constants by D. Stafford, variant 13).
#pragma once

#include <cstdint>

namespace lowbit {

constexpr uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class Rng {
 public:
  explicit constexpr Rng(uint64_t seed, uint64_t stream = 0)
      : key_(mix64(seed + 0x9e3779b97f4a7c15u) ^ mix64(stream * 0xd1342543de82ef95u + 1)) {}

  constexpr uint64_t bits(uint64_t i) const { return mix64(key_ + i * 0x9e3779b97f4a7c15u); }
  // Uniform in [0, 1), a multiple of 2^-24.
  constexpr float uniform(uint64_t i) const { return static_cast<float>(bits(i) >> 40) * 0x1p-24f; }
  // About standard normal: the sum of four 16-bit uniforms (Irwin-Hall, kurtosis 2.7, |x| < 3.47).
  // Integers and one multiplication only, so that every device makes the same bits.
  constexpr float gaussian(uint64_t i) const {
    const uint64_t word = bits(i);
    const int64_t sum = static_cast<int64_t>((word & 0xffff) + ((word >> 16) & 0xffff) +
                                             ((word >> 32) & 0xffff) + (word >> 48));
    return static_cast<float>(2 * sum - 4 * 65535) * kInverseDeviation;
  }

  // The same numbers as a sequence, for code that just wants the next one.
  uint64_t next() { return bits(counter_++); }
  float next_uniform() { return uniform(counter_++); }

 private:
  static constexpr float kInverseDeviation = 1.0f / (2.0f * 37837.227f);  // 65536 / sqrt(3)

  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace lowbit
