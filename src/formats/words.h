// The parts of a format in words: what names carry and what reports print.
#pragma once

#include <string_view>

#include "formats/ids.h"

namespace lowbit {

std::string_view word(Code code);  // small floats: "e4m3", as in names
std::string_view word(Scale scale);
std::string_view word(Zero zero);
std::string_view word(Outer outer);
std::string_view word(ScaleRule rule);

}  // namespace lowbit
