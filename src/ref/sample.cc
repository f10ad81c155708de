#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "ref/ops.h"

namespace lowbit::ref {
namespace {

bool allowed(const uint32_t* mask, int32_t id) {
  return !mask || ((mask[id / 32] >> (id % 32)) & 1u);
}

// Candidates in falling order of logit, equal logits by id.
std::vector<int32_t> ranked(const float* logits, const uint32_t* mask, int32_t vocab) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < vocab; ++id) {
    if (allowed(mask, id)) ids.push_back(id);
  }
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  return ids;
}

int32_t draw(const float* logits, const std::vector<int32_t>& ids, const SampleParams& p,
             int32_t pos) {
  size_t kept = p.top_k > 0 ? std::min(ids.size(), static_cast<size_t>(p.top_k)) : ids.size();
  std::vector<double> weight(kept);
  for (size_t i = 0; i < kept; ++i) {
    weight[i] = std::exp((double{logits[ids[i]]} - double{logits[ids[0]]}) / p.temperature);
  }
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  double kept_weight = 0;
  for (size_t i = 0; i < kept; ++i) {  // the shortest prefix that holds top_p of the mass
    kept_weight += weight[i];
    if (kept_weight >= p.top_p * total) kept = i + 1;
  }
  double left = Rng(p.seed).uniform(static_cast<uint64_t>(pos)) * kept_weight;
  for (size_t i = 0; i + 1 < kept; ++i) {
    left -= weight[i];
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
      const std::vector<int32_t> ids = ranked(logits, mask, a.vocab);
      a.out[r] = ids.empty() ? -1 : draw(logits, ids, a.params[r], a.pos[r]);
      continue;
    }
    a.out[r] = -1;  // stays so only if the mask allows nothing
    for (int32_t id = 0; id < a.vocab; ++id) {
      if (allowed(mask, id) && (a.out[r] < 0 || logits[id] > logits[a.out[r]])) a.out[r] = id;
    }
  }
}

}  // namespace lowbit::ref
