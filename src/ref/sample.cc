#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "ref/ops.h"

namespace lowbit::ref {
namespace {

bool allowed(const uint32_t* mask, int32_t id) {
  return !mask || ((mask[id / 32] >> (id % 32)) & 1u);
}

// A NaN ranks with the impossible tokens.
float rank_of(float logit) { return std::isnan(logit) ? -INFINITY : logit; }

// Candidates in falling order of logit, equal logits by id; at most top_k of them (0: all).
std::vector<int32_t> ranked(const float* logits, const uint32_t* mask, int32_t vocab,
                            int32_t top_k) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < vocab; ++id) {
    if (allowed(mask, id)) ids.push_back(id);
  }
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return rank_of(logits[a]) > rank_of(logits[b]); });
  if (top_k > 0) ids.resize(std::min(ids.size(), static_cast<size_t>(top_k)));
  return ids;
}

int32_t draw(const float* logits, const std::vector<int32_t>& ids, const SampleParams& p,
             int32_t pos) {
  const double top = rank_of(logits[ids[0]]);
  const auto weight = [&](int32_t id) {  // equal infinities weigh the same
    const double logit = rank_of(logits[id]);
    return logit == top ? 1 : std::exp((logit - top) / p.temperature);
  };
  std::vector<int32_t> in_order =
      ids;  // the sum is taken by id: a faster sampler need not sort all
  std::sort(in_order.begin(), in_order.end());
  double total = 0;
  for (const int32_t id : in_order) total += weight(id);

  size_t kept = ids.size();
  double kept_weight = total;
  if (p.top_p < 1) {  // the shortest prefix that holds top_p of the mass
    kept_weight = 0;
    for (size_t i = 0; i < kept; ++i) {
      kept_weight += weight(ids[i]);
      if (kept_weight >= p.top_p * total) kept = i + 1;
    }
  }
  double left = Rng(p.seed).uniform(static_cast<uint64_t>(pos)) * kept_weight;
  for (size_t i = 0; i + 1 < kept; ++i) {
    left -= weight(ids[i]);
    if (left < 0) return ids[i];
  }
  return ids[kept - 1];
}

}  // namespace

void sample(const SampleArgs& a, Stream) {
  const int64_t mask_words = (a.vocab + 31) / 32;
  for (int32_t r = 0; r < a.rows; ++r) {
    const float* logits = a.logits + int64_t{r} * a.vocab;
    const uint32_t* mask = a.mask ? a.mask + r * mask_words : nullptr;
    if (a.params[r].temperature > 0) {
      const std::vector<int32_t> ids = ranked(logits, mask, a.vocab, a.params[r].top_k);
      a.out[r] = ids.empty() ? -1 : draw(logits, ids, a.params[r], a.pos[r]);
      continue;
    }
    a.out[r] = -1;  // stays so only if the mask allows nothing
    for (int32_t id = 0; id < a.vocab; ++id) {
      if (allowed(mask, id) && (a.out[r] < 0 || rank_of(logits[id]) > rank_of(logits[a.out[r]])))
        a.out[r] = id;
    }
  }
}

}  // namespace lowbit::ref
