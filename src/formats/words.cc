#include "formats/words.h"

namespace lowbit {

std::string_view word(Code code) {
  switch (code) {
    case Code::kF32:
      return "f32";
    case Code::kF16:
      return "f16";
    case Code::kBF16:
      return "bf16";
    case Code::kInt:
      return "signed integer";
    case Code::kUInt:
      return "unsigned integer";
    case Code::kSign:
      return "sign";
    case Code::kTernary:
      return "ternary";
    case Code::kTrit:
      return "ternary, 5 a byte";
    case Code::kE4M3:
      return "e4m3";
    case Code::kE5M2:
      return "e5m2";
    case Code::kE3M2:
      return "e3m2";
    case Code::kE2M3:
      return "e2m3";
    case Code::kE3M1:
      return "e3m1";
    case Code::kE2M2:
      return "e2m2";
    case Code::kE3M0:
      return "e3m0";
    case Code::kE2M1:
      return "e2m1";
    case Code::kE2M0:
      return "e2m0";
  }
  __builtin_unreachable();
}

std::string_view word(Scale scale) {
  switch (scale) {
    case Scale::kNone:
      return "-";
    case Scale::kF32:
      return "f32";
    case Scale::kF16:
      return "f16";
    case Scale::kBF16:
      return "bf16";
    case Scale::kE8M0:
      return "e8m0";
    case Scale::kE4M3:
      return "e4m3";
    case Scale::kU4:
      return "4 bits";
    case Scale::kU6:
      return "6 bits";
    case Scale::kI6:
      return "6 bits, signed";
    case Scale::kI8:
      return "8 bits, signed";
  }
  __builtin_unreachable();
}

std::string_view word(Zero zero) {
  switch (zero) {
    case Zero::kNone:
      return "-";
    case Zero::kInt:
      return "integer";
    case Zero::kFloat:
      return "float";
    case Zero::kReal:
      return "real";
    case Zero::kOffset:
      return "offset";
  }
  __builtin_unreachable();
}

std::string_view word(Outer outer) {
  switch (outer) {
    case Outer::kNone:
      return "-";
    case Outer::kTensor:
      return "f32 per tensor";
    case Outer::kRow:
      return "f32 per row";
    case Outer::kSuper:
      return "f16 per 256";
    case Outer::kInt8:
      return "f32 per row, above integers";
    case Outer::kTable:
      return "a table of f32 per tensor";
  }
  __builtin_unreachable();
}

std::string_view word(ScaleRule rule) {
  switch (rule) {
    case ScaleRule::kNone:
      return "-";
    case ScaleRule::kAmaxOverMax:
      return "amax / qmax";
    case ScaleRule::kAmaxOverMin:
      return "amax / -qmin";
    case ScaleRule::kExtreme:
      return "extreme / qmin";
    case ScaleRule::kMinMax:
      return "(max - min) / (2^bits - 1)";
    case ScaleRule::kMean:
      return "mean magnitude";
    case ScaleRule::kFloor:
      return "floor";
    case ScaleRule::kCeil:
      return "ceil";
    case ScaleRule::kEven:
      return "even";
    case ScaleRule::kRceil:
      return "rceil";
    case ScaleRule::kTwoLevel:
      return "amax / qmax / outer";
    case ScaleRule::kLevels:
      return "levels chosen by row";
  }
  __builtin_unreachable();
}

}  // namespace lowbit
