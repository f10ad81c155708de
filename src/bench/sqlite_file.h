// Records in a SQLite file, for other tools to query:
//
//   results        one row per case: what was run and the median of every metric (a view)
//   cases          one row per case; `record` is its JSON line, all of it
//   measurements   case_id, tag, median, lo, hi, n
//   samples        case_id, tag, run, value: every repetition
//   kernels        case_id, linear, m_lo, m_hi, kernel
//   metrics        tag, title, unit, definition, better (higher, lower, neither)
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record.h"

struct sqlite3;

namespace lowbit {

// By its ending: .sqlite, .sqlite3 or .db.
bool is_sqlite_name(std::string_view path);

class SqliteFile {
 public:
  enum class Mode { kRead, kWrite };
  // kWrite makes the file and what it lacks of the tables above. Error: it cannot be opened, is no
  // database, or one that lowbit did not make; a newer schema.
  SqliteFile(const std::string& path, Mode mode);
  ~SqliteFile();
  SqliteFile(const SqliteFile&) = delete;
  SqliteFile& operator=(const SqliteFile&) = delete;

  // On disk, all of it or nothing, when it returns.
  void append(const Record& record);
  // In the order they were written.
  std::vector<Record> read() const;

 private:
  void run(const std::string& sql) const;
  void create() const;

  std::string path_;
  sqlite3* database_ = nullptr;
};

}  // namespace lowbit
