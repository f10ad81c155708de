#include "tokenizer/merge.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace lowbit {
namespace {

// Up to here a scan per merge beats the heap (measured on prose and on source code: 24 to 64 are
// alike, 128 is slower).
constexpr size_t kMaxScan = 48;

void merge_by_scanning(const MergeTable& table, std::vector<int32_t>* symbols) {
  std::array<Merge, kMaxScan> merges;  // of the pair (i, i + 1)
  int32_t* ids = symbols->data();
  size_t count = symbols->size();
  for (size_t i = 0; i + 1 < count; ++i) merges[i] = table.find(ids[i], ids[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == Merge::kNever) break;
    ids[best] = merges[best].result;
    --count;
    std::memmove(ids + best + 1, ids + best + 2, (count - best - 1) * sizeof(int32_t));
    std::copy(merges.begin() + static_cast<std::ptrdiff_t>(best) + 1,
              merges.begin() + static_cast<std::ptrdiff_t>(count),
              merges.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) merges[best - 1] = table.find(ids[best - 1], ids[best]);
    if (best + 1 < count) merges[best] = table.find(ids[best], ids[best + 1]);
  }
  symbols->resize(count);
}

class HeapMerger {
 public:
  HeapMerger(const MergeTable& table, MergeScratch* scratch)
      : table_(table), nodes_(scratch->nodes), heap_(scratch->heap) {}

  void run(std::vector<int32_t>* symbols) {
    const auto count = static_cast<int32_t>(symbols->size());
    nodes_.clear();
    heap_.clear();
    for (int32_t i = 0; i < count; ++i) {
      nodes_.push_back({(*symbols)[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
    }
    for (int32_t i = 0; i < count; ++i) add(i);
    std::make_heap(heap_.begin(), heap_.end());
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end());
      const MergeScratch::Candidate top = heap_.back();
      heap_.pop_back();
      apply(top);
    }
    symbols->clear();
    for (int32_t i = 0; i >= 0; i = node(i).next) symbols->push_back(node(i).id);
  }

 private:
  MergeScratch::Node& node(int32_t i) { return nodes_[static_cast<size_t>(i)]; }

  bool add(int32_t at) {
    const int32_t next = node(at).next;
    if (next < 0) return false;
    const Merge merge = table_.find(node(at).id, node(next).id);
    if (merge.rank == Merge::kNever) return false;
    heap_.push_back({(static_cast<uint64_t>(merge.rank) << 32) | static_cast<uint32_t>(at),
                     node(at).id, node(next).id, merge.result});
    return true;
  }

  void add_and_sift(int32_t at) {
    if (add(at)) std::push_heap(heap_.begin(), heap_.end());
  }

  void apply(const MergeScratch::Candidate& top) {
    const auto at = static_cast<int32_t>(static_cast<uint32_t>(top.order));
    MergeScratch::Node& left = node(at);
    if (left.id != top.left || left.next < 0) return;  // merged since
    MergeScratch::Node& right = node(left.next);
    if (right.id != top.right) return;
    left.id = top.result;
    left.next = right.next;
    right.id = kGone;
    if (left.next >= 0) node(left.next).previous = at;
    if (left.previous >= 0) add_and_sift(left.previous);
    add_and_sift(at);
  }

  static constexpr int32_t kGone = -1;
  const MergeTable& table_;
  std::vector<MergeScratch::Node>& nodes_;
  std::vector<MergeScratch::Candidate>& heap_;
};

}  // namespace

MergeTable::MergeTable(size_t count) {
  size_t slots = 16;
  while (slots < 2 * count) slots *= 2;
  slots_.resize(slots);
  mask_ = slots - 1;
}

bool MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t pair = key(left, right);
  size_t i = slot_of(pair);
  for (; slots_[i].pair != kEmpty; i = (i + 1) & mask_) {
    if (slots_[i].pair == pair) return false;
  }
  slots_[i] = {pair, merge};
  return true;
}

void merge_symbols(const MergeTable& table, MergeScratch* scratch) {
  if (scratch->symbols.size() <= kMaxScan) {
    merge_by_scanning(table, &scratch->symbols);
  } else {
    HeapMerger(table, scratch).run(&scratch->symbols);
  }
}

}  // namespace lowbit
