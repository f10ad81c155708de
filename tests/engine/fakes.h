// A model without weights and a tokenizer without a vocabulary file, so that the engine's tests say
// exactly what comes in and what must come out. For the host backends only.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/check.h"
#include "models/model.h"
#include "tokenizer/tokenizer.h"

namespace lowbit::fakes {

// The logits of a position are whatever `row` writes; no weights, no state.
class FakeModel final : public Model {
 public:
  using Row = std::function<void(int32_t token, int32_t pos, float* logits)>;
  FakeModel(int32_t vocab, int32_t context, Row row)
      : vocab_(vocab), context_(context), row_(std::move(row)) {}

  int32_t vocab_size() const override { return vocab_; }
  int32_t max_context() const override { return context_; }
  std::vector<StateSpec> state() const override { return {}; }
  uint32_t variant(std::span<const int32_t>) const override { return 0; }
  size_t scratch_bytes(int32_t, int32_t) const override { return 0; }
  void forward(Exec&, const StepBatch& b, const StateView&, float* logits) const override {
    for (int32_t i = 0; i < b.n_logits; ++i) {
      float* row = logits + int64_t{i} * vocab_;
      std::fill(row, row + vocab_, 0.0f);
      row_(b.tokens[b.logit_row[i]], b.pos[b.logit_row[i]], row);
    }
  }
  std::vector<const Linear*> linears() const override { return {}; }
  const MemoryUse& memory() const override { return memory_; }
  int64_t parameters() const override { return 0; }
  const std::vector<TensorUse>& tensors() const override { return uses_; }

 private:
  int32_t vocab_, context_;
  Row row_;
  MemoryUse memory_;
  std::vector<TensorUse> uses_;
};

// Position p is always followed by script[p + 1 - prompt]: a greedy run reads out the script.
inline FakeModel scripted(std::vector<int32_t> script, int32_t prompt, int32_t vocab,
                          int32_t context) {
  return {vocab, context, [=](int32_t, int32_t pos, float* logits) {
            const auto at = static_cast<size_t>(std::max(pos + 1 - prompt, 0));
            logits[script[std::min(at, script.size() - 1)]] = 9;
          }};
}

// Ids 0..255 are bytes; the given texts follow, special ones after that.
class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(std::vector<std::string> pieces, std::vector<std::string> special = {})
      : pieces_(std::move(pieces)), special_(std::move(special)) {}

  std::vector<int32_t> encode(std::string_view text, EncodeOptions options) const override {
    std::vector<int32_t> ids;
    if (options.add_bos && bos()) ids.push_back(*bos());
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  void decode_next(int32_t id, bool, DecodeState*, std::string* text) const override {
    const auto piece = static_cast<size_t>(id - 256);
    if (id < 256) {
      text->push_back(static_cast<char>(id));
    } else if (piece < pieces_.size()) {
      *text += pieces_[piece];
    }
  }
  int32_t vocab_size() const override {
    return static_cast<int32_t>(256 + pieces_.size() + special_.size());
  }
  std::optional<int32_t> bos() const override { return special_id("<|begin_of_text|>"); }
  std::vector<int32_t> eos() const override { return {}; }
  std::optional<int32_t> special_id(std::string_view text) const override {
    for (size_t i = 0; i < special_.size(); ++i) {
      if (special_[i] == text) return static_cast<int32_t>(256 + pieces_.size() + i);
    }
    return std::nullopt;
  }
  std::string describe() const override { return "bytes"; }

 private:
  std::vector<std::string> pieces_, special_;
};

}  // namespace lowbit::fakes
