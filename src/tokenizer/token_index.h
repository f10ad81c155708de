// Bytes to id: the hash table behind every look-up of a token.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

// Views the strings it is built from: they must outlive it and stay where they are.
class TokenIndex {
 public:
  static constexpr int32_t kNone = -1;

  // Room for `count` entries.
  explicit TokenIndex(size_t count = 0) {
    size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    slots_.resize(slots);
    mask_ = slots - 1;
  }

  // False if the bytes are there already: the entry stays as it was.
  bool insert(std::string_view bytes, int32_t id) {
    if (2 * (used_ + 1) > slots_.size()) grow();
    const uint64_t hash = hash_bytes(bytes);
    Slot* slot = &slots_[hash & mask_];
    for (; slot->id != kNone; slot = next(slot)) {
      if (slot->hash == high(hash) && slot->bytes() == bytes) return false;
    }
    *slot = {bytes.data(), static_cast<uint32_t>(bytes.size()), high(hash), id};
    ++used_;
    return true;
  }

  int32_t find(std::string_view bytes) const {
    const uint64_t hash = hash_bytes(bytes);
    for (const Slot* slot = &slots_[hash & mask_]; slot->id != kNone; slot = next(slot)) {
      if (slot->hash == high(hash) && slot->bytes() == bytes) return slot->id;
    }
    return kNone;
  }

 private:
  struct Slot {
    const char* data = nullptr;
    uint32_t size = 0;
    uint32_t hash = 0;  // the bits that do not choose the slot
    int32_t id = kNone;
    std::string_view bytes() const { return {data, size}; }
  };

  // Multiply and fold, 8 bytes at a time (after wyhash, W. Yi 2019, much simplified).
  static uint64_t hash_bytes(std::string_view bytes) {
    const char* p = bytes.data();
    size_t left = bytes.size();
    uint64_t hash = left * 0x9e3779b97f4a7c15u;
    for (; left > 8; p += 8, left -= 8) hash = fold(hash ^ load<uint64_t>(p));
    return fold(hash ^ load_tail(p, left));
  }
  static uint64_t fold(uint64_t x) {
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
  }
  template <class Word>
  static uint64_t load(const char* p) {
    Word word;
    std::memcpy(&word, p, sizeof(word));
    return word;
  }
  // At most 8 bytes, without a loop and without reading past them; the size is in the hash already.
  static uint64_t load_tail(const char* p, size_t count) {
    if (count >= 4) return load<uint32_t>(p) | (load<uint32_t>(p + count - 4) << 32);
    if (count == 0) return 0;
    return load<uint8_t>(p) | (load<uint8_t>(p + count / 2) << 8) |
           (load<uint8_t>(p + count - 1) << 16);
  }
  static uint32_t high(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

  const Slot* next(const Slot* slot) const {
    return slot + 1 == slots_.data() + slots_.size() ? slots_.data() : slot + 1;
  }
  Slot* next(Slot* slot) const { return const_cast<Slot*>(next(static_cast<const Slot*>(slot))); }

  void grow() {
    TokenIndex larger(slots_.size());
    for (const Slot& slot : slots_) {
      if (slot.id != kNone) larger.insert(slot.bytes(), slot.id);
    }
    *this = std::move(larger);
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
  size_t used_ = 0;
};

// Finds which of a set of texts starts at a place, the longest if several do. A sorted array that
// is narrowed byte by byte, so that a look-up costs no more than the prefix that matches.
class PrefixMatcher {
 public:
  void add(std::string text,
           int32_t value);  // a non-empty text; the first of two equal ones counts
  void finish();            // after the last add

  bool empty() const { return entries_.empty(); }
  bool may_start(char c) const { return first_[static_cast<uint8_t>(c)]; }

  struct Match {
    int32_t value = TokenIndex::kNone;
    size_t bytes = 0;  // 0: nothing starts here
  };
  Match longest_at(std::string_view text, size_t at) const;

 private:
  struct Entry {
    std::string text;
    int32_t value;
  };
  std::vector<Entry> entries_;
  bool first_[256] = {};
};

}  // namespace lowbit
