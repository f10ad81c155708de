// x in fixed point for linear_fixed.inl: how a row is cut into runs, and what is made of x for each
// of them. Included before it, by the same files, after what it asks them to provide.

namespace lowbit::cpu {
namespace {

constexpr int kBytes = kLanes * 4;   // of a vector
constexpr int kMaxRun = kBytes * 8;  // codes: those of one bit
constexpr float kRound = 0x1.8p23f;  // x + kRound has the integer next to x in its low bits
constexpr int kRoundBits = 0x4b400000;

inline int log2_of(int v) { return __builtin_ctz(static_cast<uint32_t>(v)); }

// How a matrix is cut. A unit is a block or, where blocks are longer than a run, a run.
struct Shape {
  int planes, lane, run;     // bytes of a lane's word are as many planes; codes of a lane, of a run
  int log2_unit, log2_many;  // codes of a unit, units of a run
  int32_t runs, k;
  int64_t digit_bytes, token_bytes, start_at, scale_at, sum_at;  // of a run's x, of prepared x
};

// Five codes to a byte: a lane's four bytes hold 20 codes or, so that scales are of whole lanes, 16
// of them, wherever in its first byte they begin.
constexpr int kTrits = 5, kGroupedTrits = 16;

inline Shape shape_of(const WeightView& w, int32_t k) {
  Shape s = {};
  const int bits = w.bits, log2_size = log2_block(w);
  if (w.code == Code::kTrit) {
    s.planes = kTrits;
    s.lane = w.block_k == 0 ? 4 * kTrits : kGroupedTrits;
  } else {
    const bool in_planes = 8 % bits == 0 && log2_size >= 2 + log2_of(8 / bits);
    s.planes = in_planes ? 8 / bits : 1;
    s.lane = 4 * s.planes;
  }
  s.run = kLanes * s.lane;
  const int log2_run = w.block_k == 0 ? log2_size : log2_of(s.run);
  s.log2_unit = log2_size < log2_run ? log2_size : log2_run;
  s.log2_many = log2_run - s.log2_unit;
  s.runs = (k + s.run - 1) / s.run;
  s.k = k;
  s.digit_bytes = 3 * kBytes * s.planes;
  const int64_t units = (int64_t{s.runs} << s.log2_many) + kLanes;
  s.start_at = s.runs * s.digit_bytes;
  s.scale_at = s.start_at + int64_t{s.runs} * kBytes;
  s.sum_at = s.scale_at + units * int64_t{sizeof(float)};
  // At most what backend.cc has room for: kFixedBytes for each kFixedRun codes, and kFixedRest.
  s.token_bytes = (s.sum_at + units * int64_t{sizeof(float)} + 63) / 64 * 64;
  return s;
}

struct Run {
  alignas(64) float x[kMaxRun];
  alignas(64) int32_t q[kMaxRun];
};

// Fills run->q and returns the step, NaN for a run that has a number without a value.
inline float round_run(Run* run, int count, int x_bits) {
  uint32_t top = 0;
  for (int i = 0; i < count; ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, &run->x[i], sizeof bits);
    bits &= 0x7fffffffu;
    top = bits > top ? bits : top;
  }
  float amax;
  __builtin_memcpy(&amax, &top, sizeof amax);
  amax *= 1 + 0x1p-6f;  // the largest number of three digits is a little below 2^kXBits
  uint32_t bits;
  __builtin_memcpy(&bits, &amax, sizeof bits);
  const uint32_t exponent = bits >> 23 > 40 ? bits >> 23 : 40;
  const uint32_t step_bits = (exponent - (x_bits - 1)) << 23;
  const uint32_t inverse_bits = (254 + (x_bits - 1) - exponent) << 23;
  float step, inverse;
  __builtin_memcpy(&step, &step_bits, sizeof step);
  __builtin_memcpy(&inverse, &inverse_bits, sizeof inverse);
  if (top >= 0x7f800000u) {
    step = __builtin_nanf("");
    inverse = 0;
  }
  for (int i = 0; i < count; ++i) {
    const float shifted = run->x[i] * inverse + kRound;
    int32_t q;
    __builtin_memcpy(&q, &shifted, sizeof q);
    run->q[i] = top >= 0x7f800000u ? 0 : q - kRoundBits;
  }
  return step;
}

// Byte p of each word goes to plane p.
template <class Word>
void store_planes(const uint8_t* bytes, int stride, uint8_t* out) {
  typedef Word Aliased __attribute__((may_alias));
  const auto* words = reinterpret_cast<const Aliased*>(bytes);
  for (int p = 0; p < static_cast<int>(sizeof(Word)); ++p, out += stride) {
    for (int i = 0; i < kBytes; ++i) out[i] = static_cast<uint8_t>(words[i] >> (8 * p));
  }
}

// The numbers of run `i` in the order of planes: [kTrits, kBytes], 0 where no code of a lane lies.
inline void spread_trits(const int32_t* q, const Shape& s, int32_t i, int32_t* out) {
  alignas(64) int32_t slots[kTrits * kBytes] = {};
  for (int j = 0; j < kLanes; ++j) {
    const int at = s.lane * j, skip = static_cast<int>((int64_t{i} * s.run + at) % kTrits);
    for (int c = 0; c < s.lane; ++c) slots[4 * kTrits * j + skip + c] = q[at + c];
  }
  for (int p = 0; p < kTrits; ++p) {
    for (int b = 0; b < kBytes; ++b) out[p * kBytes + b] = slots[kTrits * b + p];
  }
}

// Digits [planes, 3, kBytes] of run `i`, the highest first.
inline void store_digits(const int32_t* q, const Shape& s, int32_t i, uint8_t* out) {
  constexpr int32_t kHalf = 1 << (kDigitBits - 1), kMask = (1 << kDigitBits) - 1;
  alignas(64) uint8_t digits[3][kMaxRun];
  alignas(64) int32_t spread[kTrits * kBytes];
  if (s.planes == kTrits) {
    spread_trits(q, s, i, spread);
    q = spread;
  }
  for (int j = 0; j < s.planes * kBytes; ++j) {
    int32_t v = q[j];
    const int32_t low = ((v + kHalf) & kMask) - kHalf;
    v = (v - low) >> kDigitBits;
    const int32_t middle = ((v + kHalf) & kMask) - kHalf;
    digits[2][j] = static_cast<uint8_t>(low);
    digits[1][j] = static_cast<uint8_t>(middle);
    digits[0][j] = static_cast<uint8_t>((v - middle) >> kDigitBits);
  }
  for (int d = 0; d < 3; ++d, out += kBytes) {
    if (s.planes == 1) store_planes<uint8_t>(digits[d], 3 * kBytes, out);
    if (s.planes == 2) store_planes<uint16_t>(digits[d], 3 * kBytes, out);
    if (s.planes == 4) store_planes<uint32_t>(digits[d], 3 * kBytes, out);
    if (s.planes == 8) store_planes<uint64_t>(digits[d], 3 * kBytes, out);
    for (int p = 0; s.planes == kTrits && p < kTrits; ++p) {
      __builtin_memcpy(out + 3 * p * kBytes, digits[d] + p * kBytes, kBytes);
    }
  }
}

// Each lane's sum of `u` times x, from its digits.
inline Ints lane_sums(const uint8_t* digits, int planes, int u) {
  Ints part[3] = {};
  for (int p = 0; p < planes; ++p) {
    for (int d = 0; d < 3; ++d) {
      part[d] = dot(part[d], set_bytes(u), load_ints(digits + (3 * p + d) * kBytes));
    }
  }
  return add_ints(up_digit(add_ints(up_digit(part[0]), part[1])), part[2]);
}

// One token's x: digits [runs, planes, 3, kBytes], starts [runs, kLanes] (what a lane's sum begins
// with), and for each unit the step of x and the sum of x.
template <class LoadRun>
void prepare_token(const LoadRun& load_run, const Shape& s, int bias, uint8_t* out) {
  auto* scale = reinterpret_cast<float*>(out + s.scale_at);
  auto* sum = reinterpret_cast<float*>(out + s.sum_at);
  const int many = 1 << s.log2_many, lanes = kLanes >> s.log2_many;
  Run run;
  for (int32_t i = 0; i < s.runs; ++i) {
    const int32_t from = i * s.run, count = min_of(s.run, s.k - from);
    const float step = load_run(from, count, &run);
    uint8_t* digits = out + i * s.digit_bytes;
    store_digits(run.q, s, i, digits);
    alignas(64) int32_t part[kLanes];
    Ints biases = lane_sums(digits, s.planes, bias & 255);
    if (bias > 255) biases = add_ints(biases, up_digit(lane_sums(digits, s.planes, bias >> 8)));
    store_ints(out + s.start_at + int64_t{i} * kBytes, sub_ints(Ints{}, biases));
    store_ints(part, lane_sums(digits, s.planes, 1));
    for (int u = 0; u < many; ++u) {
      int32_t total = 0;
      for (int j = 0; j < lanes; ++j) total += part[u * lanes + j];
      scale[i * many + u] = step;
      sum[i * many + u] = step * static_cast<float>(total);
    }
  }
  for (int j = 0; j < kLanes; ++j) scale[s.runs * many + j] = sum[s.runs * many + j] = 0;
}

}  // namespace
}  // namespace lowbit::cpu
