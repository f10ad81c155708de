// lowbit report: stored results as a page, a table, a spreadsheet or a database.
#include <filesystem>

#include "app/commands.h"
#include "app/options.h"
#include "app/output.h"
#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "bench/report.h"
#include "bench/report_html.h"
#include "bench/sqlite_file.h"

namespace lowbit {
namespace {

// A database is made beside the target and moved there: readers see the old or the new one.
void write_database(const std::string& path, const std::vector<Record>& records) {
  const std::string fresh = path + ".new.sqlite";
  std::error_code error;
  std::filesystem::remove(fresh, error);
  {
    SqliteFile file(fresh, SqliteFile::Mode::kWrite);
    for (const Record& record : records) file.append(record);
  }
  std::filesystem::rename(fresh, path, error);
  if (error) throw_error("{}: cannot be written: {}", printable(path, 300), error.message());
}

void write(const std::string& path, const std::vector<Record>& records) {
  check_can_write(path);
  const auto is = [&](std::string_view ending) { return path.ends_with(ending); };
  if (is_sqlite_name(path)) return write_database(path, records);
  std::string lines;
  for (const Record& record : records) lines += to_json_line(record) + "\n";
  if (is(".csv")) return write_file_atomically(path, report_csv(records));
  if (is(".jsonl")) return write_file_atomically(path, lines);
  const std::vector<Record> shown = fastest_first(records);
  if (is(".html") || is(".htm")) return write_file_atomically(path, report_html(shown));
  if (is(".svg")) return write_file_atomically(path, report_svg(shown));
  if (is(".md")) return write_file_atomically(path, report_markdown(shown));
  if (is(".txt")) return write_file_atomically(path, report_table(shown));
  throw_error(
      "-o {}: the ending says what is written: .html, .svg, .md, .csv, .sqlite, .jsonl or .txt",
      printable(path, 300));
}

}  // namespace

int cmd_report(const std::vector<std::string>& args) {
  std::vector<std::string> files, outputs;
  CommandLine line(
      "Stored results to look at.\n"
      "  lowbit report RESULTS.jsonl -o report.html   one page that opens offline\n"
      "  lowbit report A.jsonl B.sqlite -o all.csv    by its ending: .html .svg .md .csv "
      ".sqlite\n"
      "                                               .jsonl .txt; without -o the table\n"
      "RESULTS are files that `lowbit bench out=FILE` wrote; with\n"
      "~/.cache/lowbit/roofline.jsonl among them the page shows the machine's levels.",
      "report");
  line.add_option("RESULTS", files, "files of records", "FILE");
  line.add_option("-o,--output", outputs, "file to write; may be repeated", "FILE");
  if (!line.parse(args)) return 0;
  if (files.empty()) throw_error("no results are named; `lowbit bench out=FILE` writes them");
  std::vector<Record> records;
  for (const std::string& file : files) {
    for (Record& record : read_records(file)) records.push_back(std::move(record));
  }
  if (outputs.empty()) print(report_table(fastest_first(records)));
  for (const std::string& output : outputs) write(output, records);
  return 0;
}

}  // namespace lowbit
