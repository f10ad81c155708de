// Hashes that tell contents apart; not against people who want two to be equal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace lowbit {

// Eight bytes at a time. Each step can be undone, so contents that differ in one word never have
// the same hash, and all others only by chance.
class Hash {
 public:
  void add(uint64_t word) {
    constexpr uint64_t kOdd = 0x9e3779b97f4a7c15u;  // 2^64 / the golden ratio
    state_ = (state_ ^ word) * kOdd;
    state_ ^= state_ >> 29;
  }
  // With their number, so that "ab" and "c" are not "a" and "bc".
  void add(std::span<const std::byte> bytes) {
    add(bytes.size());
    for (; bytes.size() >= sizeof(uint64_t); bytes = bytes.subspan(sizeof(uint64_t))) {
      add(word_of(bytes.first(sizeof(uint64_t))));
    }
    if (!bytes.empty()) add(word_of(bytes));
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }

  uint64_t value() const { return state_ * 0xd6e8feb86659fd93u; }

 private:
  static uint64_t word_of(std::span<const std::byte> bytes) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), bytes.size());
    return word;
  }

  uint64_t state_ = 0x243f6a8885a308d3u;  // not 0, which a word of 0 would leave as it is
};

// FNV-1a, 64 bits: the same everywhere and for good, so that results may keep it. `hash`: of the
// bytes before these.
constexpr uint64_t fnv1a(std::string_view bytes, uint64_t hash = 0xcbf29ce484222325u) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// Of numbers as they lie in memory, lowest byte first on every machine this runs on.
template <class T>
uint64_t fnv1a(std::span<const T> numbers) {
  return fnv1a({reinterpret_cast<const char*>(numbers.data()), numbers.size_bytes()});
}

}  // namespace lowbit
