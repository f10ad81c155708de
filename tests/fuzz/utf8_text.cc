// Repaired text is valid and stays as it is; what is printed of any text fits on one line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/text.h"
#include "base/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string repaired = lowbit::replace_invalid_utf8(text);
  if (!lowbit::is_valid_utf8(repaired)) std::abort();
  if (lowbit::is_valid_utf8(text) != (repaired == text)) std::abort();
  if (lowbit::replace_invalid_utf8(repaired) != repaired) std::abort();
  if (lowbit::printable(text).find('\n') != std::string::npos) std::abort();
  return 0;
}
