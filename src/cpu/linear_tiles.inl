// Linear in f32: weights are decoded to f32 in registers (one token) or into panels that many
// tokens share. Reads every format in its canonical layout. The including file is compiled for one
// ISA and has included its vectors (avx2.inl or avx512.inl) and linear_blocks.inl.
//
// y[t, n] is a sum of panels of kPanel products; a panel is one chain of FMAs in k order and one
// reduction tree, the same for every tile shape: a token's result depends neither on how many
// tokens are in the call nor on the thread split.

namespace lowbit::cpu {
namespace {

constexpr int32_t kPanel = 1024;     // k per panel: 4 decoded rows are 16 KiB, half of L1
constexpr int32_t kTokenBlock = 64;  // tokens that share one decoding: x panels are 256 KiB, in L2
constexpr int32_t kRowBlock = 32;    // rows that share x panels between two trips to L3
constexpr int32_t kAhead = 2048;     // bytes from the codes being read to the prefetch beside it
constexpr int kVectors = kRun / kLanes;

// The blocks of one row inside a panel, for codes as unsigned integers or as halves:
// value = (code - shift) * scale + offset.
struct Blocks {
  alignas(64) float scale[kPanel / 8];  // the smallest group is 8
  alignas(64) float shift[kPanel / 8];
  alignas(64) float offset[kPanel / 8];
  float unit;  // Outer::kInt8: value = (the above - kNextInteger) * unit
};

// What decoders need beside a row's codes, the same for all rows. A code's number is
// ((code ^ flip) - bias) * unit.
struct Grid {
  int bits;
  int32_t log2_size;  // block of code k, counted from the panel's start: k >> log2_size
  uint32_t flip;
  float bias, unit;
  uint16_t half[4];  // Minis: factors that move sign and magnitude into place, mask, NaN
  alignas(64) float numbers[16];  // of codes of four bits
};

inline Grid grid_of(const WeightView& w) {
  Grid g = {w.bits, log2_block(w), 0, 0, 1, {0, 0, 0, 0xffff}, {}};
  int exponent = 0, mantissa = 0;
  float_fields(w.code, &exponent, &mantissa);
  if (exponent > 0) {
    const int up = 10 - mantissa;
    g.unit = static_cast<float>(1 << (16 - (1 << (exponent - 1))));  // the biases differ
    g.half[0] = static_cast<uint16_t>(1 << (16 - w.bits));
    g.half[1] = static_cast<uint16_t>(1 << up);
    g.half[2] = static_cast<uint16_t>(((1 << (w.bits - 1)) - 1) << up);
    if (w.code == Code::kE4M3) g.half[3] = 0x7f << 7;
  } else if (w.code == Code::kInt) {
    g.flip = 1u << (w.bits - 1);
    g.bias = static_cast<float>(g.flip);
  } else if (w.code == Code::kSign) {
    g.bias = 0.5f;
    g.unit = 2;
  } else if (w.code == Code::kTernary || w.code == Code::kTrit) {
    g.bias = 1;
  }
  alignas(64) uint8_t codes[kRun];
  alignas(64) float minis[kRun];
  for (int c = 0; c < kRun; ++c) codes[c] = static_cast<uint8_t>(c);
  if (exponent > 0) from_minis(codes, g.half, reinterpret_cast<Floats*>(minis));
  const auto* learned = static_cast<const float*>(w.outer);
  for (uint32_t c = 0; c < 16; ++c) {
    g.numbers[c] = w.outer_kind == Outer::kTable ? learned[c]
                   : exponent > 0                ? minis[c]
                                                 : static_cast<float>(c ^ g.flip);
  }
  return g;
}

// Blocks past the row's end belong to the padding of a short last run, where x is zero.
inline void load_blocks(const WeightView& w, const Grid& g, int64_t n, int32_t k0, int32_t len,
                        Blocks* out) {
  const int32_t first = k0 >> g.log2_size;
  const int32_t needed = ((round_up(len, kRun) - 1) >> g.log2_size) + 1;
  const int32_t present = min_of(needed, w.k_blocks - first);
  const BlockRow row = block_row(w, n);
  out->unit = w.outer_kind == Outer::kInt8 ? static_cast<const float*>(w.outer)[n] : 0;
  for (int32_t i = 0; i < needed; i += kLanes) {
    const int32_t count = min_of(kLanes, present - i);
    Params p = {set(0), set(0), set(0)};
    if (count > 0) p = params_at(w, row, first + i, count);
    store(out->scale + i, p.scale * set(g.unit));
    store(out->shift + i, p.shift * set(1 / g.unit) + set(g.bias));
    store(out->offset + i, p.offset);
  }
}

// ---- codes to bytes -----------------------------------------------------------------------------

// One row's codes; `end` codes are there.
struct Row {
  const uint8_t* codes;
  const uint8_t* meta;
  int32_t end;
};

// Code i of a stretch of five-in-a-byte codes that starts at a byte: which byte, and the power of
// three that brings its digit to the top.
struct TritTable {
  uint8_t byte[80];
  uint16_t power[80];
};
constexpr TritTable make_trit_table() {
  constexpr uint16_t kPowers[] = {81, 27, 9, 3, 1};
  TritTable table = {};
  for (int i = 0; i < 80; ++i) {
    table.byte[i] = static_cast<uint8_t>(i / 5);
    table.power[i] = kPowers[i % 5];
  }
  return table;
}
constexpr TritTable kTrits = make_trit_table();

// A byte v < 243 as a fraction of 256: p = ceil(256 v / 243). Then the lower byte of 3^(4 - j) p is
// the fraction that begins with digit j, and 3 times it has the digit above the byte.
inline void unpack_trits(const Row& r, int32_t k, uint8_t* out) {
  const auto load256 = [](const uint16_t* at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  };
  const int32_t first = k / 5, skip = k % 5, left = (r.end + 4) / 5 - first;
  alignas(16) uint8_t padded[16] = {};
  const uint8_t* at = r.codes + first;
  if (left < 16) {
    for (int32_t i = 0; i < left; ++i) padded[i] = at[i];
    at = padded;
  }
  const __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
  const __m256i scaled =
      _mm256_add_epi16(_mm256_mullo_epi16(v, _mm256_set1_epi16(13)), _mm256_set1_epi16(242));
  const __m256i p = _mm256_add_epi16(v, _mm256_mulhi_epu16(scaled, _mm256_set1_epi16(270)));
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(p), _mm256_extracti128_si256(p, 1));
  for (int i = 0; i < kRun; i += 16) {
    const auto* from = reinterpret_cast<const __m128i*>(kTrits.byte + skip + i);
    const __m256i spread = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(bytes, _mm_loadu_si128(from)));
    const __m256i moved = _mm256_mullo_epi16(spread, load256(kTrits.power + skip + i));
    const __m256i fraction = _mm256_and_si256(moved, _mm256_set1_epi16(255));
    const __m256i digit = _mm256_srli_epi16(_mm256_mullo_epi16(fraction, _mm256_set1_epi16(3)), 8);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(out + i),
        _mm_packus_epi16(_mm256_castsi256_si128(digit), _mm256_extracti128_si256(digit, 1)));
  }
}

inline void unpack_nibbles(const uint8_t* at, uint8_t* out) {
  const __m128i low = _mm_set1_epi8(15);
  for (int i = 0; i < kRun / 2; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + i));
    const __m128i even = _mm_and_si128(bytes, low);
    const __m128i odd = _mm_and_si128(_mm_srli_epi16(bytes, 4), low);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * i), _mm_unpacklo_epi8(even, odd));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * i + 16), _mm_unpackhi_epi8(even, odd));
  }
}

// Eight codes of kBits bits are kBits bytes. Loads and stores are whole words: pieces of them would
// not be forwarded from store to load.
template <int kBits>
uint64_t eight_codes(const uint8_t* at, int i) {
  const int byte = i * kBits < 8 * kBits - 8 ? i * kBits : 8 * kBits - 8;  // not beyond the run
  uint64_t packed;
  __builtin_memcpy(&packed, at + byte, sizeof packed);
  packed >>= 8 * (i * kBits - byte);
  return _pdep_u64(packed, 0x0101010101010101u * ((1u << kBits) - 1));
}
template <int kBits>
void unpack_bits(const uint8_t* at, uint8_t* out) {
  for (int i = 0; i < kRun / 8; i += 4) {
    const auto code = [&](int j) { return static_cast<int64_t>(eight_codes<kBits>(at, i + j)); };
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8 * i),
                        _mm256_set_epi64x(code(3), code(2), code(1), code(0)));
  }
}

// The kRun codes from code k on, k a multiple of kRun; zeros after the row's end.
inline void unpack_run(int bits, const Row& r, int32_t k, uint8_t* out) {
  uint8_t padded[kRun];
  const uint8_t* at = r.codes + int64_t{k} * bits / 8;
  if (k + kRun > r.end) {
    const int32_t bytes = ((r.end - k) * bits + 7) / 8;
    for (int32_t i = 0; i < kRun; ++i) padded[i] = i < bytes ? at[i] : 0;
    at = padded;
  }
  switch (bits) {
    case 1:
      return unpack_bits<1>(at, out);
    case 2:
      return unpack_bits<2>(at, out);
    case 3:
      return unpack_bits<3>(at, out);
    case 4:
      return unpack_nibbles(at, out);
    case 5:
      return unpack_bits<5>(at, out);
    case 6:
      return unpack_bits<6>(at, out);
    case 7:
      return unpack_bits<7>(at, out);
    default:
      __builtin_memcpy(out, at, kRun);
  }
}

// 2:4: by two positions, which of the two stored codes goes to each of four places (0x80: none).
struct QuadTable {
  uint32_t places[16];
};
constexpr QuadTable make_quad_table() {
  QuadTable table = {};
  for (uint32_t positions = 0; positions < 16; ++positions) {
    for (uint32_t j = 0; j < 4; ++j) {
      const uint32_t from = j == positions % 4 ? 0u : j == positions / 4 ? 1u : 0x80u;
      table.places[positions] |= from << (8 * j);
    }
  }
  return table;
}
constexpr QuadTable kQuads = make_quad_table();

// The stored codes in their places and, in `present`, 1 where one is.
inline void unpack_sparse(int bits, const Row& r, int32_t k, uint8_t* out, uint8_t* present) {
  alignas(32) uint8_t stored[kRun];
  const int32_t first = k / 2, left = r.end / 2 - first;
  unpack_run(bits, {r.codes + int64_t{first} * bits / 8, nullptr, left}, 0, stored);
  const uint8_t* positions = r.meta + first / 4;
  for (int i = 0; i < kRun / 16; ++i) {  // four quads: 16 places, 8 stored codes, 2 bytes
    const int bytes = left > 8 * i + 4 ? 2 : left > 8 * i ? 1 : 0;
    const uint32_t low = bytes > 0 ? positions[2 * i] : 0u;
    const uint32_t high = bytes > 1 ? positions[2 * i + 1] : 0u;
    const auto place = [](uint32_t nibble) { return static_cast<int>(kQuads.places[nibble & 15]); };
    const __m128i from =
        _mm_add_epi8(_mm_set_epi32(place(high >> 4), place(high), place(low >> 4), place(low)),
                     _mm_set_epi32(0x06060606, 0x04040404, 0x02020202, 0));
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(stored + 8 * i));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16 * i), _mm_shuffle_epi8(codes, from));
    const __m128i is = _mm_cmpgt_epi8(from, _mm_set1_epi8(-1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(present + 16 * i),
                     _mm_and_si128(is, _mm_set1_epi8(1)));
  }
}

// ---- decoders -----------------------------------------------------------------------------------
// decode() turns the kRun codes from k0 + k on into f32, k counted from the panel's start k0.

template <class Load>
struct Plain {
  static constexpr bool kScaled = false;
  static void decode(const Grid&, const Row& r, const Blocks&, int32_t k0, int32_t k, Floats* w) {
    constexpr int kBytes = Load::kBytes;
    alignas(64) uint8_t padded[kRun * kBytes];
    const uint8_t* at = r.codes + int64_t{k0 + k} * kBytes;
    if (k0 + k + kRun > r.end) {
      const int32_t bytes = (r.end - k0 - k) * kBytes;
      for (int32_t i = 0; i < kRun * kBytes; ++i) padded[i] = i < bytes ? at[i] : 0;
      at = padded;
    }
    for (int i = 0; i < kVectors; ++i) w[i] = Load::load(at + i * kLanes * kBytes);
  }
};
struct LoadF32 {
  static constexpr int kBytes = 4;
  static Floats load(const uint8_t* at) { return cpu::load(reinterpret_cast<const float*>(at)); }
};
struct LoadF16 {
  static constexpr int kBytes = 2;
  static Floats load(const uint8_t* at) { return from_f16(reinterpret_cast<const uint16_t*>(at)); }
};
struct LoadBF16 {
  static constexpr int kBytes = 2;
  static Floats load(const uint8_t* at) { return from_bf16(reinterpret_cast<const uint16_t*>(at)); }
};

struct Integers {
  static constexpr bool kShifted = true, kRounded = false;
  static void numbers(const Grid& g, const uint8_t* codes, Floats* w) {
    const Ints flip = set_ints(g.flip);
    for (int i = 0; i < kVectors; ++i) {
      w[i] = to_floats(widen_bytes(codes + i * kLanes) ^ flip);
    }
  }
};
// Small floats of up to five exponent bits: their bits are those of a half, whose exponent is
// biased differently (Grid::unit); subnormal numbers become subnormal halves.
struct Minis {
  static constexpr bool kShifted = false, kRounded = false;
  static void numbers(const Grid& g, const uint8_t* codes, Floats* w) {
    from_minis(codes, g.half, w);
  }
};

// Codes of four bits, two to a byte, whatever they mean: looked up.
template <bool kShift, bool kRound>
struct FourBits {
  static constexpr bool kShifted = kShift, kRounded = kRound;
  static void look_up(const float* table, const uint8_t* pairs, Floats* w) {
    for (int i = 0; i < kVectors; ++i) w[i] = number16(table, nibbles(pairs, i));
  }
  static void numbers(const Grid& g, const uint8_t* pairs, Floats* w) {
    look_up(g.numbers, pairs, w);
  }
};

enum Width { kBytes8, kNibbles, kAnyBits, kTrits5, kSparse };

template <class Numbers, Width kWidth>
struct Coded {
  static constexpr bool kScaled = true;
  static void decode(const Grid& g, const Row& r, const Blocks& b, int32_t k0, int32_t k,
                     Floats* w) {
    alignas(64) uint8_t unpacked[kRun], present[kRun];
    const uint8_t* codes = unpacked;
    const int32_t at = k0 + k;
    if (kWidth == kTrits5) {
      unpack_trits(r, at, unpacked);
    } else if (kWidth == kSparse) {
      unpack_sparse(g.bits, r, at, unpacked, present);
    } else if (kWidth == kBytes8 && at + kRun <= r.end) {
      codes = r.codes + at;
    } else if (kWidth == kNibbles && at + kRun <= r.end) {
      codes = r.codes + at / 2;
    } else if (kWidth == kNibbles) {
      const int32_t bytes = (r.end - at + 1) / 2;
      for (int32_t i = 0; i < kRun / 2; ++i) unpacked[i] = i < bytes ? r.codes[at / 2 + i] : 0;
    } else {
      unpack_run(g.bits, r, at, unpacked);
    }
    if constexpr (kWidth == kNibbles) {
      if (g.log2_size >= 6) {  // one block for the run: its 16 numbers are all there are
        const int32_t block = k >> g.log2_size;
        alignas(64) float own[16];
        for (int i = 0; i < 16; i += kLanes) {
          const Floats c = load(g.numbers + i), scale = set(b.scale[block]);
          Floats v = Numbers::kShifted ? fma(c - set(b.shift[block]), scale, set(b.offset[block]))
                                       : c * scale;
          if (Numbers::kRounded) v = (v - set(kNextInteger)) * set(b.unit);
          store(own + i, v);
        }
        return Numbers::look_up(own, codes, w);
      }
    }
    Numbers::numbers(g, codes, w);
    if (g.log2_size >= 6) {  // one block for the run
      const int32_t block = k >> g.log2_size;
      const Floats scale = set(b.scale[block]), shift = set(b.shift[block]);
      const Floats offset = set(b.offset[block]);
      for (int i = 0; i < kVectors; ++i) {
        w[i] = Numbers::kShifted ? fma(w[i] - shift, scale, offset) : w[i] * scale;
      }
    } else {
      for (int i = 0; i < kVectors; ++i) {
        const int32_t first = k + i * kLanes;
        const Floats scale = spread(b.scale, first, g.log2_size);
        w[i] = Numbers::kShifted ? fma(w[i] - spread(b.shift, first, g.log2_size), scale,
                                       spread(b.offset, first, g.log2_size))
                                 : w[i] * scale;
      }
    }
    for (int i = 0; i < kVectors; ++i) {
      if (Numbers::kRounded) w[i] = (w[i] - set(kNextInteger)) * set(b.unit);
      if (kWidth == kSparse) w[i] = w[i] * to_floats(widen_bytes(present + i * kLanes));
    }
  }
};

inline Row row_at(const LinearArgs& a, int64_t n) {
  const int64_t meta_stride = (int64_t{a.k} / 2 * 2 + 7) / 8;
  return {static_cast<const uint8_t*>(a.w.codes) + n * a.w.row_bytes,
          static_cast<const uint8_t*>(a.w.meta) + (a.w.sparse24 ? n * meta_stride : 0), a.k};
}

// A 2:4 matrix as the dense one of its stored codes.
inline LinearArgs stored_of(const LinearArgs& a) {
  LinearArgs stored = a;
  stored.k = a.k / 2;
  stored.w.block_k = a.w.block_k / 2;
  return stored;
}

// ---- one token: decode and multiply in registers ------------------------------------------------

// kRows rows, `apart` from one to the next.
struct Rows {
  int32_t n, apart;
};

// What the stored codes of a run meet: vector i of them the x of as many pairs of places.
struct DenseX {
  static constexpr int kPer = 1;  // places of x for each stored code
  static Row row(const LinearArgs& a, int64_t n) { return row_at(a, n); }
  DenseX(const Row&, int32_t, const float* x_) : x(x_) {}
  Floats operator()(int i) const { return load(x + kLanes * i); }
  const float* x;
};
// 2:4: x goes to the stored codes, half as many as there are weights, by their positions.
struct SparseX {
  static constexpr int kPer = 2;
  static Row row(const LinearArgs& a, int64_t n) {
    const int64_t stride = (int64_t{a.k} * 2 + 7) / 8;
    return {static_cast<const uint8_t*>(a.w.codes) + n * a.w.row_bytes,
            static_cast<const uint8_t*>(a.w.meta) + n * stride, a.k};
  }
  SparseX(const Row& r, int32_t k, const float* x_) : x(x_), positions(r.meta + k / 4) {
    prefetch(positions, kAhead / 2);
    if (k + kRun <= r.end) return;
    const int32_t bytes = (r.end - k + 3) / 4;
    for (int32_t i = 0; i < kRun / 4; ++i) padded[i] = i < bytes ? positions[i] : 0;
    positions = padded;
  }
  Floats operator()(int i) const {
    return from_places(x + 2 * kLanes * i, positions + kLanes / 4 * i);
  }
  const float* x;
  const uint8_t* positions;
  uint8_t padded[kRun / 4];
};

template <class W, class X, int kRows>
void gemv(const LinearArgs& a, const Grid& grid, int32_t t, Rows at) {
  Blocks blocks[kRows];
  Row rows[kRows];
  for (int r = 0; r < kRows; ++r) rows[r] = X::row(a, at.n + r * at.apart);
  alignas(16) float sum[4] = {};
  for (int32_t k0 = 0; k0 < a.k; k0 += kPanel) {
    const int32_t len = min_of(kPanel, a.k - k0);
    const float* x = static_cast<const float*>(a.x.data) + t * a.x.ld + X::kPer * k0;
    Floats acc[4] = {set(0), set(0), set(0), set(0)};
    if (W::kScaled) {
      for (int r = 0; r < kRows; ++r) {
        load_blocks(a.w, grid, at.n + r * at.apart, k0, len, &blocks[r]);
      }
    }
    const auto row = [&](int r, int32_t k, int vectors) __attribute__((always_inline)) {
      if (W::kScaled) prefetch(rows[r].codes + int64_t{k0 + k} * grid.bits / 8, kAhead);
      Floats w[kVectors];
      W::decode(grid, rows[r], blocks[r], k0, k, w);
      const X place(rows[r], k0 + k, x + X::kPer * k);
      for (int i = 0; i < vectors; ++i) acc[r] = fma(w[i], place(i), acc[r]);
    };
    const auto step = [&](int32_t k, int vectors) __attribute__((always_inline)) {
      row(0, k, vectors);
      if constexpr (kRows == 4) {
        row(1, k, vectors);
        row(2, k, vectors);
        row(3, k, vectors);
      }
    };
    // There may be x for the first half of the stored codes of the last run only.
    const int32_t whole =
        X::kPer == 1 ? round_up(len, kRun) : round_up(len, kRun / 2) / kRun * kRun;
    for (int32_t k = 0; k < whole; k += kRun) step(k, kVectors);
    if (whole < len) step(whole, kVectors / 2);
    _mm_store_ps(sum, _mm_add_ps(_mm_load_ps(sum), reduce4(acc)));
  }
  for (int r = 0; r < kRows; ++r) write(a, t, at.n + r * at.apart, sum[r]);
}

// Four rows a quarter of the range apart are four long streams, which the hardware's prefetchers
// follow; four neighbours would be many short ones.
template <class W, class X>
void token_rows(const LinearArgs& a, int32_t n0, int32_t n1) {
  const Grid grid = grid_of(a.w);
  const int32_t quarter = (n1 - n0) / 4;
  for (int32_t n = n0; n < n0 + quarter; ++n) {
    for (int32_t t = 0; t < a.m; ++t) gemv<W, X, 4>(a, grid, t, {n, quarter});
  }
  for (int32_t n = n0 + 4 * quarter; n < n1; ++n) {
    for (int32_t t = 0; t < a.m; ++t) gemv<W, X, 1>(a, grid, t, {n, 1});
  }
}

// ---- several tokens: decode a panel once, then multiply it with every token ---------------------

// Decoded codes of a row, zeros from `len` up to the next multiple of kRun.
template <class W>
void decode_panel(const LinearArgs& a, int32_t n, int32_t k0, int32_t len, const Grid& grid,
                  float* out) {
  Blocks blocks;
  if (W::kScaled) load_blocks(a.w, grid, n, k0, len, &blocks);
  const Row row = row_at(a, n);
  Floats w[kVectors];
  for (int32_t k = 0; k < len; k += kRun) {
    W::decode(grid, row, blocks, k0, k, w);
    for (int i = 0; i < kVectors; ++i) store(out + k + kLanes * i, w[i]);
  }
}

// sum[t, r] += panel product of kTokens tokens and kRows rows.
template <int kRows, int kTokens>
void tile(const float* w, const float* x, int64_t ldx, int32_t len, float* sum) {
  Floats acc[kTokens][4];
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < 4; ++r) acc[t][r] = set(0);
  }
  for (int32_t k = 0; k < len; k += kLanes) {
    Floats token[kTokens];
    for (int t = 0; t < kTokens; ++t) token[t] = load(x + t * ldx + k);
    for (int r = 0; r < kRows; ++r) {
      const Floats row = load(w + r * kPanel + k);
      for (int t = 0; t < kTokens; ++t) acc[t][r] = fma(row, token[t], acc[t][r]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    float* at = sum + t * kRowBlock;
    if (kRows == 4) {
      _mm_store_ps(at, _mm_add_ps(_mm_load_ps(at), reduce4(acc[t])));
    } else {
      _mm_store_ss(at, _mm_add_ss(_mm_load_ss(at), reduce4(acc[t])));
    }
  }
}

template <int kRows>
void tiles(const float* w, const float* x, int64_t ldx, int32_t len, int32_t tokens, float* sum) {
  int32_t t = 0;
  const auto take = [&](auto body, int32_t count) {
    body(w, x + t * ldx, ldx, len, sum + t * kRowBlock);
    t += count;
  };
  while (t + kTileTokens <= tokens) take(tile<kRows, kTileTokens>, kTileTokens);
  if constexpr (kTileTokens > 4) {
    if (t + 4 <= tokens) take(tile<kRows, 4>, 4);
  }
  if (t + 2 <= tokens) take(tile<kRows, 2>, 2);
  if (t < tokens) take(tile<kRows, 1>, 1);
}

// Tokens [t0, t0 + tokens), rows [n0, n0 + rows); at most kTokenBlock and kRowBlock of them.
template <class W>
void gemm_block(const LinearArgs& a, const Grid& grid, int32_t t0, int32_t n0, int32_t rows) {
  alignas(64) float sum[kTokenBlock * kRowBlock];
  alignas(64) float panel[4 * kPanel];
  const int32_t tokens = min_of(kTokenBlock, a.m - t0);
  for (int32_t i = 0; i < tokens * kRowBlock; ++i) sum[i] = 0;
  for (int32_t k0 = 0; k0 < a.k; k0 += kPanel) {
    const int32_t len = min_of(kPanel, a.k - k0), padded = round_up(len, kRun);
    const float* x = static_cast<const float*>(a.x.data) + t0 * a.x.ld + k0;
    for (int32_t r = 0; r < rows;) {
      const int32_t group = rows - r >= 4 ? 4 : 1;
      for (int32_t i = 0; i < group; ++i) {
        decode_panel<W>(a, n0 + r + i, k0, len, grid, panel + i * kPanel);
      }
      if (group == 4) {
        tiles<4>(panel, x, a.x.ld, padded, tokens, sum + r);
      } else {
        tiles<1>(panel, x, a.x.ld, padded, tokens, sum + r);
      }
      r += group;
    }
  }
  for (int32_t t = 0; t < tokens; ++t) {
    for (int32_t r = 0; r < rows; ++r) write(a, t0 + t, n0 + r, sum[t * kRowBlock + r]);
  }
}

template <class W>
void linear_rows(const LinearArgs& a, int32_t n0, int32_t n1) {
  if (a.m == 1) return token_rows<W, DenseX>(a, n0, n1);
  const Grid grid = grid_of(a.w);
  for (int32_t t = 0; t < a.m; t += kTokenBlock) {
    for (int32_t n = n0; n < n1; n += kRowBlock) {
      gemm_block<W>(a, grid, t, n, min_of(kRowBlock, n1 - n));
    }
  }
}

// Calls `run` with the decoder of codes that are not 2:4.
template <class Run>
void with_decoder(const WeightView& w, const Run& run) {
  int exponent = 0, mantissa = 0;
  float_fields(w.code, &exponent, &mantissa);
  if (w.code == Code::kTrit) return run(Coded<Integers, kTrits5>());
  if (w.outer_kind == Outer::kInt8) return run(Coded<FourBits<true, true>, kNibbles>());
  if (w.bits == 4 && (exponent > 0 || w.outer_kind == Outer::kTable)) {
    return run(Coded<FourBits<false, false>, kNibbles>());
  }
  if (w.bits == 4) return run(Coded<FourBits<true, false>, kNibbles>());
  if (w.bits == 8) {
    return exponent > 0 ? run(Coded<Minis, kBytes8>()) : run(Coded<Integers, kBytes8>());
  }
  exponent > 0 ? run(Coded<Minis, kAnyBits>()) : run(Coded<Integers, kAnyBits>());
}

inline void linear_codes(const LinearArgs& a, int32_t n0, int32_t n1) {
  int exponent = 0, mantissa = 0;
  float_fields(a.w.code, &exponent, &mantissa);
  if (a.w.sparse24) {
    return exponent > 0 ? linear_rows<Coded<Minis, kSparse>>(a, n0, n1)
                        : linear_rows<Coded<Integers, kSparse>>(a, n0, n1);
  }
  with_decoder(a.w, [&](auto decoder) { linear_rows<decltype(decoder)>(a, n0, n1); });
}

// 2:4, a token at a time.
inline void linear_stored(const LinearArgs& a, int32_t n0, int32_t n1) {
  const LinearArgs stored = stored_of(a);
  with_decoder(a.w, [&](auto decoder) { token_rows<decltype(decoder), SparseX>(stored, n0, n1); });
}

}  // namespace
}  // namespace lowbit::cpu
