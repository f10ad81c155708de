// Methods (quantize/method.h) as `lowbit formats` prints them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "quantize/method.h"

namespace lowbit {

// What a method says beyond its formats: quantizer, tool, layers, note.
nlohmann::ordered_json method_fields(const Method& method);

// All names of other tools: by tool, compact; as a list of objects; as a section of
// docs/formats.md.
std::string methods_text();
nlohmann::ordered_json methods_json();
std::string methods_markdown();

}  // namespace lowbit
