// The parts of a format in words: what names carry and what reports print.
#pragma once

#include <initializer_list>
#include <string_view>

#include "formats/ids.h"

namespace lowbit {

std::string_view word(Code code);
// Those that names call by their word, as in fp8-e5m2.
inline constexpr std::initializer_list<Code> kSmallFloats = {Code::kE4M3, Code::kE5M2, Code::kE3M2,
                                                             Code::kE2M3, Code::kE3M1, Code::kE2M2,
                                                             Code::kE3M0, Code::kE2M1, Code::kE2M0};

std::string_view word(Scale scale);
std::string_view word(Zero zero);
std::string_view word(Outer outer);
std::string_view word(ScaleRule rule);

}  // namespace lowbit
