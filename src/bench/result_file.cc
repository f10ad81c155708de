#include "bench/result_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"

namespace lowbit {
namespace {

// What every line of ours starts with.
constexpr std::string_view kStart = "{\"schema_version\":";

// Whether records may be appended to what is there: nothing yet, or lines of JSON.
bool takes_records(std::string_view content, bool resume) {
  if (content.empty()) return true;
  const size_t end = content.find('\n');
  const bool whole = content.back() == '\n';
  if (!whole && !resume) return false;
  if (end == std::string_view::npos) {  // killed while it wrote the first line
    return content.starts_with(kStart) || kStart.starts_with(content);
  }
  return content.front() == '{' && nlohmann::json::accept(content.substr(0, end));
}

}  // namespace

ResultFile::ResultFile(const std::string& path, bool resume) : path_(path) {
  const std::string shown = printable(path, 300);
  if (is_sqlite_name(path)) {
    database_ = with_context(
        "out", [&] { return std::make_unique<SqliteFile>(path, SqliteFile::Mode::kWrite); });
    return;
  }
  if (file_exists(path) && !takes_records(map_file(path).text(), resume)) {
    throw_error("out = {}: is not a file of JSON lines; name a new file or one that bench wrote",
                shown);
  }
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw_error("out = {}: cannot be written: {}", shown, std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(fd_);
    throw_error("out = {}: another bench is writing to it; wait for it or name another file",
                shown);
  }
}

ResultFile::~ResultFile() {
  if (fd_ >= 0) ::close(fd_);
}

std::vector<Record> ResultFile::recover() {
  if (database_) return database_->read();
  std::vector<Record> records;
  const Bytes file = map_file(path_);
  const std::string_view text = file.text();
  size_t begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != std::string_view::npos; begin = end + 1) {
    const std::string where = fmt::format("{}:{}", path_, records.size() + 1);
    records.push_back(parse_record(where, text.substr(begin, end - begin)));
  }
  if (begin < text.size() && ::ftruncate(fd_, static_cast<off_t>(begin)) != 0) {
    throw_error("{}: its last line has no end and cannot be cut off: {}", path_,
                std::strerror(errno));
  }
  return records;
}

void ResultFile::append(const Record& record) {
  if (database_) return database_->append(record);
  const std::string line = to_json_line(record) + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t n = ::write(fd_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_error("{}: cannot be written: {}", path_, std::strerror(errno));
    done += static_cast<size_t>(n);
  }
  ::fdatasync(fd_);
}

}  // namespace lowbit
