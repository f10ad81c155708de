// Results in the forms of llama-bench (tools/llama-bench of llama.cpp): its tables, its fields, and
// its tests.
//   pp512          512 tokens of prompt in one go
//   tg128          128 tokens one at a time, from an empty context
//   pp512+tg128    one after the other
//   ... @ d4096    the same after 4096 tokens that are not timed
// A case of ours with one prompt token is tg, every token of it costs one step, unless it was asked
// for as pp1 or pp1+tg128.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record.h"

namespace lowbit {

struct LlamaTest {
  int32_t prompt = 0, gen = 0;  // one of them may be 0
  int32_t prompt_tokens() const { return prompt > 0 ? prompt : 1; }
  int32_t new_tokens() const { return prompt > 0 ? gen + 1 : gen; }
  bool operator==(const LlamaTest&) const = default;
};

// A row of a table: a test, and the record of the case that ran it. pp1 and tg1 are one case.
struct LlamaRow {
  LlamaTest test;
  const Record* record = nullptr;
};

// "512", "128,256", "128-512+128", "1-64*2": values, and ranges with an optional step or factor
// (1 and none: every number). Error names `flag`.
std::vector<int32_t> parse_llama_values(const std::string& flag, std::string_view text);

// "512,128": P and G of one test. Error names `flag`.
LlamaTest parse_llama_pair(const std::string& flag, std::string_view text);

// "pp512+tg128 @ d4096"
std::string llama_test_name(const LlamaTest& test, int32_t depth);

// A row of each record, for cases that were not asked for as tests.
std::vector<LlamaRow> llama_rows(std::span<const Record> records);

// `form`: md, csv, json, jsonl or sql. Rows whose case ran: llama-bench's fields in its order
// (those that mean nothing here have its defaults), then ours.
std::string llama_bench_text(std::span<const LlamaRow> rows, std::string_view form);

}  // namespace lowbit
