// Numbers to codes and back for formats with scales, in vectors of 16 floats: the including file
// chooses the ISA by its compile flags and provides what ops_body.inl asks for. Compiled without
// contraction to FMA: every product of the codec (formats/codec.h) is rounded, so codes are its
// own.

namespace lowbit::cpu {
namespace {

constexpr int32_t kLanes = 16;

typedef uint8_t ByteVec __attribute__((vector_size(16)));
typedef uint8_t Byte8 __attribute__((vector_size(8)));
typedef uint16_t HalfVec __attribute__((vector_size(32)));
typedef int32_t IntVec __attribute__((vector_size(64)));

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

void load_floats(const float* at, int32_t count, float* lanes) {
  if (count >= kLanes) {
    __builtin_memcpy(lanes, at, kLanes * sizeof(float));
  } else {
    __builtin_memcpy(lanes, at, static_cast<uint32_t>(count) * sizeof(float));
    for (int32_t i = count; i < kLanes; ++i) lanes[i] = at[0];  // changes neither lo nor hi
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

// 16 codes from the byte on that holds the first of them; those from `count` on are 0.
template <int kBits>
ByteVec unpack(const uint8_t* at, int32_t count) {
  constexpr int32_t kBytes = kLanes * kBits / 8;
  uint8_t bytes[kLanes] = {};
  __builtin_memcpy(bytes, at,
                   static_cast<uint32_t>(count >= kLanes ? kBytes : (count * kBits + 7) / 8));
  if constexpr (kBits == 8) return load_vector<ByteVec>(bytes);
  if constexpr (kBits == 4) {
    const Byte8 pairs = load_vector<Byte8>(bytes), low = pairs & 15, high = pairs >> 4;
    return __builtin_shufflevector(low, high, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  uint8_t codes[kLanes];
  for (int32_t i = 0; i < kLanes; ++i) {
    const int32_t bit = i * kBits;
    const uint32_t word = bytes[bit / 8] | uint32_t{bytes[bit / 8 + 1]} << 8;
    codes[i] = static_cast<uint8_t>((word >> (bit % 8)) & ((1u << kBits) - 1));
  }
  return load_vector<ByteVec>(codes);
}

template <int kBits>
void pack(const uint8_t* codes, int32_t count, uint8_t* at) {
  uint8_t bytes[kLanes + 1] = {};
  if constexpr (kBits == 8) {
    __builtin_memcpy(bytes, codes, kLanes);
  } else {
    for (int32_t i = 0; i < min_of(count, kLanes); ++i) {
      const int32_t bit = i * kBits;
      const uint32_t word = (codes[i] & ((1u << kBits) - 1)) << (bit % 8);
      bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] | word);
      bytes[bit / 8 + 1] = static_cast<uint8_t>(word >> 8);
    }
  }
  constexpr int32_t kBytes = kLanes * kBits / 8;
  __builtin_memcpy(at, bytes,
                   static_cast<uint32_t>(count >= kLanes ? kBytes : (count * kBits + 7) / 8));
}

// ---- decode -------------------------------------------------------------------------------------

// What 16 codes stand for, before scale and zero.
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
      const IntVec q = __builtin_convertvector(codes, IntVec);
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
    default:
      return 0;
  }
}

template <int kBits>
void decode_bits(const Act& from, const Columns& part, float* out, int64_t ld) {
  const Numbers numbers(from);
  const int64_t row_bytes = (from.ld * kBits + 7) / 8;
  const auto blocks =
      static_cast<int64_t>(from.block_k == 0 ? 1 : (from.ld + from.block_k - 1) / from.block_k);
  const bool shifted = from.zero == Zero::kFloat;
  for (int64_t r = part.r0; r < part.r1; ++r, out += ld) {
    const auto* codes = static_cast<const uint8_t*>(from.data) + r * row_bytes;
    const int64_t first = from.block_n == 0 ? 0 : r * blocks;
    const float outer =
        from.outer_kind == Outer::kRow ? static_cast<const float*>(from.outer)[r] : 1.0f;
    float scale = 0, offset = 0;
    for (int32_t c = part.c0, next = part.c0; c < part.c1; c += kLanes) {
      if (c == next) {  // a block begins; the first column of a part may be inside one
        const int32_t block = from.block_k == 0 ? 0 : c / from.block_k;
        next = from.block_k == 0 ? part.c1 : (block + 1) * from.block_k;
        scale = scale_at(from.scale, from.scales, first + block);
        if (shifted) offset = scale_at(from.scale, from.zeros, first + block);
      }
      const int32_t count = min_of(kLanes, part.c1 - c);
      Vec v = numbers(unpack<kBits>(codes + c * kBits / 8, count));
      if (shifted) {  // products of a few bits are exact: one rounding, as in the codec
        v = (v - static_cast<float>(1 << (kBits - 1))) * scale + offset;
      } else {
        v = v * scale * outer;
      }
      __builtin_memcpy(out + (c - part.c0), &v, static_cast<uint32_t>(count) * sizeof(float));
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

bool ranges(const float* x, int32_t k, int32_t block_k, float* lo, float* hi) {
  const int32_t step = block_k == 0 ? k : block_k;
  IntVec largest = {};  // of the bits without sign: infinity and NaN are above every number
  for (int32_t begin = 0; begin < k; begin += step, ++lo, ++hi) {
    const int32_t end = min_of(begin + step, k);
    Vec low = x[begin] - Vec{}, high = low;
    for (int32_t i = begin; i < end; i += kLanes) {
      float lanes[kLanes];
      load_floats(x + i, end - i, lanes);
      const Vec v = load_vector<Vec>(lanes);
      const IntVec bits = load_vector<IntVec>(lanes) & 0x7fffffff;
      largest = bits > largest ? bits : largest;
      low = v < low ? v : low;
      high = v > high ? v : high;
    }
    for (int32_t i = 0; i < kLanes; ++i) {
      *lo = low[i] < *lo ? low[i] : *lo;
      *hi = high[i] > *hi ? high[i] : *hi;
    }
  }
  int32_t top = 0;
  for (int32_t i = 0; i < kLanes; ++i) top = largest[i] > top ? largest[i] : top;
  return top < 0x7f800000;
}

// The nearest codes of 16 numbers, ties to even, clamped. Plain loops, which compilers vectorise:
// adding 1.5 * 2^52 steps rounds to a whole number of steps and leaves it in the lowest bits.
void nearest_integers(const float* w, const CodeGrid& g, double lo, double hi, uint8_t* codes) {
  for (int32_t i = 0; i < kLanes; ++i) {
    double v = (w[i] - g.offset) * g.inverse + g.shift;
    v = v < lo ? lo : v;
    v = v > hi ? hi : v;
    codes[i] = static_cast<uint8_t>(__builtin_bit_cast(uint64_t, v + 0x1.8p52));
  }
}

// As for integers, with the step of each number's binade. Counted in steps, codes continue over the
// edge of a binade.
void nearest_floats(const float* w, const CodeGrid& g, const Mini m, uint8_t* codes) {
  const double min_normal = m.min_normal();
  const uint64_t lowest = __builtin_bit_cast(uint64_t, min_normal) >> 52;
  const auto mantissa = static_cast<uint64_t>(m.mantissa_bits);
  const auto sign_shift = static_cast<uint64_t>(m.bits() - 1);
  for (int32_t i = 0; i < kLanes; ++i) {
    const uint64_t bits = __builtin_bit_cast(uint64_t, w[i] * g.inverse + g.shift);
    double v = __builtin_bit_cast(double, bits & ~(uint64_t{1} << 63));
    v = v > m.max ? m.max : v;
    const double binade = v < min_normal ? min_normal : v;
    const uint64_t exponent = __builtin_bit_cast(uint64_t, binade) >> 52;
    const double magic =
        __builtin_bit_cast(double, ((exponent + 52 - mantissa) << 52) | (uint64_t{1} << 51));
    const uint64_t steps = __builtin_bit_cast(uint64_t, v + magic) & 0xff;
    codes[i] = static_cast<uint8_t>((((exponent - lowest) << mantissa) + steps) |
                                    (bits >> 63 << sign_shift));
  }
}

template <int kBits>
void encode_bits(const float* x, int32_t k, const Act& to, const CodeGrid* grids, uint8_t* codes) {
  const Mini m = mini(to.code);
  const double span = static_cast<double>(1 << kBits);
  const double lo = to.code == Code::kInt ? -span / 2 : 0, hi = lo + span - 1;
  const int32_t step = to.block_k == 0 ? k : to.block_k;
  for (int32_t begin = 0; begin < k; begin += step, ++grids) {
    const int32_t end = min_of(begin + step, k);
    for (int32_t i = begin; i < end; i += kLanes) {
      float lanes[kLanes];
      uint8_t nearest[kLanes];
      load_floats(x + i, end - i, lanes);
      if (m.exponent_bits > 0) {
        nearest_floats(lanes, *grids, m, nearest);
      } else {
        nearest_integers(lanes, *grids, lo, hi, nearest);
      }
      pack<kBits>(nearest, end - i, codes + i * kBits / 8);
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
