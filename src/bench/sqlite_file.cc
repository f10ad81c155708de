#include "bench/sqlite_file.h"

#include <sqlite3.h>

#include "base/check.h"
#include "base/text.h"
#include "bench/metrics.h"

namespace lowbit {
namespace {

constexpr int kApplication = 0x6c6f7762;  // "lowb": what file(1) and we know our files by
constexpr int kSchema = 1;
constexpr int kPatience = 60'000;  // milliseconds that another writer may take

constexpr const char* kTables = R"sql(
CREATE TABLE IF NOT EXISTS cases(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
  unstable TEXT NOT NULL, model TEXT NOT NULL, asked_format TEXT NOT NULL, format TEXT NOT NULL,
  resident TEXT NOT NULL, device TEXT NOT NULL, threads INTEGER NOT NULL, kv_format TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, new_tokens INTEGER NOT NULL, random_weights INTEGER NOT NULL,
  quality_text TEXT, test_time TEXT NOT NULL, cpu TEXT NOT NULL, gpu TEXT,
  build_commit TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS measurements(
  case_id INTEGER NOT NULL REFERENCES cases(id), tag TEXT NOT NULL REFERENCES metrics(tag),
  median REAL NOT NULL, lo REAL NOT NULL, hi REAL NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY(case_id, tag)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS samples(
  case_id INTEGER NOT NULL REFERENCES cases(id), tag TEXT NOT NULL, run INTEGER NOT NULL,
  value REAL NOT NULL, PRIMARY KEY(case_id, tag, run)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kernels(
  case_id INTEGER NOT NULL REFERENCES cases(id), linear TEXT NOT NULL, m_lo INTEGER NOT NULL,
  m_hi INTEGER NOT NULL, kernel TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS metrics(
  tag TEXT PRIMARY KEY, title TEXT NOT NULL, unit TEXT NOT NULL, definition TEXT NOT NULL,
  better TEXT NOT NULL) WITHOUT ROWID;
DROP VIEW IF EXISTS results;
)sql";

// A statement with its parameters; each row by step().
class Statement {
 public:
  Statement(sqlite3* database, const std::string& path, const std::string& sql)
      : database_(database), path_(path) {
    if (sqlite3_prepare_v2(database, sql.c_str(), -1, &statement_, nullptr) != SQLITE_OK) fail();
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  template <class... Values>
  bool step_with(const Values&... values) {
    sqlite3_reset(statement_);
    int index = 0;
    (bind(++index, values), ...);
    return step();
  }
  bool step() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail();
    return code == SQLITE_ROW;
  }
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) const {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return {data ? data : "", static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  void bind(int index, int64_t value) { check(sqlite3_bind_int64(statement_, index, value)); }
  void bind(int index, int32_t value) { bind(index, int64_t{value}); }
  void bind(int index, bool value) { bind(index, int64_t{value}); }
  void bind(int index, double value) { check(sqlite3_bind_double(statement_, index, value)); }
  void bind(int index, std::string_view text) {
    check(sqlite3_bind_text(statement_, index, text.data(), static_cast<int>(text.size()),
                            SQLITE_TRANSIENT));
  }
  void bind(int index, const std::optional<std::string>& text) {
    if (text) return bind(index, std::string_view(*text));
    check(sqlite3_bind_null(statement_, index));
  }
  void check(int code) {
    if (code != SQLITE_OK) fail();
  }
  [[noreturn]] void fail() const {
    throw_error("{}: {}", printable(path_, 300), sqlite3_errmsg(database_));
  }

  sqlite3* database_;
  const std::string& path_;
  sqlite3_stmt* statement_ = nullptr;
};

constexpr std::string_view name_of(Better better) {
  constexpr std::string_view kNames[] = {"higher", "lower", "neither"};
  return kNames[static_cast<size_t>(better)];
}

// One column per metric: what spreadsheets and plots want.
std::string view_sql() {
  std::string sql =
      "CREATE VIEW results AS SELECT id, kind, status, reason, unstable, model, asked_format, "
      "format, resident, device, threads, kv_format, prompt_tokens, new_tokens, random_weights, "
      "quality_text, test_time, cpu, gpu, build_commit";
  for (const Metric& metric : kMetrics) {
    sql +=
        fmt::format(", (SELECT median FROM measurements WHERE case_id = id AND tag = '{0}') AS {0}",
                    metric.tag);
  }
  return sql + " FROM cases";
}

std::optional<std::string> or_null(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

}  // namespace

bool is_sqlite_name(std::string_view path) {
  return path.ends_with(".sqlite") || path.ends_with(".sqlite3") || path.ends_with(".db");
}

SqliteFile::SqliteFile(const std::string& path, Mode mode) : path_(path) {
  // Reading may have to undo what a killed writer left; a file that is write-protected is read as
  // it is.
  const int flags = SQLITE_OPEN_READWRITE | (mode == Mode::kWrite ? SQLITE_OPEN_CREATE : 0);
  const auto fail = [&](const std::string& reason) {
    sqlite3_close(database_);
    database_ = nullptr;
    throw_error("{}: {}", printable(path_, 300), reason);
  };
  if (sqlite3_open_v2(path.c_str(), &database_, flags, nullptr) != SQLITE_OK) {
    fail(std::string("cannot be opened: ") + sqlite3_errmsg(database_));
  }
  sqlite3_busy_timeout(database_, kPatience);
  try {
    const auto number = [&](const char* pragma) {
      Statement statement(database_, path_, pragma);
      statement.step();
      return statement.integer(0);
    };
    const int64_t application = number("PRAGMA application_id"),
                  schema = number("PRAGMA user_version");
    const bool empty = number("SELECT count(*) FROM sqlite_master") == 0;
    if (application != kApplication && !(empty && mode == Mode::kWrite)) {
      throw_error("{}: is a database, but not one of lowbit's results", printable(path_, 300));
    }
    if (schema > kSchema) {
      throw_error("{}: has schema {}; this build knows {}", printable(path_, 300), schema, kSchema);
    }
    if (mode == Mode::kWrite) create();
  } catch (const Error& error) {
    sqlite3_close(database_);
    database_ = nullptr;
    throw;
  }
}

SqliteFile::~SqliteFile() { sqlite3_close(database_); }

void SqliteFile::run(const std::string& sql) const {
  char* message = nullptr;
  if (sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, &message) == SQLITE_OK) return;
  const std::string reason = message ? message : "cannot be written";
  sqlite3_free(message);
  throw_error("{}: {}", printable(path_, 300), reason);
}

void SqliteFile::create() const {
  run(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};", kApplication, kSchema));
  run("BEGIN IMMEDIATE");
  run(kTables);
  run(view_sql());
  Statement metric(database_, path_, "INSERT OR REPLACE INTO metrics VALUES(?, ?, ?, ?, ?)");
  for (const Metric& m : kMetrics)
    metric.step_with(m.tag, m.title, m.unit, m.help, name_of(m.better));
  run("COMMIT");
}

void SqliteFile::append(const Record& record) {
  run("BEGIN IMMEDIATE");
  try {
    const LlamaBenchFields& f = record.llama_bench;
    const Fingerprint& print = record.fingerprint;
    std::string places = "INSERT INTO cases VALUES(NULL";
    for (int i = 0; i < 20; ++i) places += ", ?";
    Statement(database_, path_, places + ")")
        .step_with(std::string_view(record.kind), name(record.status),
                   std::string_view(record.reason), std::string_view(join(record.unstable, "; ")),
                   std::string_view(f.model_filename),
                   std::string_view(record.config_text("format")), std::string_view(record.format),
                   std::string_view(record.resident), std::string_view(print.device), print.threads,
                   std::string_view(f.type_k), f.n_prompt, f.n_gen + 1, record.random_weights,
                   record.quality ? or_null(record.quality->text) : std::nullopt,
                   std::string_view(f.test_time), std::string_view(print.cpu), or_null(print.gpu),
                   std::string_view(print.commit), std::string_view(to_json_line(record)));
    const int64_t id = sqlite3_last_insert_rowid(database_);
    Statement value(database_, path_, "INSERT INTO measurements VALUES(?, ?, ?, ?, ?, ?)");
    Statement sample(database_, path_, "INSERT INTO samples VALUES(?, ?, ?, ?)");
    for (const Value& v : record.values) {
      const std::string_view tag = v.tag;
      value.step_with(id, tag, v.estimate.median, v.estimate.lo, v.estimate.hi, v.estimate.n);
      for (size_t i = 0; i < v.samples.size(); ++i) {
        sample.step_with(id, tag, static_cast<int64_t>(i), v.samples[i]);
      }
    }
    Statement kernel(database_, path_, "INSERT INTO kernels VALUES(?, ?, ?, ?, ?)");
    for (const KernelChoice& k : print.kernels) {
      kernel.step_with(id, std::string_view(k.linear), k.m_lo, k.m_hi, std::string_view(k.kernel));
    }
  } catch (...) {
    sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
  run("COMMIT");
}

std::vector<Record> SqliteFile::read() const {
  std::vector<Record> records;
  Statement statement(database_, path_, "SELECT id, record FROM cases ORDER BY id");
  while (statement.step()) {
    records.push_back(
        parse_record(fmt::format("{}: case {}", path_, statement.integer(0)), statement.text(1)));
  }
  return records;
}

}  // namespace lowbit
