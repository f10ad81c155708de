// Any text as config.json and as a shape's YAML: parsed, and every key read in every way.
#include "base/check.h"
#include "load/hyperparams.h"

namespace {

using lowbit::Error;
using lowbit::Hyperparams;

void attempt(const auto& call) {
  try {
    call();
  } catch (const Error&) {
  }
}

void read_all(const Hyperparams& config, int depth) {
  for (const std::string& key : config.keys()) {
    attempt([&] { config.integer(key, -100, 1 << 20); });
    attempt([&] { config.number(key, 0, 1e9); });
    attempt([&] { config.boolean_or(key, true); });
    attempt([&] { config.text(key); });
    attempt([&] { config.integers_or(key, 0, 1 << 20); });
    attempt([&] { config.texts_or(key); });
    attempt([&] {
      if (const auto child = config.child(key); child && depth > 0) read_all(*child, depth - 1);
    });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attempt([&] { read_all(Hyperparams::from_json("fuzz.json", text), 3); });
  attempt([&] { read_all(Hyperparams::from_yaml("fuzz.yaml", text), 3); });
  return 0;
}
