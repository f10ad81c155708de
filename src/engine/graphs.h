// Steps that are captured when they first run and replayed from then on.
#pragma once

#include <compare>
#include <cstdint>
#include <map>

#include "ops/backend.h"

namespace lowbit {

// Steps of one key enqueue the same ops with the same arguments.
struct GraphKey {
  uint32_t variant;  // of the model
  int32_t n_seq, n_tok, n_logits;
  bool draws;  // tokens, after the forward pass
  auto operator<=>(const GraphKey&) const = default;
};

class Graphs {
 public:
  // `api` may be null: then nothing is captured.
  Graphs(const GraphApi* api, const Backend& backend) : api_(api), backend_(backend) {}
  // Waits for the stream: members of the owner that it uses may be freed after this.
  ~Graphs();
  Graphs(Graphs&&) = default;

  // `body` enqueues a step on the stream. The first one of a key runs as it is, so that whatever
  // its kernels need at their first use is there, and is captured while it runs.
  template <class Body>
  void run(const GraphKey& key, Stream stream, const Body& body) {
    const auto found = graphs_.find(key);
    if (found != graphs_.end()) return api_->launch(found->second.get(), stream);
    body();
    if (api_) graphs_.emplace(key, GraphHandle(captured(stream, body), {api_->destroy}));
  }
  size_t count() const { return graphs_.size(); }

 private:
  template <class Body>
  void* captured(Stream stream, const Body& body) {
    api_->begin_capture(stream);
    try {
      body();
    } catch (...) {
      abandon(stream);
      throw;
    }
    return api_->end_capture(stream);
  }
  void abandon(Stream stream);

  const GraphApi* api_;
  const Backend& backend_;
  std::map<GraphKey, GraphHandle> graphs_;
};

}  // namespace lowbit
