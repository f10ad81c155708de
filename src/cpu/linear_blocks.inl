// Scales and zeros of every kind, kLanes blocks at a time: value = (number - shift) * scale +
// offset. The including file is compiled for one ISA and has included its vectors (avx2.inl or
// avx512.inl).

namespace lowbit::cpu {
namespace {

inline int32_t min_of(int32_t a, int32_t b) { return a < b ? a : b; }
inline int32_t round_up(int32_t a, int32_t b) { return (a + b - 1) / b * b; }

inline int32_t log2_block(const WeightView& w) {
  return w.block_k == 0 ? 30 : __builtin_ctz(static_cast<uint32_t>(w.block_k));
}

inline int bits_of(Scale type) {
  switch (type) {
    case Scale::kNone:
      return 0;
    case Scale::kF32:
      return 32;
    case Scale::kF16:
    case Scale::kBF16:
      return 16;
    case Scale::kE8M0:
    case Scale::kE4M3:
    case Scale::kI8:
      return 8;
    case Scale::kU6:
    case Scale::kI6:
      return 6;
    case Scale::kU4:
      return 4;
  }
  return 0;
}

// kLanes integers of kBits bits each.
template <int kBits>
Floats narrow_scales(const uint8_t* at) {
  uint64_t bytes[2] = {};
  for (int i = 0; i < kLanes / 8; ++i) {
    // In registers: a word put together in memory is not forwarded from its stores to its load.
    uint32_t low;
    uint16_t high = 0;
    __builtin_memcpy(&low, at + i * kBits, sizeof low);
    if (kBits == 6) __builtin_memcpy(&high, at + i * kBits + 4, sizeof high);
    const uint64_t packed = uint64_t{high} << 32 | low;
    bytes[i] = _pdep_u64(packed, 0x0101010101010101u * ((1u << kBits) - 1));
  }
  return to_floats(widen_words(bytes[0], bytes[1]));
}

// kLanes entries from `at` on. Inlined with its callers: their vectors would go through memory.
__attribute__((always_inline)) inline Floats scales_from(Scale type, const uint8_t* at) {
  switch (type) {
    case Scale::kNone:
      return set(1);
    case Scale::kF32:
      return load(reinterpret_cast<const float*>(at));
    case Scale::kF16:
      return from_f16(reinterpret_cast<const uint16_t*>(at));
    case Scale::kBF16:
      return from_bf16(reinterpret_cast<const uint16_t*>(at));
    case Scale::kE8M0:
      return powers_of_two(widen_bytes(at));
    case Scale::kE4M3:
      return from_e4m3(widen_bytes(at));
    case Scale::kI8:
      return to_floats(widen_signed(at));
    case Scale::kU6:
      return narrow_scales<6>(at);
    case Scale::kI6:
      return narrow_scales<6>(at) - set(32);
    case Scale::kU4:
      return narrow_scales<4>(at);
  }
  return set(0);
}

// Entries [first, first + count) of a plane's row, count <= kLanes, and any numbers after them.
// Entries narrower than a byte: `first` is a multiple of 8.
__attribute__((always_inline)) inline Floats scales_at(Scale type, const uint8_t* row,
                                                       int64_t first, int32_t count) {
  const int bits = bits_of(type);
  const uint8_t* at = row + first * bits / 8;
  if (count >= kLanes) return scales_from(type, at);
  alignas(64) uint8_t padded[64];
  pad_bytes(at, (count * bits + 7) / 8, 1, padded);  // nothing subnormal, infinite or NaN
  return scales_from(type, padded);
}

// The outer scales of kLanes blocks from `first` on, a multiple of kLanes; `stride` halves from one
// to the next. A super-block has 8 or 16 blocks.
inline Floats outer_at(const WeightView& w, int64_t n, int32_t first, int32_t count,
                       const uint16_t* from, int stride) {
  const int32_t log2_blocks = 8 - log2_block(w);
  const uint16_t* at = from + (n * (w.k_blocks >> log2_blocks) + (first >> log2_blocks)) * stride;
  const bool two = kLanes > 8 && log2_blocks == 3;
  const float pair[2] = {f16_value(at[0]), two && count > 8 ? f16_value(at[stride]) : 0.0f};
  return two ? spread(pair, 0, 3) : set(pair[0]);
}

inline Floats bytes_at(const uint8_t* at, int32_t count) {
  if (count >= kLanes) return to_floats(widen_bytes(at));
  alignas(64) uint8_t padded[64];
  pad_bytes(at, count, 0, padded);
  return to_floats(widen_bytes(padded));
}

constexpr float kNextInteger = 0x1.8p23f;  // x + this - this is the integer next to x

// Of Outer::kInt8 `offset` rounds, and what it adds is still to be taken away.
struct Params {
  Floats scale, shift, offset;
};

// Into L2: a line on its way to L1 takes one of its few miss buffers all the time, and a core can
// then ask memory for half of what it could. Where `from + bytes` may lie outside the matrix: a
// prefetch of nothing does nothing.
inline void prefetch(const uint8_t* from, int64_t bytes) {
  _mm_prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(from) +
                                             static_cast<uintptr_t>(bytes)),
               _MM_HINT_T1);
}

// Where a row's scales and zeros begin.
struct BlockRow {
  const uint8_t *scales, *zeros;
  int64_t n;
};
inline BlockRow block_row(const WeightView& w, int64_t n) {
  const int64_t row = w.block_n == 0 ? 0 : w.block_n == 1 ? n : n / w.block_n;
  const int64_t stride = (int64_t{w.k_blocks} * bits_of(w.scale) + 7) / 8;
  const auto* zeros = static_cast<const uint8_t*>(w.zeros);
  if (zeros) zeros += row * (w.zero == Zero::kInt ? int64_t{w.k_blocks} : stride);
  return {static_cast<const uint8_t*>(w.scales) + row * stride, zeros, n};
}

// What params_at reads of the same blocks `rows` rows further down: rows are short, and the
// processor's own prefetchers do not follow as many streams.
inline void prefetch_blocks(const WeightView& w, const BlockRow& row, int64_t first, int64_t rows) {
  const int bits = bits_of(w.scale);
  const int64_t stride = (int64_t{w.k_blocks} * bits + 7) / 8;
  if (w.block_n == 1) prefetch(row.scales + first * bits / 8, rows * stride);
  if (w.zero == Zero::kNone || w.block_n != 1) return;
  const bool bytes = w.zero == Zero::kInt;
  prefetch(row.zeros + (bytes ? first : first * bits / 8), rows * (bytes ? w.k_blocks : stride));
}

// Blocks [first, first + count) of a row, count <= kLanes.
__attribute__((always_inline)) inline Params params_at(const WeightView& w, const BlockRow& row,
                                                       int32_t first, int32_t count) {
  const auto* outer = static_cast<const float*>(w.outer);
  Params p = {scales_at(w.scale, row.scales, first, count), set(0), set(0)};
  switch (w.zero) {
    case Zero::kNone:
      break;
    case Zero::kInt:
      p.shift = bytes_at(row.zeros + first, count);
      break;
    case Zero::kReal:
      p.shift = scales_at(w.scale, row.zeros, first, count);
      break;
    case Zero::kFloat:
      p.shift = set(static_cast<float>(1 << (w.bits - 1)));
      p.offset = scales_at(w.scale, row.zeros, first, count);
      break;
    case Zero::kOffset:
      p.offset = scales_at(w.scale, row.zeros, first, count);
      break;
  }
  if (w.outer_kind == Outer::kNone) return p;
  if (w.outer_kind == Outer::kTensor) p.scale = p.scale * set(outer[0]);
  if (w.outer_kind == Outer::kRow) p.scale = p.scale * set(outer[row.n]);
  if (w.outer_kind == Outer::kInt8) p.offset = set(kNextInteger);
  if (w.outer_kind == Outer::kSuper) {
    const auto* halves_at = static_cast<const uint16_t*>(w.outer);
    const int pairs = w.zero == Zero::kOffset ? 2 : 1;
    p.scale = p.scale * outer_at(w, row.n, first, count, halves_at, pairs);
    if (pairs == 2) {
      p.offset = set(0) - p.offset * outer_at(w, row.n, first, count, halves_at + 1, 2);
    }
  }
  return p;
}

// Exponent and mantissa bits of a small float, 0 and 0 for other codes.
inline void float_fields(Code code, int* exponent, int* mantissa) {
  const auto fields = [&](int e, int m) {
    *exponent = e;
    *mantissa = m;
  };
  switch (code) {
    case Code::kE4M3:
      return fields(4, 3);
    case Code::kE5M2:
      return fields(5, 2);
    case Code::kE3M2:
      return fields(3, 2);
    case Code::kE2M3:
      return fields(2, 3);
    case Code::kE3M1:
      return fields(3, 1);
    case Code::kE2M2:
      return fields(2, 2);
    case Code::kE3M0:
      return fields(3, 0);
    case Code::kE2M1:
      return fields(2, 1);
    case Code::kE2M0:
      return fields(2, 0);
    default:
      return fields(0, 0);
  }
}

inline void write(const LinearArgs& a, int32_t t, int32_t n, float value) {
  if (a.bias) value += a.bias[n];
  float& y = a.y[t * a.ldy + n];
  y = a.epilogue == Epilogue::kAdd ? y + value : value;
}

}  // namespace
}  // namespace lowbit::cpu
