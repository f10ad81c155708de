// Numbers to codes and back for formats with scales, 16 at a time: the including file chooses the
// ISA by its compile flags and provides, inside its anonymous namespace, Vec, a vector of up to 16
// floats, and Vec f16_load(const uint16_t*), which loads one. Compiled without contraction to FMA:
// the codec (formats/codec.h) rounds every product, and these codes must be its codes.

namespace lowbit::cpu {
namespace {

constexpr int32_t kStep = 16;  // codes at a time: whole bytes of every width
constexpr int32_t kLanes = sizeof(Vec) / sizeof(float), kHalf = kLanes / 2;

typedef uint8_t ByteVec __attribute__((vector_size(kLanes)));
typedef uint16_t HalfVec __attribute__((vector_size(2 * kLanes)));
typedef int32_t IntVec __attribute__((vector_size(4 * kLanes)));
typedef uint8_t Byte8 __attribute__((vector_size(8)));
// Numbers in double, as many as a Vec has bytes for, and what is narrowed from them.
typedef double DoubleVec __attribute__((vector_size(8 * kHalf)));
typedef uint64_t WordVec __attribute__((vector_size(8 * kHalf)));
typedef float HalfFloats __attribute__((vector_size(4 * kHalf)));
typedef uint32_t HalfInts __attribute__((vector_size(4 * kHalf)));
typedef uint16_t HalfShorts __attribute__((vector_size(2 * kHalf)));
typedef uint8_t HalfBytes __attribute__((vector_size(kHalf)));

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

int32_t min_of(int32_t a, int32_t b) { return a < b ? a : b; }

// 16 numbers, of which `count` are in memory; the others repeat the first.
void load_floats(const float* at, int32_t count, float* numbers) {
  if (count >= kStep) {
    __builtin_memcpy(numbers, at, kStep * sizeof(float));
  } else {
    for (int32_t i = 0; i < kStep; ++i) numbers[i] = at[i < count ? i : 0];
  }
}

// ---- small floats -------------------------------------------------------------------------------

// A float of up to 8 bits by its parts. As the upper bits of an f16 it is off by a power of two,
// subnormals included.
struct Mini {
  int32_t exponent_bits, mantissa_bits;
  double max;
  int32_t bits() const { return 1 + exponent_bits + mantissa_bits; }
  int32_t bias() const { return (1 << (exponent_bits - 1)) - 1; }
  double min_normal() const { return power(1 - bias()); }
  static double power(int32_t exponent) {
    return __builtin_bit_cast(double, static_cast<uint64_t>(exponent + 1023) << 52);
  }
};

Mini mini(Code code) {
  switch (code) {
    case Code::kE4M3:
      return {4, 3, 448};
    case Code::kE5M2:
      return {5, 2, 57344};
    case Code::kE3M2:
      return {3, 2, 28};
    case Code::kE2M3:
      return {2, 3, 7.5};
    case Code::kE2M1:
      return {2, 1, 6};
    default:
      return {0, 0, 0};
  }
}

// ---- codes in memory ----------------------------------------------------------------------------

// `count` codes take whole bytes from the one on that holds the first of 16.
int32_t code_bytes(int32_t count, int32_t bits) { return (count * bits + 7) / 8; }

template <int kBits>
void unpack(const uint8_t* at, uint8_t* codes) {
  if constexpr (kBits == 8) {
    __builtin_memcpy(codes, at, kStep);
  } else if constexpr (kBits == 4) {
    const Byte8 pairs = load_vector<Byte8>(at), low = pairs & 15, high = pairs >> 4;
    store_vector(codes, __builtin_shufflevector(low, high, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13,
                                                6, 14, 7, 15));
  } else {
    for (int32_t i = 0; i < kStep; i += 4, at += 3) {  // 6 bits: four codes in three bytes
      const uint32_t word = at[0] | uint32_t{at[1]} << 8 | uint32_t{at[2]} << 16;
      for (int32_t j = 0; j < 4; ++j) codes[i + j] = static_cast<uint8_t>((word >> (6 * j)) & 63);
    }
  }
}

template <int kBits>
void pack(const uint8_t* codes, uint8_t* at) {
  if constexpr (kBits == 8) {
    __builtin_memcpy(at, codes, kStep);
  } else if constexpr (kBits == 4) {
    for (int32_t i = 0; i < kStep; i += 2) {
      *at++ = static_cast<uint8_t>((codes[i] & 15) | codes[i + 1] << 4);
    }
  } else {
    for (int32_t i = 0; i < kStep; i += 4, at += 3) {
      uint32_t word = 0;
      for (int32_t j = 0; j < 4; ++j) word |= (codes[i + j] & 63u) << (6 * j);
      at[0] = static_cast<uint8_t>(word);
      at[1] = static_cast<uint8_t>(word >> 8);
      at[2] = static_cast<uint8_t>(word >> 16);
    }
  }
}

// ---- decode -------------------------------------------------------------------------------------

// What codes stand for, before scale and zero.
class Numbers {
 public:
  explicit Numbers(const Act& act) : code_(act.code) {
    const Mini m = mini(code_);
    if (m.exponent_bits == 0) {
      sign_ = code_ == Code::kInt ? static_cast<uint8_t>(1u << (act.bits - 1)) : uint8_t{0};
      return;
    }
    is_float_ = true;
    sign_ = static_cast<uint8_t>(1u << (m.bits() - 1));
    shift_ = 10 - m.mantissa_bits;
    sign_shift_ = 16 - m.bits();
    factor_ = static_cast<float>(Mini::power(15 - m.bias()));
    nan_from_ = code_ == Code::kE4M3 ? 0x7f : 0xffff;
  }

  Vec operator()(ByteVec codes) const {
    if (!is_float_) {  // q ^ sign - sign extends the sign of integers of any width
      const IntVec q = __builtin_convertvector(__builtin_convertvector(codes, HalfVec), IntVec);
      return __builtin_convertvector((q ^ sign_) - sign_, Vec);
    }
    const HalfVec wide = __builtin_convertvector(codes, HalfVec);
    const HalfVec magnitude = wide & static_cast<uint16_t>(sign_ - 1);
    HalfVec half = magnitude << static_cast<uint16_t>(shift_);
    half = magnitude >= nan_from_ ? HalfVec{} + uint16_t{0x7e00} : half;
    half |= (wide & sign_) << static_cast<uint16_t>(sign_shift_);
    uint16_t lanes[kLanes];
    store_vector(lanes, half);
    return f16_load(lanes) * factor_;
  }

 private:
  Code code_;
  bool is_float_ = false;
  uint8_t sign_ = 0;
  int32_t shift_ = 0, sign_shift_ = 0;
  uint16_t nan_from_ = 0xffff;
  float factor_ = 1;
};

float bits_float(uint32_t bits) { return __builtin_bit_cast(float, bits); }

float e4m3_scale(uint8_t code) {  // scales are not negative
  if (code >= 0x7f) return bits_float(0x7fc00000u);
  return code < 8 ? code * 0x1p-9f : bits_float((uint32_t{code} << 20) + (120u << 23));
}

float scale_at(Scale type, const void* plane, int64_t index) {
  const auto* bytes = static_cast<const uint8_t*>(plane);
  switch (type) {
    case Scale::kF32:
      return static_cast<const float*>(plane)[index];
    case Scale::kBF16:
      return bits_float(uint32_t{static_cast<const uint16_t*>(plane)[index]} << 16);
    case Scale::kF16: {
      uint16_t lanes[kLanes] = {static_cast<const uint16_t*>(plane)[index]};
      return f16_load(lanes)[0];
    }
    case Scale::kE8M0:
      if (bytes[index] == 0) return 0x1p-127f;
      return bits_float(bytes[index] == 0xff ? 0x7fc00000u : uint32_t{bytes[index]} << 23);
    case Scale::kE4M3:
      return e4m3_scale(bytes[index]);
    case Scale::kNone:
    case Scale::kU4:
    case Scale::kU6:
    case Scale::kI6:
    case Scale::kI8:
      break;
  }
  __builtin_unreachable();  // has_fast_codes lets the others through
}

template <int kBits>
void decode_bits(const Act& from, const Columns& part, float* out, int64_t ld) {
  const Numbers numbers(from);
  const int64_t row_bytes = (from.ld * kBits + 7) / 8;
  const auto blocks =
      static_cast<int64_t>(from.block_k == 0 ? 1 : (from.ld + from.block_k - 1) / from.block_k);
  const bool shifted = from.zero == Zero::kFloat;
  constexpr float middle = 1 << (kBits - 1);
  for (int64_t r = part.r0; r < part.r1; ++r, out += ld) {
    const auto* codes = static_cast<const uint8_t*>(from.data) + r * row_bytes;
    const int64_t first = from.block_n == 0 ? 0 : r * blocks;
    const float outer =
        from.outer_kind == Outer::kRow ? static_cast<const float*>(from.outer)[r] : 1.0f;
    float scale = 0, offset = 0;
    for (int32_t c = part.c0, next = part.c0; c < part.c1; c += kStep) {
      if (c == next) {  // a block begins; the first column of a part may be inside one
        const int32_t block = from.block_k == 0 ? 0 : c / from.block_k;
        next = from.block_k == 0 ? part.c1 : (block + 1) * from.block_k;
        scale = scale_at(from.scale, from.scales, first + block);
        if (shifted) offset = scale_at(from.scale, from.zeros, first + block);
      }
      const int32_t count = part.c1 - c;
      const uint8_t* at = codes + c * kBits / 8;
      uint8_t some[kStep] = {}, q[kStep];
      if (count < kStep) {
        __builtin_memcpy(some, at, static_cast<uint32_t>(code_bytes(count, kBits)));
        at = some;
      }
      unpack<kBits>(at, q);
      float last[kStep];
      float* to = count < kStep ? last : out + (c - part.c0);
      for (int32_t i = 0; i < kStep; i += kLanes) {
        const Vec v = numbers(load_vector<ByteVec>(q + i));
        // With a zero, products of a few bits, which are exact: one rounding, as in the codec.
        store_vector(to + i, shifted ? (v - middle) * scale + offset : v * scale * outer);
      }
      if (count < kStep) {
        __builtin_memcpy(out + (c - part.c0), last, static_cast<uint32_t>(count) * sizeof(float));
      }
    }
  }
}

void decode(const Act& from, const Columns& part, float* out, int64_t ld) {
  if (!has_fast_codes(from)) return decode_any(from, part, out, ld);
  if (from.bits == 8) return decode_bits<8>(from, part, out, ld);
  if (from.bits == 6) return decode_bits<6>(from, part, out, ld);
  decode_bits<4>(from, part, out, ld);
}

// ---- encode -------------------------------------------------------------------------------------

// The largest of a power of two of numbers, by halves.
float top_of(Vec v) {
  float lanes[kLanes];
  store_vector(lanes, v);
  for (int32_t n = kHalf; n > 0; n /= 2) {
    for (int32_t i = 0; i < n; ++i) lanes[i] = lanes[i] > lanes[i + n] ? lanes[i] : lanes[i + n];
  }
  return lanes[0];
}

bool ranges(const float* x, int32_t k, int32_t block_k, float* lo, float* hi) {
  const int32_t step = block_k == 0 ? k : block_k;
  IntVec largest = {};  // of the bits without sign: infinity and NaN are above every number
  for (int32_t begin = 0; begin < k; begin += step, ++lo, ++hi) {
    const int32_t end = min_of(begin + step, k);
    Vec low = x[begin] - Vec{}, high = low;
    for (int32_t i = begin; i < end; i += kStep) {
      float numbers[kStep];
      load_floats(x + i, end - i, numbers);
      for (int32_t j = 0; j < kStep; j += kLanes) {
        const Vec v = load_vector<Vec>(numbers + j);
        const IntVec bits = load_vector<IntVec>(numbers + j) & 0x7fffffff;
        largest = bits > largest ? bits : largest;
        low = v < low ? v : low;
        high = v > high ? v : high;
      }
    }
    const float least = -top_of(-low), most = top_of(high);
    *lo = least < *lo ? least : *lo;
    *hi = most > *hi ? most : *hi;
  }
  int32_t top = 0;
  for (int32_t i = 0; i < kLanes; ++i) top = largest[i] > top ? largest[i] : top;
  return top < 0x7f800000;
}

template <class V, class W>
V bits_of(W value) {
  V bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The lowest byte of each.
HalfBytes low_bytes(WordVec words) {
  const auto half = __builtin_convertvector(words, HalfInts);
  return __builtin_convertvector(__builtin_convertvector(half, HalfShorts), HalfBytes);
}

// The nearest codes, ties to even, clamped: adding 1.5 * 2^52 steps rounds to a whole number of
// steps and leaves it in the lowest bits.
HalfBytes nearest_integers(HalfFloats w, const CodeGrid& g, double lo, double hi) {
  DoubleVec v = (__builtin_convertvector(w, DoubleVec) - g.offset) * g.inverse + g.shift;
  v = v < lo ? DoubleVec{} + lo : v;
  v = v > hi ? DoubleVec{} + hi : v;
  return low_bytes(bits_of<WordVec>(v + 0x1.8p52));
}

// As for integers, with the step of each number's binade. Counted in steps, codes continue over the
// edge of a binade.
HalfBytes nearest_floats(HalfFloats w, const CodeGrid& g, const Mini& m) {
  const double min_normal = m.min_normal();
  const uint64_t lowest = __builtin_bit_cast(uint64_t, min_normal) >> 52;
  const auto mantissa = static_cast<uint64_t>(m.mantissa_bits);
  const WordVec bits =
      bits_of<WordVec>(__builtin_convertvector(w, DoubleVec) * g.inverse + g.shift);
  DoubleVec v = bits_of<DoubleVec>(bits & ~(uint64_t{1} << 63));
  v = v > m.max ? DoubleVec{} + m.max : v;
  const DoubleVec binade = v < min_normal ? DoubleVec{} + min_normal : v;
  const WordVec exponent = bits_of<WordVec>(binade) >> 52;
  const WordVec magic = ((exponent + (52 - mantissa)) << 52) | (uint64_t{1} << 51);
  const WordVec steps = bits_of<WordVec>(v + bits_of<DoubleVec>(magic)) & 0xff;
  const WordVec sign = bits >> 63 << static_cast<uint64_t>(m.bits() - 1);
  return low_bytes((((exponent - lowest) << mantissa) + steps) | sign);
}

template <int kBits>
void encode_bits(const float* x, int32_t k, const Act& to, const CodeGrid* grids, uint8_t* codes) {
  const Mini m = mini(to.code);
  const double span = static_cast<double>(1 << kBits);
  const double lo = to.code == Code::kInt ? -span / 2 : 0, hi = lo + span - 1;
  const int32_t step = to.block_k == 0 ? k : to.block_k;
  for (int32_t begin = 0; begin < k; begin += step, ++grids) {
    const int32_t end = min_of(begin + step, k);
    for (int32_t i = begin; i < end; i += kStep) {
      float numbers[kStep];
      uint8_t nearest[kStep];
      load_floats(x + i, end - i, numbers);
      for (int32_t j = 0; j < kStep; j += kHalf) {
        const auto w = load_vector<HalfFloats>(numbers + j);
        store_vector(nearest + j, m.exponent_bits > 0 ? nearest_floats(w, *grids, m)
                                                      : nearest_integers(w, *grids, lo, hi));
      }
      if (end - i >= kStep) {
        pack<kBits>(nearest, codes + i * kBits / 8);
        continue;
      }
      uint8_t some[kStep];
      for (int32_t j = end - i; j < kStep; ++j) nearest[j] = 0;
      pack<kBits>(nearest, some);
      __builtin_memcpy(codes + i * kBits / 8, some,
                       static_cast<uint32_t>(code_bytes(end - i, kBits)));
    }
  }
}

void encode(const float* x, int32_t k, const Act& to, const CodeGrid* grids, void* codes) {
  auto* bytes = static_cast<uint8_t*>(codes);
  if (to.bits == 8) return encode_bits<8>(x, k, to, grids, bytes);
  if (to.bits == 6) return encode_bits<6>(x, k, to, grids, bytes);
  encode_bits<4>(x, k, to, grids, bytes);
}

constexpr CodeBodies kBodies = {.decode = decode, .ranges = ranges, .encode = encode};

}  // namespace
}  // namespace lowbit::cpu
