// Byte-pair merging: the neighbours with the lowest rank become one token, the leftmost first,
// until no pair has a rank.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

namespace lowbit {

struct Merge {
  static constexpr uint32_t kNever = std::numeric_limits<uint32_t>::max();
  uint32_t rank = kNever;
  int32_t result = -1;
};

// (left id, right id) -> its merge. Ids are not negative.
class MergeTable {
 public:
  explicit MergeTable(size_t count = 0);
  bool insert(int32_t left, int32_t right, Merge merge);  // false if the pair is there already

  Merge find(int32_t left, int32_t right) const {
    const uint64_t pair = key(left, right);
    for (size_t i = slot_of(pair); slots_[i].pair != kEmpty; i = (i + 1) & mask_) {
      if (slots_[i].pair == pair) return slots_[i].merge;
    }
    return {};
  }

 private:
  static constexpr uint64_t kEmpty = std::numeric_limits<uint64_t>::max();
  struct Slot {
    uint64_t pair = kEmpty;
    Merge merge;
  };
  static uint64_t key(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) |
           static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t pair) const {
    pair *= 0x9e3779b97f4a7c15u;
    return (pair ^ (pair >> 32)) & mask_;
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

// Buffers that one call of encode reuses from piece to piece.
struct MergeScratch {
  std::vector<int32_t> symbols;  // in: the ids to merge; out: what they became
  struct Node {
    int32_t id;
    int32_t previous, next;  // -1: none
  };
  struct Candidate {
    uint64_t order;  // rank << 32 | position: the smallest goes first
    int32_t left, right, result;
    bool operator<(const Candidate& other) const { return order > other.order; }
  };
  std::vector<Node> nodes;
  std::vector<Candidate> heap;
};

// Merges scratch->symbols (fewer than 2^31) in place: by scanning if they are few, else with a
// heap, in n log n steps.
void merge_symbols(const MergeTable& table, MergeScratch* scratch);

// How a token comes out of merging when any two neighbours may merge whose bytes together are a
// token: `rank(bytes)` is its rank, Merge::kNever for other bytes. `cuts` are the ends of the
// symbols that `token` starts as. Whatever text surrounds it, the token can only ever form from one
// pair: merges across its edges prevent it, and those inside do not depend on the outside. So that
// pair is all a MergeTable needs. Returns where its right half starts, 0 if it never forms.
template <class Rank>
size_t last_merge(std::string_view token, std::vector<size_t>* cuts, const Rank& rank) {
  std::vector<uint32_t> ranks;  // of the pair (i, i + 1)
  const auto pair_rank = [&](size_t i) {
    const size_t begin = i == 0 ? 0 : (*cuts)[i - 1];
    return rank(token.substr(begin, (*cuts)[i + 1] - begin));
  };
  for (size_t i = 0; i + 1 < cuts->size(); ++i) ranks.push_back(pair_rank(i));
  while (cuts->size() > 1) {
    size_t best = 0;
    for (size_t i = 1; i < ranks.size(); ++i) {
      if (ranks[i] < ranks[best]) best = i;
    }
    if (ranks[best] == Merge::kNever) return 0;
    if (cuts->size() == 2) return cuts->front();
    cuts->erase(cuts->begin() + static_cast<std::ptrdiff_t>(best));
    ranks.erase(ranks.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) ranks[best - 1] = pair_rank(best - 1);
    if (best < ranks.size()) ranks[best] = pair_rank(best);
  }
  return 0;
}

}  // namespace lowbit
