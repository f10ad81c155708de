// The record line of torchao's llama harness, as generate.py appends it to --write_result:
//   20240908170222, tok/s= 63.92, [tok/s_decode= 65.10, ttft=0.0210,] mem/s= 957.67 GB/s,
//   peak_mem=15.05 GB, model_size=14.98 GB quant: None, [sparse: S,] mod: Llama-3-8B,
//   kv_quant: False, compile: True, compile_prefill: False, dtype: torch.bfloat16, device: cuda
//   repro: python generate.py ...
// all on one line; what is in brackets came later. By its definitions: tok/s counts new tokens over
// the whole generation, tok/s_decode the same tokens, the first included, over the time of the
// steps after it; mem/s is model_size * tok/s; model_size leaves the token table out.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record.h"

namespace lowbit {

struct HarnessLine {
  std::string stamp;  // YYYYMMDDHHMMSS, local time
  double tokens_per_second = 0;
  std::optional<double> decode_tokens_per_second, ttft;  // ttft: seconds
  double bytes_per_second = 0, peak_bytes = 0, model_bytes = 0;
  std::string quantization = "None", sparsity, model;  // sparsity "": the part is left out
  bool kv_quantized = false, compiled = false, compiled_prefill = false;
  std::string dtype = "torch.bfloat16", device = "cpu";
  std::string repro;  // the command
};

// Local time as the harness writes it.
std::string harness_stamp();

std::string harness_text(const HarnessLine& line);

// Error names `source` and the part that is missing or no number.
HarnessLine parse_harness_line(const std::string& source, std::string_view text);

// A file of them as records: one for each different case, whose samples are its lines in order.
// Lines that do not begin with a stamp are left out and counted in `skipped`. Error: no line does.
std::vector<Record> import_harness_lines(const std::string& path, int64_t* skipped);

// Bash reads it as one word, on one line.
std::string shell_quoted(const std::string& word);

}  // namespace lowbit
