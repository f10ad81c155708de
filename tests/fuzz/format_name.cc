// Any text is a format pair or an Error; a pair that parses prints a name that parses to itself.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "formats/format.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto pair = lowbit::parse_format_pair({reinterpret_cast<const char*>(data), size});
    if (lowbit::parse_format_pair(lowbit::name(pair)) != pair) std::abort();
  } catch (const lowbit::Error&) {  // the expected answer to most inputs
  }
  return 0;
}
