// Runs the command line: in this process, or as the real binary.
#pragma once

#include <string>
#include <vector>

namespace lowbit::fixtures {

struct Outcome {
  int code = -1;  // of the process; 128 + signal if one ended it
  std::string out, err;
  long peak_bytes = 0;  // resident memory of the child process; 0 in this one
};

Outcome run_here(const std::vector<std::string>& args);

// `out`: where standard output goes instead of the result, if not empty ("/dev/full").
Outcome run_binary(const std::vector<std::string>& args, const std::string& out = "");

// A fresh folder below the temporary one, removed with its content at the end of the scope.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string write(const std::string& name, const std::string& content) const;  // the path

 private:
  std::string path_;
};

// As long as it lives, results of `lowbit roofline` are kept in a fresh folder.
class CeilingsFolder {
 public:
  CeilingsFolder();
  ~CeilingsFolder();
  CeilingsFolder(const CeilingsFolder&) = delete;
  CeilingsFolder& operator=(const CeilingsFolder&) = delete;
  const std::string& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
  std::string before_;
};

// Stores ceilings that nothing reaches, so that cases need not measure them.
void store_endless_ceilings();

}  // namespace lowbit::fixtures
