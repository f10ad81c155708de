// The ops beside Linear, in GCC and clang vector extensions: the including file chooses the ISA by
// its compile flags and provides, inside its anonymous namespace,
//
//   Vec                                    a vector of 8 or 16 floats: what the ISA has, since
//                                          compilers split wider ones into single numbers
//   Vec f16_load(const uint16_t*)
//   void f16_store(uint16_t*, Vec)
//   kCodes                                 the CodeBodies of that ISA
//
// Everything is in the anonymous namespace and includes nothing but plain structs, so that no copy
// compiled for one ISA can be linked into another. Sums have a fixed order: results do not depend
// on the thread split.

namespace lowbit::cpu {
namespace {

constexpr int32_t kLanes = sizeof(Vec) / sizeof(float);

typedef uint32_t UIntVec __attribute__((vector_size(4 * kLanes)));
typedef uint16_t HalfVec __attribute__((vector_size(2 * kLanes)));

template <class V, class T>
V load_vector(const T* at) {
  V v;
  __builtin_memcpy(&v, at, sizeof v);
  return v;
}

template <class V, class T>
void store_vector(T* at, V v) {
  __builtin_memcpy(at, &v, sizeof v);
}

Vec splat(float value) { return value - Vec{}; }

int32_t min_of(int32_t a, int32_t b) { return a < b ? a : b; }

// The sum over lanes, as a tree.
float sum_of(Vec v) {
  float lanes[kLanes];
  store_vector(lanes, v);
  for (int32_t n = kLanes / 2; n > 0; n /= 2) {
    for (int32_t i = 0; i < n; ++i) lanes[i] += lanes[i + n];
  }
  return lanes[0];
}

float max_of(Vec v) {
  float lanes[kLanes];
  store_vector(lanes, v);
  float top = lanes[0];
  for (int i = 1; i < kLanes; ++i) top = lanes[i] > top ? lanes[i] : top;
  return top;
}

// exp(x) to about 1 ulp for results in the normal range; 0 below it, +inf above 88.37, NaN for NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2 (Cody-Waite); exp(r) by its Taylor polynomial to r^7, whose
// remainder is 5e-9 relative.
Vec exp_of(Vec x) {
  constexpr float kRound = 0x1.8p23f;
  const Vec shifted = x * 1.44269504f + kRound;
  const Vec n = shifted - kRound;
  Vec r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  UIntVec bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;  // the low bits of `shifted` hold n
  Vec scale;
  __builtin_memcpy(&scale, &bits, sizeof scale);
  Vec y = p * scale;
  y = x < -87.33f ? Vec{} : y;
  y = x > 88.37f ? splat(__builtin_inff()) : y;
  return y;
}

// ---- numbers in memory --------------------------------------------------------------------------

struct F32Store {
  using Type = float;
  static Vec load(const float* at) { return load_vector<Vec>(at); }
  static void store(float* at, Vec v) { store_vector(at, v); }
};

struct BF16Store {
  using Type = uint16_t;
  static Vec load(const uint16_t* at) {
    const UIntVec bits = __builtin_convertvector(load_vector<HalfVec>(at), UIntVec) << 16;
    Vec v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
  }
  // Round to nearest even; NaN stays NaN.
  static void store(uint16_t* at, Vec v) {
    UIntVec bits;
    __builtin_memcpy(&bits, &v, sizeof bits);
    const UIntVec even = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const UIntVec quiet = (bits >> 16) | 0x40u;
    const UIntVec kept = (bits & 0x7fffffffu) > 0x7f800000u ? quiet : even;
    store_vector(at, __builtin_convertvector(kept, HalfVec));
  }
};

struct F16Store {
  using Type = uint16_t;
  static Vec load(const uint16_t* at) { return f16_load(at); }
  static void store(uint16_t* at, Vec v) { f16_store(at, v); }
};

// The first `count` (or none) of a vector; the others read as 0 and are not written.
template <class S>
Vec load_some(const typename S::Type* at, int32_t count) {
  if (count >= kLanes) return S::load(at);
  typename S::Type lanes[kLanes] = {};
  if (count > 0) __builtin_memcpy(lanes, at, sizeof lanes[0] * static_cast<uint32_t>(count));
  return S::load(lanes);
}

template <class S>
void store_some(typename S::Type* at, int32_t count, Vec v) {
  if (count >= kLanes) return S::store(at, v);
  if (count <= 0) return;
  typename S::Type lanes[kLanes];
  S::store(lanes, v);
  __builtin_memcpy(at, lanes, sizeof lanes[0] * static_cast<uint32_t>(count));
}

// Calls body(S{}) with the way `format` is stored.
template <class Body>
void with_store(FormatId format, const Body& body) {
  if (format == FormatId::kF32) return body(F32Store{});
  if (format == FormatId::kBF16) return body(BF16Store{});
  body(F16Store{});
}

// ---- row by row ---------------------------------------------------------------------------------

void widen(const Act& x, int32_t k, float* out, int64_t ld, int32_t r0, int32_t r1) {
  if (x.scale != Scale::kNone) {
    kCodes.decode(x, {r0, r1, 0, k}, out + r0 * ld, ld);
    for (int32_t r = r0; r < r1; ++r) {
      for (int64_t i = k; i < ld; ++i) out[r * ld + i] = 0;
    }
    return;
  }
  with_store(x.format, [&](auto s) {
    using S = decltype(s);
    const auto* from = static_cast<const typename S::Type*>(x.data);
    for (int32_t r = r0; r < r1; ++r) {
      for (int32_t i = 0; i < ld; i += kLanes) {
        const int32_t count = i < k ? min_of(kLanes, k - i) : 0;
        const Vec v = count > 0 ? load_some<S>(from + r * x.ld + i, count) : Vec{};
        store_vector(out + r * ld + i, v);
      }
    }
  });
}

void rmsnorm(const RmsNormArgs& a, int32_t r0, int32_t r1) {
  with_store(a.out.format, [&](auto s) {
    using S = decltype(s);
    for (int32_t r = r0; r < r1; ++r) {
      const float* x = a.x + int64_t{r} * a.d;
      auto* out = static_cast<typename S::Type*>(a.out.data) + r * a.out.ld;
      Vec squares[4] = {};  // four chains hide the latency of the additions
      for (int32_t i = 0, chain = 0; i < a.d; i += kLanes, chain = (chain + 1) % 4) {
        const Vec v = load_some<F32Store>(x + i, a.d - i);
        squares[chain] += v * v;
      }
      const float sum = sum_of((squares[0] + squares[1]) + (squares[2] + squares[3]));
      const float inverse = 1.0f / __builtin_sqrtf(sum / static_cast<float>(a.d) + a.eps);
      for (int32_t i = 0; i < a.d; i += kLanes) {
        const Vec v = load_some<F32Store>(x + i, a.d - i);
        const Vec weight = load_some<F32Store>(a.weight + i, a.d - i);
        store_some<S>(out + i, a.d - i, v * inverse * weight);
      }
    }
  });
}

void silu_mul(const SiluMulArgs& a, int32_t row, int32_t c0, int32_t c1) {
  with_store(a.out.format, [&](auto s) {
    using S = decltype(s);
    const float* gate = a.gate_up + int64_t{row} * 2 * a.d;
    auto* out = static_cast<typename S::Type*>(a.out.data) + row * a.out.ld;
    for (int32_t i = c0; i < c1; i += kLanes) {
      const Vec g = load_some<F32Store>(gate + i, c1 - i);
      const Vec up = load_some<F32Store>(gate + a.d + i, c1 - i);
      store_some<S>(out + i, c1 - i, g / (1.0f + exp_of(-g)) * up);
    }
  });
}

// ---- the key/value cache ------------------------------------------------------------------------

// The row of K and of V that holds (position, kv head).
int64_t kv_row(const KvView& kv, int32_t slot, int32_t pos, int32_t head, int32_t kv_heads) {
  const int32_t page = kv.page_table[int64_t{slot} * kv.max_pages + pos / kv.page_tokens];
  return (int64_t{page} * kv_heads + head) * kv.page_tokens + pos % kv.page_tokens;
}

// In double, where the products of floats are exact: the same bits with and without FMA, so that
// the codes of a quantized cache are those of the reference.
void rotate(float* __restrict x, const float* __restrict cos_sin, int32_t half) {
  for (int32_t i = 0; i < half; ++i) {
    const double c = cos_sin[i], s = cos_sin[half + i];
    const double x1 = x[i], x2 = x[half + i];
    x[i] = static_cast<float>(x1 * c - x2 * s);
    x[half + i] = static_cast<float>(x2 * c + x1 * s);
  }
}

// Rows of the cache from `count` heads of x, `stride` rows apart.
void append(const Act& cache, const float* x, int64_t row, int32_t stride, int32_t heads) {
  const int64_t head_dim = cache.ld;
  for (int32_t h = 0; h < heads; ++h, x += head_dim, row += stride) {
    if (cache.scale != Scale::kNone) {
      encode_rows(kCodes, x, cache, row, row + 1);
      continue;
    }
    with_store(cache.format, [&](auto store) {
      using S = decltype(store);
      auto* out = static_cast<typename S::Type*>(cache.data) + row * head_dim;
      for (int32_t i = 0; i < head_dim; i += kLanes) {
        const auto count = static_cast<int32_t>(head_dim) - i;
        store_some<S>(out + i, count, load_some<F32Store>(x + i, count));
      }
    });
  }
}

void rope_append(const RopeAppendArgs& a, int32_t t0, int32_t t1) {
  const int64_t width = int64_t{a.heads + 2 * a.kv_heads} * a.head_dim;
  for (int32_t t = t0; t < t1; ++t) {
    float* q = a.qkv + t * width;
    const float* k = q + int64_t{a.heads} * a.head_dim;
    const float* v = k + int64_t{a.kv_heads} * a.head_dim;
    const float* cos_sin = a.cos_sin + int64_t{t} * 2 * (a.head_dim / 2);
    for (int32_t h = 0; h < a.heads + a.kv_heads; ++h) {
      rotate(q + h * a.head_dim, cos_sin, a.head_dim / 2);
    }
    const int64_t row = kv_row(a.kv, a.slot[t], a.pos[t], 0, a.kv_heads);
    append(a.kv.k, k, row, a.kv.page_tokens, a.kv_heads);
    append(a.kv.v, v, row, a.kv.page_tokens, a.kv_heads);
  }
}

// A cache whose rows are decoded, a few at a time, before they are read.
struct CodedStore : F32Store {};

template <class Body>
void with_cache(const Act& cache, const Body& body) {
  if (cache.scale != Scale::kNone) return body(CodedStore{});
  with_store(cache.format, body);
}

// One token's query heads [head, head + kHeads), all of one kv head: two passes over the context,
// scores first, then the weighted sum of V.
template <class S, int kHeads>
class Attend {
 public:
  Attend(const AttentionArgs& a, int32_t token, int32_t kv_head, int32_t head, float* scores)
      : a_(a),
        slot_(a.slot[token]),
        kv_head_(kv_head),
        context_(a.pos[token] + 1),
        stride_((context_ + kLanes - 1) / kLanes * kLanes),
        q_(a.qkv + int64_t{token} * (a.heads + 2 * a.kv_heads) * a.head_dim + head * a.head_dim),
        scores_(scores),
        decoded_(scores + int64_t{stride_} * min_of(a.heads / a.kv_heads, 4)) {}

  void score() {
    for_rows(a_.kv.k, 0, a_.head_dim, [&](const Rows& rows, int32_t first, int32_t count) {
      for (int32_t p = 0; p < count; ++p) {
        const typename S::Type* row = rows.at + p * rows.stride;
        Vec dot[kHeads] = {};
        for (int32_t i = 0; i < a_.head_dim; i += kLanes) {
          const Vec k = load_some<S>(row + i, a_.head_dim - i);
          for (int h = 0; h < kHeads; ++h) {
            dot[h] += k * load_some<F32Store>(q_ + h * a_.head_dim + i, a_.head_dim - i);
          }
        }
        for (int h = 0; h < kHeads; ++h) {
          scores_[h * stride_ + first + p] = sum_of(dot[h]) * a_.scale;
        }
      }
    });
  }

  // exp(score - max) in place; what lies past the context becomes 0.
  void exponentiate() {
    for (int h = 0; h < kHeads; ++h) {
      float* s = scores_ + h * stride_;
      for (int32_t p = context_; p < stride_; ++p) s[p] = -__builtin_inff();
      Vec top = load_vector<Vec>(s);
      for (int32_t p = kLanes; p < stride_; p += kLanes) {
        const Vec v = load_vector<Vec>(s + p);
        top = v > top ? v : top;
      }
      const Vec max = splat(max_of(top));
      Vec sum = {};
      for (int32_t p = 0; p < stride_; p += kLanes) {
        const Vec e = exp_of(load_vector<Vec>(s + p) - max);
        store_vector(s + p, e);
        sum += e;
      }
      inverse_[h] = 1.0f / sum_of(sum);
    }
  }

  // Writes the numbers [d0, d0 + kVectors vectors) of every head.
  template <int kVectors>
  void weigh(int32_t d0, const Act& out, int64_t out_at) {
    Vec sum[kHeads][kVectors] = {};
    const int32_t d1 = min_of(d0 + kVectors * kLanes, a_.head_dim);
    for_rows(a_.kv.v, d0, d1, [&](const Rows& rows, int32_t first, int32_t count) {
      for (int32_t p = 0; p < count; ++p) {
        const typename S::Type* row = rows.at + p * rows.stride;
        Vec v[kVectors];
        for (int i = 0; i < kVectors; ++i) {
          v[i] = load_some<S>(row + i * kLanes, a_.head_dim - d0 - i * kLanes);
        }
        for (int h = 0; h < kHeads; ++h) {
          const float e = scores_[h * stride_ + first + p];
          for (int i = 0; i < kVectors; ++i) sum[h][i] += v[i] * e;
        }
      }
    });
    with_store(out.format, [&](auto store) {
      using Out = decltype(store);
      auto* to = static_cast<typename Out::Type*>(out.data) + out_at + d0;
      for (int h = 0; h < kHeads; ++h) {
        for (int i = 0; i < kVectors; ++i) {
          store_some<Out>(to + int64_t{h} * a_.head_dim + i * kLanes, a_.head_dim - d0 - i * kLanes,
                          sum[h][i] * inverse_[h]);
        }
      }
    });
  }

 private:
  struct Rows {
    const typename S::Type* at;
    int64_t stride;
  };

  // body(columns [d0, d1) of this kv head, first position, positions), in order of position.
  template <class Body>
  void for_rows(const Act& cache, int32_t d0, int32_t d1, const Body& body) const {
    for (int32_t p = 0; p < context_; p += a_.kv.page_tokens) {
      const int64_t row = kv_row(a_.kv, slot_, p, kv_head_, a_.kv_heads);
      const int32_t count = min_of(a_.kv.page_tokens, context_ - p);
      if constexpr (__is_same(S, CodedStore)) {
        for (int32_t i = 0; i < count; i += kDecodedRows) {
          const int32_t some = min_of(kDecodedRows, count - i);
          kCodes.decode(cache, {row + i, row + i + some, d0, d1}, decoded_, d1 - d0);
          body({decoded_, d1 - d0}, p + i, some);
        }
      } else {
        const auto* rows = static_cast<const typename S::Type*>(cache.data);
        body({rows + row * a_.head_dim + d0, a_.head_dim}, p, count);
      }
    }
  }

  const AttentionArgs& a_;
  const int32_t slot_, kv_head_, context_, stride_;
  const float* q_;
  float* scores_;
  float* decoded_;
  float inverse_[kHeads];
};

template <class S, int kHeads>
void attend(const AttentionArgs& a, int32_t token, int32_t kv_head, int32_t head, float* scratch) {
  Attend<S, kHeads> heads(a, token, kv_head, head, scratch);
  heads.score();
  heads.exponentiate();
  const int64_t at = token * a.out.ld + int64_t{head} * a.head_dim;
  int32_t d = 0;
  for (; d + 4 * kLanes <= a.head_dim; d += 4 * kLanes) heads.template weigh<4>(d, a.out, at);
  for (; d < a.head_dim; d += 16) heads.template weigh<16 / kLanes>(d, a.out, at);
}

void attention(const AttentionArgs& a, int32_t token, int32_t kv_head, float* scratch) {
  const int32_t group = a.heads / a.kv_heads;
  with_cache(a.kv.k, [&](auto s) {
    using S = decltype(s);
    int32_t h = kv_head * group;
    const int32_t end = h + group;
    for (; h + 4 <= end; h += 4) attend<S, 4>(a, token, kv_head, h, scratch);
    for (; h + 2 <= end; h += 2) attend<S, 2>(a, token, kv_head, h, scratch);
    for (; h < end; ++h) attend<S, 1>(a, token, kv_head, h, scratch);
  });
}

constexpr OpBodies kBodies = {.widen = widen,
                              .rmsnorm = rmsnorm,
                              .rope_append = rope_append,
                              .attention = attention,
                              .silu_mul = silu_mul};

}  // namespace
}  // namespace lowbit::cpu
