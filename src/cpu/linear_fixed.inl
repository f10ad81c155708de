// Linear for one or a few tokens with x in fixed point: the codes of a weight go into integer dot
// products as they are, without becoming f32. The including file is compiled for one ISA and has
// included its vectors (avx2.inl or avx512.inl) and linear_blocks.inl; it provides, in the
// anonymous namespace,
//
//   kDigitBits, kXBits       bits of a digit of x, and of x beside codes of 8 bits
//   kNarrowDigits, kNarrowXBits   digits and bits of x beside narrower codes
//   kCodeDigits              digits of an 8-bit code of x
//   dot(acc, u, s)           acc[lane] += sum over the lane's 4 bytes of unsigned u * signed s
//   add_ints, sub_ints, up_digit, sum_lanes, store_ints
//   narrow<kBits>(...)       codes of any width as bytes (Book::table or flip applied)
//   cut<kBits>(v, p)         the p-th code of each byte, 1, 2 or 4 bits; one bit becomes 0 or 2
//   lookup16, load_some, Narrow
//   trit_planes(v)           the five digits of each byte, TritPlanes
//   trit_words(at, bytes, d) kGroupedTrits codes to a word, from digit d of the first byte on;
//                            `bytes` are there, kTritGroupBytes at most
//
// x is cut into runs. In a run, x[i] = step * (q[i] + r), |r| <= 1/2, step a power of two, |q| <
// 2^kXBits; q has three signed digits, each a plane of bytes, of which the highest is 0 and not
// read where two are enough. A code is an unsigned byte u, its number (u - bias) * unit + center. A
// lane's part of a run of codes is the integer
//
//   sum (u - bias) q = ((sum u q2) * 2^kDigitBits + sum u q1) * 2^kDigitBits + sum u q0 - bias sum
//   q
//
// exact as long as its last value fits 32 bits. Everything else is f32: a run's lanes are converted
// once and multiplied with the scales of their blocks; zeros multiply the sums of x in their block.
//
// Codes narrower than a byte are not put in order: byte j of a run's codes holds P = 8 / bits
// neighbours, and plane p is the p-th of each. x is laid out to match, and lane j has codes 4 P j
// to 4 P j + 4 P - 1 of the run. So blocks of 4 P codes and more can be scaled lane by lane. Five
// codes in a byte are five planes.

namespace lowbit::cpu {
namespace {

constexpr int kAhead = 2048;           // bytes from a load to the prefetch beside it
constexpr int kScales = 256 + kLanes;  // room for a row's, read a vector at a time
constexpr int kMaxUnits = 256;         // units (see Shape) of a panel

// ---- codes --------------------------------------------------------------------------------------

struct Book {
  Ints table, upper, flip;  // codes as unsigned numbers: looked up (two bytes of them), or flipped
  int bias;
  float unit, center;
  Narrow narrow;
};

// The small floats in units of their smallest number.
inline int mini_number(int exponent_bits, int mantissa_bits, int code) {
  const int mantissa = code & ((1 << mantissa_bits) - 1);
  const int exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int value = exponent == 0 ? mantissa : (mantissa + (1 << mantissa_bits)) << (exponent - 1);
  return (code >> (exponent_bits + mantissa_bits)) & 1 ? -value : value;
}

inline Book book_of(const WeightView& w) {
  Book b = {};
  b.unit = 1;
  int exponent = 0, mantissa = 0, flip = 0;
  float_fields(w.code, &exponent, &mantissa);
  const int codes = w.bits <= 6 ? 1 << w.bits : 0, middle = 1 << (w.bits - 1);
  if (exponent > 0) {
    for (int c = 0; c < codes; ++c) {
      const int number = mini_number(exponent, mantissa, c);
      b.bias = number > b.bias ? number : b.bias;
    }
    b.unit = 1.0f / static_cast<float>(1 << ((1 << (exponent - 1)) - 2 + mantissa));
  } else if (w.code == Code::kInt) {
    b.bias = flip = middle;
  } else if (w.code == Code::kTernary || w.code == Code::kTrit || w.code == Code::kSign) {
    b.bias = 1;
  } else if (w.zero != Zero::kNone && w.zero != Zero::kOffset) {
    b.bias = w.bits == 1 ? 2 : middle;
    b.center = static_cast<float>(middle);
  }
  if (w.bits == 1 && w.code == Code::kUInt) b.unit = 0.5f;
  alignas(64) uint8_t table[64] = {}, upper[64] = {};
  for (int i = 0; codes > 0 && i < 64; ++i) {
    const int c = i % codes;
    const int u = exponent > 0  ? mini_number(exponent, mantissa, c) + b.bias
                  : w.bits == 1 ? 2 * c
                                : c ^ flip;
    table[i] = static_cast<uint8_t>(u);
    upper[i] = static_cast<uint8_t>(u >> 8);
  }
  b.table = load_ints(table);
  b.upper = load_ints(upper);
  for (int i = 0; i < 64; ++i) {
    table[i] = static_cast<uint8_t>(w.bits == 4 ? flip * 0x11 : w.bits == 2 ? flip * 0x55 : flip);
  }
  b.flip = load_ints(table);
  b.narrow = narrow_of(w.bits);
  return b;
}

// One way to read a run. begin() is its first byte in a row and whole() how many runs of a row have
// all of kRunBytes; raw() loads its codes, of which `bytes` are there; plane() makes bytes.
template <int kSize>
struct Stretch {
  static constexpr int kRunBytes = kSize;
  static int64_t begin(int32_t run) { return int64_t{run} * kSize; }
  static int32_t whole(int32_t row_bytes) { return row_bytes / kSize; }
};
enum class Plain { kUnsigned, kSigned, kTable };  // what makes bytes of the codes in a plane
template <int kWidth, Plain kPlain>
struct InPlanes : Stretch<kBytes> {
  static constexpr int kBits = kWidth;
  static constexpr int kPlanes = 8 / kBits;
  static constexpr bool kUpper = false;
  static Ints raw(const uint8_t* at, int32_t bytes, int32_t, const Book& book) {
    const Ints codes = bytes == kBytes ? load_ints(at) : load_some(at, bytes);
    return kPlain == Plain::kSigned ? codes ^ book.flip : codes;
  }
  static Ints plane(Ints raw, int p, const Book& book) {
    if (kBits == 8) return raw;
    const Ints codes = cut<kBits>(raw, p);
    return kPlain == Plain::kTable ? lookup16(book.table, codes) : codes;
  }
};
template <int kWidth>
struct InOrder : Stretch<kLanes * kWidth / 2> {
  static constexpr int kBits = kWidth;
  static constexpr int kPlanes = 1;
  static constexpr bool kUpper = false;  // numbers are a byte
  static Ints raw(const uint8_t* at, int32_t bytes, int32_t, const Book& book) {
    return narrow<kBits>(at, bytes, book);
  }
  static Ints plane(Ints raw, int, const Book&) { return raw; }
};

// Five to a byte: plane p is digit p of every byte.
struct InTrits : Stretch<kBytes> {
  static constexpr int kPlanes = kTrits;
  static constexpr bool kUpper = false;
  static TritPlanes raw(const uint8_t* at, int32_t bytes, int32_t, const Book&) {
    return trit_planes(bytes == kBytes ? load_ints(at) : load_some(at, bytes));
  }
  static Ints plane(const TritPlanes& raw, int p, const Book&) { return raw.plane[p]; }
};
// With kGroupedTrits codes to a lane: runs begin at any digit, and lanes share bytes.
struct InTritGroups {
  static constexpr int kRun = kLanes * kGroupedTrits;
  static constexpr int kRunBytes = kTritGroupBytes, kPlanes = kTrits;
  static constexpr bool kUpper = false;
  static int64_t begin(int32_t run) { return int64_t{run} * kRun / kTrits; }
  static int32_t whole(int32_t row_bytes) {
    return row_bytes < kRunBytes ? 0 : (row_bytes - kRunBytes) * kTrits / kRun + 1;
  }
  static TritPlanes raw(const uint8_t* at, int32_t bytes, int32_t run, const Book&) {
    return trit_planes(trit_words(at, bytes, static_cast<int>(int64_t{run} * kRun % kTrits)));
  }
  static Ints plane(const TritPlanes& raw, int p, const Book&) { return raw.plane[p]; }
};

// ---- rows ---------------------------------------------------------------------------------------

struct Span {
  int32_t first, count;
};

struct Job;
using LoadUnits = Floats (*)(const Job&, const uint8_t* x, int64_t n, Span units, float* out);

// What every row of a call shares.
struct Job {
  const LinearArgs& a;
  Shape shape;
  Book book;
  Ints unit_of_lane, block_of_unit;  // in a run; in kLanes units
  int down;                          // log2 of units in a block
  int64_t rows_ahead;                // whose scales and zeros are fetched
  LoadUnits load_units;
};

inline LoadUnits load_units_of(const WeightView& w);

inline Job job_of(const LinearArgs& a) {
  const Shape s = shape_of(a.w, a.k);
  const int down = a.w.block_k == 0 ? 30 : log2_block(a.w) - s.log2_unit;
  alignas(64) int32_t unit[kLanes], block[kLanes];
  for (int j = 0; j < kLanes; ++j) {
    unit[j] = (j << s.log2_many) / kLanes;
    block[j] = j >> down;
  }
  return {a,
          s,
          book_of(a.w),
          load_ints(unit),
          load_ints(block),
          down,
          1 + kAhead / (static_cast<int64_t>(a.w.row_bytes) + 1),
          load_units_of(a.w)};
}

// Units [first, first + count) of row n: what a token's x is multiplied with goes to `out`; the sum
// of zeros times x is returned. `w` is the job's, with what the caller knows of it as constants.
__attribute__((always_inline)) inline Floats load_units(const Job& job, const WeightView& w,
                                                        const uint8_t* x, int64_t n, Span units,
                                                        float* out) {
  const auto* x_scale = reinterpret_cast<const float*>(x + job.shape.scale_at) + units.first;
  const auto* x_sum = reinterpret_cast<const float*>(x + job.shape.sum_at) + units.first;
  Floats sum = set(0);
  const BlockRow row = block_row(w, n);
  Params p = {};
  if (w.block_k == 0) p = params_at(w, row, 0, 1);
  for (int32_t i = 0; i < units.count; i += kLanes) {
    if (w.block_k != 0) {
      const int32_t block = (units.first + i) >> job.down;
      const int32_t wanted = ((min_of(kLanes, units.count - i) - 1) >> job.down) + 1;
      const int32_t present = min_of(wanted, w.k_blocks - block);
      prefetch_blocks(w, row, block, job.rows_ahead);
      p = {set(0), set(0), set(0)};
      if (present > 0) p = params_at(w, row, block, present);
    }
    Params spread = p;
    if (job.down > 0) spread.scale = permute(p.scale, job.block_of_unit);
    store(out + i, spread.scale * set(job.book.unit) * load(x_scale + i));
    if (w.zero == Zero::kNone) continue;
    if (job.down > 0) {
      spread.shift = permute(p.shift, job.block_of_unit);
      spread.offset = permute(p.offset, job.block_of_unit);
    }
    // The shift of the others is the book's center.
    if (w.zero == Zero::kInt || w.zero == Zero::kReal) {
      spread.offset = spread.offset - (spread.shift - set(job.book.center)) * spread.scale;
    }
    sum = fma(spread.offset, load(x_sum + i), sum);
  }
  return sum;
}

Floats load_any_units(const Job& job, const uint8_t* x, int64_t n, Span units, float* out) {
  return load_units(job, job.a.w, x, n, units, out);
}

// Which scales and zeros there are is decided once for a call, not for every kLanes of them.
template <Scale kScale, Zero kZero, Outer kOuter>
Floats load_these_units(const Job& job, const uint8_t* x, int64_t n, Span units, float* out) {
  WeightView w = job.a.w;
  w.scale = kScale;
  w.zero = kZero;
  w.outer_kind = kOuter;
  return load_units(job, w, x, n, units, out);
}

struct KnownUnits {
  Scale scale;
  Zero zero;
  Outer outer;
  LoadUnits load;
};
template <Scale kScale, Zero kZero = Zero::kNone, Outer kOuter = Outer::kNone>
constexpr KnownUnits known_units() {
  return {kScale, kZero, kOuter, load_these_units<kScale, kZero, kOuter>};
}
constexpr KnownUnits kKnownUnits[] = {
    known_units<Scale::kBF16>(),
    known_units<Scale::kBF16, Zero::kFloat>(),
    known_units<Scale::kBF16, Zero::kInt>(),
    known_units<Scale::kBF16, Zero::kReal>(),
    known_units<Scale::kF16>(),
    known_units<Scale::kF16, Zero::kOffset>(),
    known_units<Scale::kF32>(),
    known_units<Scale::kE8M0>(),
    known_units<Scale::kE4M3, Zero::kNone, Outer::kTensor>(),
    known_units<Scale::kI8, Zero::kNone, Outer::kSuper>(),
    known_units<Scale::kI6, Zero::kNone, Outer::kSuper>(),
    known_units<Scale::kU6, Zero::kOffset, Outer::kSuper>(),
    known_units<Scale::kU4, Zero::kOffset, Outer::kSuper>(),
};

inline LoadUnits load_units_of(const WeightView& w) {
  for (const KnownUnits& known : kKnownUnits) {
    if (w.scale == known.scale && w.zero == known.zero && w.outer_kind == known.outer) {
      return known.load;
    }
  }
  return load_any_units;
}

// kRows rows that are worked on together, `apart` rows from one to the next.
struct Rows {
  int32_t n, apart;
};

// Runs [runs.first, runs.first + runs.count) of kRows rows, added to sum[kRows].
template <class W, bool kMany, int kRows, int kDigits>
void multiply(const Job& job, const uint8_t* x, Rows rows, Span runs, const float* scale,
              Floats* sum) {
  constexpr int32_t kXBytes = 3 * kBytes * W::kPlanes;
  const WeightView& w = job.a.w;
  const auto present = static_cast<int32_t>(w.row_bytes);
  const uint8_t* digits = x + int64_t{runs.first} * kXBytes;
  const uint8_t* starts = x + job.shape.start_at + int64_t{runs.first} * kBytes;
  const uint8_t* from =
      static_cast<const uint8_t*>(w.codes) + rows.n * w.row_bytes + W::begin(runs.first);
  const int64_t stride = rows.apart * w.row_bytes;
  const Ints unit_of_lane = job.unit_of_lane;
  const Book book = job.book;
  const int many = 1 << job.shape.log2_many;
  Floats acc[kRows];
  for (int r = 0; r < kRows; ++r) acc[r] = sum[r];
  const auto step = [&](int32_t run, int32_t bytes) {
    const Ints start = load_ints(starts);
    for (int r = 0; r < kRows; ++r) {
      prefetch(from + r * stride, kAhead);
      const auto raw = W::raw(from + r * stride, bytes, run, book);
      Ints high = {}, middle = {}, low = start;
      for (int p = 0; p < W::kPlanes; ++p) {
        const Ints u = W::plane(raw, p, book);
        if (kDigits > 2) high = dot(high, u, load_ints(digits + (3 * p) * kBytes));
        if (kDigits > 1) middle = dot(middle, u, load_ints(digits + (3 * p + 1) * kBytes));
        low = dot(low, u, load_ints(digits + (3 * p + 2) * kBytes));
      }
      if constexpr (W::kUpper) {  // of two digits, as x is
        const Ints u = W::upper(raw, book);
        high = dot(high, u, load_ints(digits + kBytes));
        middle = dot(middle, u, load_ints(digits + 2 * kBytes));
      }
      if (kDigits > 2 || W::kUpper) middle = add_ints(up_digit(high), middle);
      const Ints total = kDigits > 1 ? add_ints(up_digit(middle), low) : low;
      const float* factor = scale + r * kScales;
      acc[r] =
          fma(to_floats(total), kMany ? permute(load(factor), unit_of_lane) : set(*factor), acc[r]);
    }
    from += W::begin(run + 1) - W::begin(run);
    digits += kXBytes;
    starts += kBytes;
    scale += kMany ? many : 1;
  };
  const int32_t end = runs.first + runs.count, whole = min_of(end, W::whole(present));
  int32_t run = runs.first;
  for (; run < whole; ++run) step(run, W::kRunBytes);
  for (; run < end; ++run) {
    step(run, min_of(W::kRunBytes, present - static_cast<int32_t>(W::begin(run))));
  }
  for (int r = 0; r < kRows; ++r) sum[r] = acc[r];
}

template <class W, int kRows, int kDigits>
void fixed_rows(const Job& job, int32_t t, Rows rows) {
  const LinearArgs& a = job.a;
  const Shape& s = job.shape;
  const uint8_t* x = static_cast<const uint8_t*>(a.x.data) + t * s.token_bytes;
  alignas(64) float scale[kRows * kScales];
  Floats sum[4] = {set(0), set(0), set(0), set(0)};
  const int32_t panel = kMaxUnits >> s.log2_many;
  for (int32_t first = 0; first < s.runs; first += panel) {
    const Span runs = {first, min_of(panel, s.runs - first)};
    const Span units = {first << s.log2_many, runs.count << s.log2_many};
    for (int r = 0; r < kRows; ++r) {
      sum[r] = sum[r] + job.load_units(job, x, rows.n + r * rows.apart, units, scale + r * kScales);
    }
    if (s.log2_many > 0) {
      multiply<W, true, kRows, kDigits>(job, x, rows, runs, scale, sum);
    } else {
      multiply<W, false, kRows, kDigits>(job, x, rows, runs, scale, sum);
    }
  }
  alignas(16) float y[4];
  _mm_store_ps(y, reduce4(sum));
  for (int r = 0; r < kRows; ++r) write(a, t, rows.n + r * rows.apart, y[r]);
}

// Four rows share the loads of x. They are a quarter of the range apart: four long streams, which
// the hardware's prefetchers follow, where four neighbours would be many short ones.
template <class W, int kDigits>
void fixed_linear(const Job& job, int32_t n0, int32_t n1) {
  const int32_t quarter = (n1 - n0) / 4;
  for (int32_t n = n0; n < n0 + quarter; ++n) {
    for (int32_t t = 0; t < job.a.m; ++t) fixed_rows<W, 4, kDigits>(job, t, {n, quarter});
  }
  for (int32_t n = n0 + 4 * quarter; n < n1; ++n) {
    for (int32_t t = 0; t < job.a.m; ++t) fixed_rows<W, 1, kDigits>(job, t, {n, 1});
  }
}

inline void fixed_prepare(const LinearArgs& a, int32_t t0, int32_t t1, void* out) {
  const Shape s = shape_of(a.w, a.k);
  const int x_bits = a.w.bits < 8 ? kNarrowXBits : kXBits;
  const int bias = book_of(a.w).bias;
  for (int32_t t = t0; t < t1; ++t) {
    const float* x = static_cast<const float*>(a.x.data) + t * a.x.ld;
    const auto load_run = [&](int32_t from, int32_t count, Run* run) {
      __builtin_memcpy(run->x, x + from, static_cast<size_t>(count) * sizeof(float));
      for (int j = count; j < s.run; ++j) run->x[j] = 0;
      return round_run(run, s.run, x_bits);
    };
    prepare_token(load_run, s, bias, static_cast<uint8_t*>(out) + (t - t0) * s.token_bytes);
  }
}

// x as 8-bit codes with a scale for each token: its integers are given, nothing is rounded.
inline void codes_prepare(const LinearArgs& a, int32_t t0, int32_t t1, void* out) {
  const Shape s = shape_of(a.w, a.k);
  const int bias = book_of(a.w).bias;
  for (int32_t t = t0; t < t1; ++t) {
    const int8_t* x = static_cast<const int8_t*>(a.x.data) + t * a.x.ld;
    alignas(64) float scale[kLanes];
    store(scale, scales_at(a.x.scale, static_cast<const uint8_t*>(a.x.scales),
                           a.x.block_n == 0 ? 0 : t, 1));
    const auto load_run = [&](int32_t from, int32_t count, Run* run) {
      for (int j = 0; j < count; ++j) run->q[j] = x[from + j];
      for (int j = count; j < s.run; ++j) run->q[j] = 0;
      return scale[0];
    };
    prepare_token(load_run, s, bias, static_cast<uint8_t*>(out) + (t - t0) * s.token_bytes);
  }
}

template <int kBits, int kDigits>
void planes_dispatch(const Job& job, int32_t n0, int32_t n1) {
  int exponent = 0, mantissa = 0;
  float_fields(job.a.w.code, &exponent, &mantissa);
  if (kBits == 4 && exponent > 0) {
    return fixed_linear<InPlanes<4, Plain::kTable>, kDigits>(job, n0, n1);
  }
  job.a.w.code == Code::kInt
      ? fixed_linear<InPlanes<kBits, Plain::kSigned>, kDigits>(job, n0, n1)
      : fixed_linear<InPlanes<kBits, Plain::kUnsigned>, kDigits>(job, n0, n1);
}

inline void codes_dispatch(const LinearArgs& a, int32_t n0, int32_t n1) {
  const Job job = job_of(a);
  a.w.bits == 8 ? planes_dispatch<8, kCodeDigits>(job, n0, n1)
                : planes_dispatch<4, kCodeDigits>(job, n0, n1);
}

inline void fixed_dispatch(const Job& job, int32_t n0, int32_t n1) {
  const bool in_planes = job.shape.planes > 1;
  if (job.a.w.code == Code::kTrit) {
    return job.shape.lane == kGroupedTrits ? fixed_linear<InTritGroups, kNarrowDigits>(job, n0, n1)
                                           : fixed_linear<InTrits, kNarrowDigits>(job, n0, n1);
  }
  switch (job.a.w.bits) {
    case 1:
      return in_planes ? fixed_linear<InPlanes<1, Plain::kUnsigned>, kNarrowDigits>(job, n0, n1)
                       : fixed_linear<InOrder<1>, kNarrowDigits>(job, n0, n1);
    case 2:
      return in_planes ? planes_dispatch<2, kNarrowDigits>(job, n0, n1)
                       : fixed_linear<InOrder<2>, kNarrowDigits>(job, n0, n1);
    case 3:
      return fixed_linear<InOrder<3>, kNarrowDigits>(job, n0, n1);
    case 4:
      return planes_dispatch<4, kNarrowDigits>(job, n0, n1);
    case 5:
      return fixed_linear<InOrder<5>, kNarrowDigits>(job, n0, n1);
    case 6:
      return fixed_linear<InOrder<6>, kNarrowDigits>(job, n0, n1);
    case 7:
      return fixed_linear<InOrder<7>, kNarrowDigits>(job, n0, n1);
    default:
      return planes_dispatch<8, 3>(job, n0, n1);
  }
}

}  // namespace
}  // namespace lowbit::cpu
