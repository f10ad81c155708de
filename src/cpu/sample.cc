#include "cpu/sample.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"

namespace lowbit::cpu {
namespace {

bool allowed(const uint32_t* mask, int32_t id) {
  return !mask || ((mask[id / 32] >> (id % 32)) & 1u);
}

// A NaN ranks with the impossible tokens.
float rank_of(float logit) { return std::isnan(logit) ? -INFINITY : logit; }

int32_t greedy(const float* logits, const uint32_t* mask, int32_t vocab) {
  int32_t best = -1;
  float top = 0;
  for (int32_t id = 0; id < vocab; ++id) {
    if (!allowed(mask, id)) continue;
    const float logit = rank_of(logits[id]);
    if (best < 0 || logit > top) {
      best = id;
      top = logit;
    }
  }
  return best;
}

struct Candidate {
  float logit;
  int32_t id;
  // Falling logits, equal ones by id.
  bool operator<(const Candidate& other) const {
    return logit != other.logit ? logit > other.logit : id < other.id;
  }
};

// Candidates whose front is put in order as far as somebody looks.
class Ranking {
 public:
  explicit Ranking(std::vector<Candidate>& candidates) : candidates_(candidates) {}

  const Candidate& operator[](size_t i) {
    while (i >= sorted_) {
      const size_t more = std::min(candidates_.size(), std::max<size_t>(64, sorted_ * 4));
      const auto at = [&](size_t index) {
        return candidates_.begin() + static_cast<std::ptrdiff_t>(index);
      };
      if (more < candidates_.size())
        std::nth_element(at(sorted_), at(more), at(candidates_.size()));
      std::sort(at(sorted_), at(more));
      sorted_ = more;
    }
    return candidates_[i];
  }

 private:
  std::vector<Candidate>& candidates_;
  size_t sorted_ = 0;
};

int32_t draw(std::vector<Candidate>& all, const SampleParams& p, int32_t pos) {
  const auto by_id = [](const Candidate& a, const Candidate& b) { return a.id < b.id; };
  if (p.top_k > 0 && static_cast<size_t>(p.top_k) < all.size()) {
    std::nth_element(all.begin(), all.begin() + p.top_k, all.end());
    all.resize(static_cast<size_t>(p.top_k));
    std::sort(all.begin(), all.end(), by_id);
  }
  float top = -INFINITY;
  for (const Candidate& candidate : all) top = std::max(top, candidate.logit);
  const auto weight = [&](const Candidate& c) {
    return c.logit == top ? 1 : std::exp((double{c.logit} - double{top}) / p.temperature);
  };
  double total = 0;  // in order of id
  for (const Candidate& candidate : all) total += weight(candidate);

  Ranking ranked(all);
  size_t kept = all.size();
  double kept_weight = total;
  if (p.top_p < 1) {  // the shortest prefix that holds top_p of the mass
    kept_weight = 0;
    for (size_t i = 0; i < kept; ++i) {
      kept_weight += weight(ranked[i]);
      if (kept_weight >= p.top_p * total) kept = i + 1;
    }
  }
  double left = Rng(p.seed).uniform(static_cast<uint64_t>(pos)) * kept_weight;
  for (size_t i = 0; i + 1 < kept; ++i) {
    left -= weight(ranked[i]);
    if (left < 0) return ranked[i].id;
  }
  return ranked[kept - 1].id;
}

int32_t sample_row(const float* logits, const uint32_t* mask, int32_t vocab,
                   const SampleParams& params, int32_t pos) {
  if (!(params.temperature > 0)) return greedy(logits, mask, vocab);
  std::vector<Candidate> all;
  all.reserve(static_cast<size_t>(vocab));
  for (int32_t id = 0; id < vocab; ++id) {
    if (allowed(mask, id)) all.push_back({rank_of(logits[id]), id});
  }
  return all.empty() ? -1 : draw(all, params, pos);
}

}  // namespace

void sample(const SampleArgs& a, Stream) {
  const int64_t mask_words = (a.vocab + 31) / 32;
  thread_pool().for_ranges(a.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      a.out[r] = sample_row(a.logits + r * a.vocab, a.mask ? a.mask + r * mask_words : nullptr,
                            a.vocab, a.params[r], a.pos[r]);
    }
  });
}

}  // namespace lowbit::cpu
