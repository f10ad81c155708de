#include "bench/sqlite_file.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/file.h"
#include "bench/metrics.h"
#include "bench/result_file.h"
#include "bench/sample_records.h"

namespace lowbit {
namespace {

class Database : public testing::Test {
 protected:
  ~Database() override { std::filesystem::remove(path_); }

  // What another tool would see: rows of cells as text.
  std::vector<std::vector<std::string>> query(const std::string& sql) const {
    std::vector<std::vector<std::string>> rows;
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    const auto row = [](void* out, int count, char** cells, char**) {
      auto& to = static_cast<std::vector<std::vector<std::string>>*>(out)->emplace_back();
      for (int i = 0; i < count; ++i) to.emplace_back(cells[i] ? cells[i] : "NULL");
      return 0;
    };
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), row, &rows, &error), SQLITE_OK) << error;
    sqlite3_free(error);
    sqlite3_close(database);
    return rows;
  }
  std::string error_of(SqliteFile::Mode mode) const {
    try {
      SqliteFile file(path_, mode);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  std::string path_ =
      (std::filesystem::temp_directory_path() / fmt::format("lowbit-{}.sqlite", ::getpid()))
          .string();
};

TEST_F(Database, GivesBackTheRecordsThatWereWritten) {
  const std::vector<Record> records = sample_records();
  for (const Record& record : records) SqliteFile(path_, SqliteFile::Mode::kWrite).append(record);
  EXPECT_EQ(SqliteFile(path_, SqliteFile::Mode::kRead).read(), records);
  EXPECT_EQ(read_records(path_), records);
}

TEST_F(Database, OtherToolsFindOneRowPerCaseWithEveryMetric) {
  SqliteFile file(path_, SqliteFile::Mode::kWrite);
  for (const Record& record : sample_records()) file.append(record);
  EXPECT_EQ(
      query("SELECT format, status, threads, kv_format, round(decode_tps), gpu FROM results "
            "WHERE model = 'prose' ORDER BY id"),
      (std::vector<std::vector<std::string>>{{"bf16", "ok", "2", "bf16", "976.0", "NULL"},
                                             {"int4", "ok", "2", "bf16", "650.0", "NULL"},
                                             {"q4_0", "ok", "2", "bf16", "976.0", "NULL"},
                                             {"f32", "skip", "2", "bf16", "NULL", "NULL"},
                                             {"int8", "fail", "2", "bf16", "976.0", "NULL"}}));
  EXPECT_EQ(query("SELECT count(*) FROM samples WHERE case_id = 1 AND tag = 'tpot'")[0][0], "6");
  EXPECT_EQ(query("SELECT kernel FROM kernels WHERE case_id = 2 AND m_lo = 1")[0][0],
            "cpu.gemv.int4.avx2");
  EXPECT_EQ(query("SELECT count(*) FROM metrics")[0][0], std::to_string(std::size(kMetrics)));
  EXPECT_EQ(query("SELECT unit, better FROM metrics WHERE tag = 'ttft'")[0],
            (std::vector<std::string>{"s", "lower"}));
  EXPECT_EQ(query("SELECT json_extract(record, '$.fingerprint.cpu') FROM cases LIMIT 1")[0][0],
            "Some CPU");
  EXPECT_TRUE(query("PRAGMA foreign_key_check").empty());
}

TEST_F(Database, ABenchResumesFromIt) {
  const Record record = sample_records()[0];
  { ResultFile(path_, /*resume=*/false).append(record); }
  ResultFile again(path_, /*resume=*/true);
  EXPECT_EQ(again.recover(), std::vector<Record>{record});
  again.append(sample_records()[1]);
  EXPECT_EQ(read_records(path_).size(), 2u);
}

TEST_F(Database, AWriterThatDiesLeavesNoPartOfACase) {
  SqliteFile(path_, SqliteFile::Mode::kWrite).append(sample_records()[0]);
  const pid_t child = ::fork();
  if (child == 0) {  // dies between a case and its measurements
    sqlite3* database = nullptr;
    sqlite3_open(path_.c_str(), &database);
    sqlite3_exec(database,
                 "PRAGMA cache_size = 1; BEGIN IMMEDIATE; DELETE FROM measurements;"
                 "DELETE FROM samples; DELETE FROM cases;",
                 nullptr, nullptr, nullptr);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(read_records(path_), std::vector<Record>{sample_records()[0]});
  EXPECT_NE(query("SELECT count(*) FROM measurements")[0][0], "0");
}

TEST_F(Database, WhatIsNotOursIsRefusedByName) {
  EXPECT_NE(error_of(SqliteFile::Mode::kRead).find("cannot be opened"), std::string::npos);
  std::ofstream(path_) << "this is no database, and longer than a header of one hundred bytes is: "
                          "so there is something to read in it";
  EXPECT_NE(error_of(SqliteFile::Mode::kRead).find("not a database"), std::string::npos);
  EXPECT_NE(error_of(SqliteFile::Mode::kWrite).find("not a database"), std::string::npos);
  std::filesystem::remove(path_);
  query("CREATE TABLE other(x)");
  EXPECT_NE(error_of(SqliteFile::Mode::kWrite).find("not one of lowbit"), std::string::npos);
  std::filesystem::remove(path_);
  SqliteFile(path_, SqliteFile::Mode::kWrite);
  query("PRAGMA user_version = 2");
  EXPECT_NE(error_of(SqliteFile::Mode::kWrite).find("has schema 2; this build knows 1"),
            std::string::npos);
}

TEST(DatabaseName, DecidesByTheEnding) {
  for (const char* path : {"a.sqlite", "b/a.sqlite3", "a.db"}) EXPECT_TRUE(is_sqlite_name(path));
  for (const char* path : {"a.jsonl", "sqlite", "a.sqlite.txt"}) EXPECT_FALSE(is_sqlite_name(path));
}

}  // namespace
}  // namespace lowbit
