// The random and hostile strings that scripts/tokenizer_oracle.py makes, made again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lowbit {

const std::vector<std::string>& test_strings();  // 10,000, many of them not UTF-8

std::string golden_path(const std::string& name);  // in tests/golden/tokenizer
std::string shared_path(const std::string& name);  // beside the checkout, or in $LOWBIT_SHARED

}  // namespace lowbit
