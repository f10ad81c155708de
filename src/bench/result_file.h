// The file that a bench appends to: JSON lines, one per finished case, or by its name a database
// (bench/sqlite_file.h). A process that is killed at any moment leaves whole cases; a last line
// without an end is never taken for one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/record.h"
#include "bench/sqlite_file.h"

namespace lowbit {

class ResultFile {
 public:
  // Creates `path` or checks that it holds records, and locks it against other writers. Error:
  // another kind of file, one that cannot be written, one that another bench writes to, and, unless
  // it is to be resumed, one whose last line has no end.
  ResultFile(const std::string& path, bool resume);
  ~ResultFile();
  ResultFile(const ResultFile&) = delete;
  ResultFile& operator=(const ResultFile&) = delete;

  // What is there, after cutting off a last line without an end. Error names the line.
  std::vector<Record> recover();

  // On disk when it returns.
  void append(const Record& record);

 private:
  std::string path_;
  int fd_ = -1;
  std::unique_ptr<SqliteFile> database_;  // then no fd_
};

}  // namespace lowbit
