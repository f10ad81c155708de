// JSON and YAML text as one tree. Hostile text is the normal case: depth and number of values are
// limited, and duplicate keys, numbers that fit no double, YAML aliases and broken syntax are
// errors with `source` in front.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace lowbit {

nlohmann::json parse_json(const std::string& source, std::string_view text);
nlohmann::json parse_yaml(const std::string& source, std::string_view text);

// A value as messages show it: 32, "abc", a list of 3, an object.
std::string describe(const nlohmann::json& value);

}  // namespace lowbit
