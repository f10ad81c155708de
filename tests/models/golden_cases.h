// The tiny Llamas of tests/golden/llama and what Hugging Face transformers computes from them in
// f32 (scripts/golden/llama.py).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/loaded_model.h"

namespace lowbit::golden {

struct Case {
  std::string name;
  std::vector<int32_t> prompt, greedy;
  std::vector<float> logits;               // [prompt, vocab]
  std::vector<std::vector<float>> hidden;  // per layer boundary, [prompt, width]
  std::vector<float> last_logits;          // [vocab], of the last greedy step

  std::string path() const;
};

std::vector<std::string> case_names();
Case read_case(const std::string& name);

// As stored, f32 key/value cache: the arithmetic that the goldens are made with.
LoadedModel load_case(const Case& golden, const Backend& backend,
                      const std::string& kv_format = "f32", const std::string& format = "");

// Of a prompt that is one step.
std::vector<float> logits_of(const Model& model, const Backend& backend,
                             const std::vector<int32_t>& prompt);

}  // namespace lowbit::golden
