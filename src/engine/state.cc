#include "engine/state.h"

#include "base/check.h"
#include "base/text.h"
#include "ops/view.h"

namespace lowbit {
namespace {

// Rows of K (or of V) in one layer: a head of a token each.
Act allocate_rows(const Backend& backend, const StateSpec& spec, int64_t rows, MemoryTrace* trace,
                  std::vector<DeviceBytes>* pools) {
  const auto take = [&](Plane plane) {
    const size_t bytes = plane_shape(spec.format, plane, rows, spec.width).bytes();
    pools->push_back(allocate(backend, bytes, {trace, MemoryPart::kState, spec.name}));
    return pools->back().data;
  };
  Act act = act_of(spec.format, spec.width);
  act.data = take(Plane::kCodes);
  act.scales = take(Plane::kScales);
  act.zeros = take(Plane::kZeros);
  return act;
}

// What was wanted, and how much of it fits: contexts are in pages.
[[noreturn]] void fail_for_memory(const Backend& backend, const OutOfMemory& error,
                                  size_t per_token, int64_t sequences, int64_t context) {
  std::string text = fmt::format(
      "{}; the cache of {} sequence{} of {} tokens takes {}", error.what(), sequences,
      sequences == 1 ? "" : "s", context,
      format_bytes(static_cast<double>(per_token) * static_cast<double>(sequences * context)));
  if (backend.device) {
    const size_t free = backend.device->memory().free;
    const auto tokens =
        static_cast<int64_t>(free / per_token) / StateStore::kPageTokens * StateStore::kPageTokens;
    text += fmt::format(", {} are free beside the weights: at most {} tokens fit in all",
                        format_bytes(static_cast<double>(free)), tokens);
  }
  throw OutOfMemory(text);
}

}  // namespace

size_t bytes_per_token(const StateSpec& spec) {
  return 2 * static_cast<size_t>(spec.layers) * tensor_bytes(spec.format, spec.heads, spec.width);
}

StateStore::StateStore(const Backend& backend, const std::vector<StateSpec>& specs,
                       int32_t sequences, int32_t max_context, MemoryTrace* trace)
    : backend_(backend),
      max_context_(max_context),
      pages_per_sequence_((max_context + kPageTokens - 1) / kPageTokens),
      page_table_(static_cast<size_t>(sequences) * pages_per_sequence_, 0),
      length_(sequences, 0),
      pages_(sequences, 0) {
  const int64_t pages = int64_t{sequences} * pages_per_sequence_;
  device_table_ = backend.allocate(page_table_.size() * sizeof(int32_t));
  for (int64_t page = pages - 1; page >= 0; --page) {
    free_pages_.push_back(static_cast<int32_t>(page));
  }
  for (const StateSpec& spec : specs) {
    LB_CHECK(spec.grows_with_tokens, "{}", spec.name);
    bytes_per_token_ += lowbit::bytes_per_token(spec);
  }
  try {
    allocate_pages(specs, pages, trace);
  } catch (const OutOfMemory& error) {
    pools_.clear();
    fail_for_memory(backend, error, bytes_per_token_, sequences, max_context);
  }
}

void StateStore::allocate_pages(const std::vector<StateSpec>& specs, int64_t pages,
                                MemoryTrace* trace) {
  for (const StateSpec& spec : specs) {
    for (int32_t layer = 0; layer < spec.layers; ++layer) {
      const int64_t rows = pages * spec.heads * kPageTokens;
      const Act k = allocate_rows(backend_, spec, rows, trace, &pools_);
      const Act v = allocate_rows(backend_, spec, rows, trace, &pools_);
      views_.push_back({k, v, static_cast<const int32_t*>(device_table_.data), pages_per_sequence_,
                        kPageTokens});
    }
  }
}

void StateStore::reserve(int32_t sequence, int32_t length) {
  if (length > max_context_) {
    throw_error(
        "sequence of {} tokens exceeds the context of {} (raise --max-context or shorten it)",
        length, max_context_);
  }
  const int32_t first = pages_[sequence];
  int32_t* row = &page_table_[static_cast<size_t>(sequence) * pages_per_sequence_];
  for (int32_t needed = (length + kPageTokens - 1) / kPageTokens; pages_[sequence] < needed;) {
    if (free_pages_.empty()) throw_error("no free KV page for sequence {}", sequence);
    row[pages_[sequence]++] = free_pages_.back();
    free_pages_.pop_back();
  }
  length_[sequence] = std::max(length_[sequence], length);
  if (pages_[sequence] > first) {
    const size_t offset = static_cast<size_t>(row - page_table_.data()) + first;
    backend_.copy_in(static_cast<int32_t*>(device_table_.data) + offset, row + first,
                     static_cast<size_t>(pages_[sequence] - first) * sizeof(int32_t),
                     stream_of(backend_));
  }
}

void StateStore::truncate(int32_t sequence, int32_t length) {
  LB_CHECK(0 <= length && length <= length_[sequence], "{} of {}", length, length_[sequence]);
  const int32_t* row = &page_table_[static_cast<size_t>(sequence) * pages_per_sequence_];
  const int32_t needed = (length + kPageTokens - 1) / kPageTokens;
  while (pages_[sequence] > needed) free_pages_.push_back(row[--pages_[sequence]]);
  length_[sequence] = length;
}

size_t StateStore::bytes() const {
  size_t total = 0;
  for (const DeviceBytes& pool : pools_) total += pool.size;
  return total;
}

size_t StateStore::used_bytes() const {
  size_t pages = 0;
  for (const int32_t held : pages_) pages += static_cast<size_t>(held);
  return pages * kPageTokens * bytes_per_token_;
}

size_t StateStore::bytes_per_token() const { return bytes_per_token_; }

}  // namespace lowbit
