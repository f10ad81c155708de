// Any text is a method or an Error; its formats print a name that parses to itself.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "quantize/method.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto pair = lowbit::parse_method({reinterpret_cast<const char*>(data), size}).formats;
    if (lowbit::parse_format_pair(lowbit::name(pair)) != pair) std::abort();
  } catch (const lowbit::Error&) {  // the expected answer to most inputs
  }
  return 0;
}
