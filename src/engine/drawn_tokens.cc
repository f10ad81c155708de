#include "engine/drawn_tokens.h"

#include "base/check.h"

namespace lowbit {

DrawnTokens::DrawnTokens(const Backend& backend, int32_t rows) : api_(backend.graph) {
  const size_t bytes = size_t{kKept} * static_cast<size_t>(rows) * sizeof(int32_t);
  memory_ = api_ ? api_->host_memory(bytes) : backend.allocate(bytes);
  for (int32_t i = 0; api_ && i < kKept; ++i) {
    events_.emplace_back(api_->make_event(), GraphDestroy{api_->destroy_event});
  }
}

void DrawnTokens::start(std::span<const int32_t> next) {
  first_.assign(next.begin(), next.end());
  drawn_ = read_ = 0;
}

void DrawnTokens::enqueued(Stream stream) {
  LB_CHECK(has_room());
  if (api_) api_->record_event(events_[static_cast<size_t>(drawn_ % kKept)].get(), stream);
  ++drawn_;
}

std::span<const int32_t> DrawnTokens::read() {
  LB_CHECK(read_ < drawn_);
  if (api_) api_->wait_event(events_[static_cast<size_t>(read_ % kKept)].get());
  tokens_.clear();
  for (int32_t i = 0; i < rows(); ++i) {
    const auto row = static_cast<int32_t>((first_[static_cast<size_t>(i)] + read_) % kKept);
    tokens_.push_back(memory()[row * rows() + i]);
  }
  ++read_;
  return tokens_;
}

}  // namespace lowbit
