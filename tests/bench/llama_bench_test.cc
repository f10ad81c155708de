#include "bench/llama_bench.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "base/check.h"
#include "base/text.h"
#include "bench/harness_line.h"

namespace lowbit {
namespace {

std::string error_of(const std::string& text) {
  try {
    parse_llama_values("-p", text);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(LlamaBench, ListsAndRangesAreThoseOfLlamaBench) {
  using V = std::vector<int32_t>;
  EXPECT_EQ(parse_llama_values("-p", "512"), V{512});
  EXPECT_EQ(parse_llama_values("-p", "0,128"), (V{0, 128}));
  EXPECT_EQ(parse_llama_values("-p", "2-5"), (V{2, 3, 4, 5}));
  EXPECT_EQ(parse_llama_values("-p", "128-500+128"), (V{128, 256, 384}));
  EXPECT_EQ(parse_llama_values("-p", "1-16*2,3"), (V{1, 2, 4, 8, 16, 3}));
  EXPECT_NE(error_of("x").find("-p: `x` is not a number"), std::string::npos);
  EXPECT_NE(error_of("1-8*1").find("never reaches its end"), std::string::npos);
  EXPECT_NE(error_of("0-8*2").find("never reaches its end"), std::string::npos);
  EXPECT_NE(error_of("1-8+0").find("never reaches its end"), std::string::npos);
  EXPECT_NE(error_of("512-128").find("ends before it begins"), std::string::npos);
  EXPECT_NE(error_of("0-1000000").find("over 10000 values"), std::string::npos);
  EXPECT_NE(error_of("5-").find("is not a number"), std::string::npos);
}

Record record_of(const LlamaTest& test, int32_t depth, double rate) {
  Record record;
  LlamaBenchFields& f = record.llama_bench;
  f.n_prompt = test.prompt_tokens();
  f.n_gen = test.new_tokens() - 1;
  f.n_depth = depth;
  f.build_commit = "abc";
  f.backends = "cpu";
  f.model_type = "llama 7.0M int8";
  f.model_filename = "it's, a \"model\"";
  f.model_size = 3 << 20;
  f.model_n_params = 7'000'000;
  f.n_threads = 2;
  f.avg_ts = rate;
  f.stddev_ts = 0.25;
  f.samples_ts = {rate};
  record.format = record.resident = "int8";
  return record;
}

std::string text_of(const std::vector<Record>& records, const char* form) {
  return llama_bench_text(llama_rows(records), form);
}

TEST(LlamaBench, TestsHaveItsNames) {
  EXPECT_EQ(llama_test_name({512, 0}, 0), "pp512");
  EXPECT_EQ(llama_test_name({0, 128}, 0), "tg128");
  EXPECT_EQ(llama_test_name({512, 128}, 0), "pp512+tg128");
  EXPECT_EQ(llama_test_name({0, 32}, 4096), "tg32 @ d4096");
}

TEST(LlamaBench, RecordsAreTheTestsThatTheirCasesStandFor) {
  for (const LlamaTest& test : {LlamaTest{512, 0}, {0, 128}, {0, 1}, {512, 128}}) {
    const std::vector<Record> records = {record_of(test, 0, 1)};
    EXPECT_EQ(llama_rows(records)[0].test, test);
  }
}

// One token of prompt and one that is generated cost the same step: the rows say what was asked.
TEST(LlamaBench, AOneTokenPromptIsShownAsItWasAskedFor) {
  const Record one = record_of({1, 0}, 0, 20), six = record_of({1, 5}, 0, 20);
  const std::vector<LlamaRow> rows = {{{1, 0}, &one}, {{0, 1}, &one}, {{1, 5}, &six}};
  const std::string table = llama_bench_text(rows, "md");
  for (const char* name : {"| pp1 |", "| tg1 |", "| pp1+tg5 |"}) {
    EXPECT_NE(table.find(name), std::string::npos) << name << table;
  }
  const auto json = nlohmann::json::parse(llama_bench_text(rows, "json"));
  EXPECT_EQ(json[0]["n_prompt"], 1);
  EXPECT_EQ(json[0]["n_gen"], 0);
  EXPECT_EQ(json[1]["n_prompt"], 0);
  EXPECT_EQ(json[1]["n_gen"], 1);
}

// A case of ours that stands for tg feeds as many single tokens as llama-bench's does.
TEST(LlamaBench, ATestOfGeneratingFeedsAsManyTokensAsItSays) {
  const LlamaTest tg{0, 128};
  EXPECT_EQ(tg.prompt_tokens() + tg.new_tokens() - 1, 128);
  const LlamaTest pg{512, 128};
  EXPECT_EQ(pg.prompt_tokens() + pg.new_tokens() - 1, 512 + 128);
}

TEST(LlamaBench, TheTableShowsOnlyColumnsThatVary) {
  std::vector<Record> records = {record_of({512, 0}, 0, 100.5), record_of({0, 128}, 0, 20.125)};
  EXPECT_EQ(text_of(records, "md"),
            "| model | size | params | backend | threads | test | t/s |\n"
            "| ------ | ---: | ---: | ------ | ---: | ---: | ---: |\n"
            "| llama 7.0M int8 | 3.00 MiB | 7.00 M | cpu | 2 | pp512 | 100.50 ± 0.25 |\n"
            "| llama 7.0M int8 | 3.00 MiB | 7.00 M | cpu | 2 | tg128 | 20.12 ± 0.25 |\n"
            "\nbuild: abc (0)\n");
  records[1].format = "int4";
  EXPECT_NE(text_of(records, "md").find("| format |"), std::string::npos);
}

TEST(LlamaBench, OnAGpuTheTableHasItsLayersAndNotTheThreads) {
  std::vector<Record> records = {record_of({512, 0}, 0, 1), record_of({0, 128}, 0, 1)};
  for (Record& record : records) {
    record.llama_bench.gpu_info = "NVIDIA H200";
    record.llama_bench.backends = "cuda";
  }
  EXPECT_TRUE(text_of(records, "md")
                  .starts_with("| model | size | params | backend | ngl | test | t/s |\n"
                               "| ------ | ---: | ---: | ------ | ---: | ---: | ---: |\n"
                               "| llama 7.0M int8 | 3.00 MiB | 7.00 M | cuda | 99 | pp512 |"))
      << text_of(records, "md");
  records[1].llama_bench.gpu_info.clear();
  EXPECT_NE(text_of(records, "md").find("| backend | ngl | threads | test |"), std::string::npos)
      << text_of(records, "md");
}

// What `lowbit bench ... -o sql | sqlite3 results.db` makes of it.
TEST(LlamaBench, SqlIsADatabaseThatKeepsEveryField) {
  const std::vector<Record> records = {record_of({512, 0}, 0, 100.5), record_of({0, 128}, 0, 20)};
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(":memory:", &database), SQLITE_OK);
  for (int runs = 0; runs < 2; ++runs) {  // a second run adds to the same table
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database, text_of(records, "sql").c_str(), nullptr, nullptr, &error),
              SQLITE_OK)
        << error;
  }
  std::vector<std::vector<std::string>> rows;
  const auto row = [](void* to, int count, char** cells, char**) {
    static_cast<decltype(rows)*>(to)->emplace_back(cells, cells + count);
    return 0;
  };
  sqlite3_exec(database,
               "SELECT model_filename, n_prompt, n_gen, avg_ts, cpu_strict, typeof(n_prompt), "
               "typeof(avg_ts) FROM llama_bench",
               row, &rows, nullptr);
  sqlite3_close(database);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0], (std::vector<std::string>{"it's, a \"model\"", "512", "0", "100.5", "0",
                                               "integer", "real"}));
  EXPECT_EQ(rows[3][2], "128");
}

TEST(LlamaBench, FieldsAreThoseOfLlamaBenchInItsOrder) {
  const std::vector<Record> records = {record_of({0, 128}, 0, 20.125)};
  const std::string csv = text_of(records, "csv");
  EXPECT_TRUE(csv.starts_with(
      "build_commit,build_number,cpu_info,gpu_info,backends,model_filename,model_type,model_size,"
      "model_n_params,n_batch,n_ubatch,n_threads,cpu_mask,cpu_strict,poll,type_k,type_v,"
      "n_gpu_layers,n_cpu_moe,split_mode,main_gpu,no_kv_offload,flash_attn,devices,tensor_split,"
      "tensor_buft_overrides,use_mmap,use_direct_io,embeddings,no_op_offload,no_host,repack,"
      "fit_target,fit_min_ctx,n_prompt,n_gen,n_depth,test_time,avg_ns,stddev_ns,avg_ts,stddev_ts"))
      << csv;
  EXPECT_NE(csv.find("\"it's, a \"\"model\"\"\""), std::string::npos) << csv;
  const std::string sql = text_of(records, "sql");
  EXPECT_NE(sql.find("CREATE TABLE IF NOT EXISTS llama_bench (\n  build_commit TEXT,"),
            std::string::npos);
  EXPECT_NE(sql.find("'it''s, a \"model\"'"), std::string::npos) << sql;
  const auto json = nlohmann::json::parse(text_of(records, "json"));
  EXPECT_EQ(json[0]["n_prompt"], 0);
  EXPECT_EQ(json[0]["n_gen"], 128);
  EXPECT_EQ(json[0]["samples_ts"][0], 20.125);
  EXPECT_EQ(nlohmann::json::parse(text_of(records, "jsonl")), json[0]);
}

TEST(LlamaBench, CasesThatDidNotRunAreNoRows) {
  std::vector<Record> records = {record_of({512, 0}, 0, 1)};
  records[0].status = Status::kFail;
  EXPECT_EQ(text_of(records, "json"), "[]\n");
}

// ---- The llama harness's record lines

constexpr const char* kOld =
    "20240906053447, tok/s= 26.75, mem/s= 707.01 GB/s, peak_mem=27.23 GB, model_size=26.43 GB "
    "quant: None, mod: Llama-2-7b-chat-hf, kv_quant: False, compile: False, compile_prefill: "
    "False, dtype: torch.float32, device: cuda repro: python generate.py --checkpoint_path "
    "../m/model.pth --cache_size 8192--kv_cache_quantization --max_new_tokens 100 ";

TEST(HarnessLine, OldLinesAreRead) {
  const HarnessLine line = parse_harness_line("x", kOld);
  EXPECT_EQ(line.stamp, "20240906053447");
  EXPECT_DOUBLE_EQ(line.tokens_per_second, 26.75);
  EXPECT_FALSE(line.ttft.has_value());
  EXPECT_DOUBLE_EQ(line.model_bytes, 26.43e9);
  EXPECT_EQ(line.dtype, "torch.float32");
  EXPECT_EQ(line.device, "cuda");
}

TEST(HarnessLine, WhatIsWrittenIsReadBack) {
  HarnessLine line = parse_harness_line("x", kOld);
  line.decode_tokens_per_second = 65.1;
  line.ttft = 0.021;
  line.quantization = "int8dq";
  line.sparsity = "semi-structured";
  line.kv_quantized = true;
  const HarnessLine again = parse_harness_line("y", harness_text(line));
  EXPECT_EQ(harness_text(again), harness_text(line));
  EXPECT_EQ(again.sparsity, "semi-structured");
  EXPECT_DOUBLE_EQ(*again.decode_tokens_per_second, 65.1);
  EXPECT_TRUE(again.kv_quantized);
}

TEST(HarnessLine, EachMissingPartIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"tok/s=", "tok/s"},     {" quant: ", "quant"}, {" kv_quant: ", "kv_quant"},
      {" device: ", "device"}, {" repro: ", "repro"}, {"peak_mem=", "peak_mem"}};
  for (const auto& [part, name] : cases) {
    std::string text = kOld;
    text.replace(text.find(part), std::string(part).size(), " ");
    try {
      parse_harness_line("x:3", text);
      ADD_FAILURE() << part;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).rfind("x:3: ", 0), 0u) << error.what();
    }
  }
}

TEST(HarnessLine, WordsAreQuotedForBash) {
  EXPECT_EQ(shell_quoted("int8wo"), "int8wo");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("a b"), "'a b'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("a\nb'"), "$'a\\x0ab\\''");
}

}  // namespace
}  // namespace lowbit
