// Prints MB/s of encode and decode on one thread, by CPU time, so that a busy machine gives the
// same figures as an idle one; not a test.
//   lowbit_tokenizer_bench FOLDER_OR_FILE TEXT [RUNS]
// FOLDER_OR_FILE: a model folder, or one tokenizer file in any folder.
#include <fmt/core.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "tokenizer/spec.h"

namespace lowbit {
namespace {

std::unique_ptr<Tokenizer> open_any(const std::string& path) {
  if (is_directory(path)) {
    auto tokenizer = load_tokenizer(*open_folder(path));
    if (!tokenizer) throw_error("{}: no tokenizer in this folder", path);
    return tokenizer;
  }
  const Bytes bytes = map_file(path);
  if (path.ends_with(".json")) return make_bpe_tokenizer(parse_tokenizer_json(path, bytes.text()));
  if (path.ends_with(".tiktoken")) return make_bpe_tokenizer(parse_tiktoken(path, bytes.text()));
  return make_spm_tokenizer(parse_sentencepiece(path, bytes.text()));
}

double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

template <class Body>
double median_seconds(int runs, const Body& body) {
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) {
    const double start = cpu_seconds();
    body();
    seconds.push_back(cpu_seconds() - start);
  }
  std::nth_element(seconds.begin(), seconds.begin() + runs / 2, seconds.end());
  return seconds[static_cast<size_t>(runs / 2)];
}

void measure(const std::string& path, const std::string& text_path, int runs) {
  const double start = cpu_seconds();
  const auto tokenizer = open_any(path);
  const double load = cpu_seconds() - start;
  const Bytes file = map_file(text_path);
  const std::string text(file.text());
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  std::vector<int32_t> ids;
  std::string decoded;
  const double encode = median_seconds(runs, [&] { ids = tokenizer->encode(text); });
  const double decode = median_seconds(runs, [&] { decoded = tokenizer->decode(ids); });
  fmt::print("{}: load {:.0f} ms, encode {:.1f} MB/s, decode {:.0f} MB/s, {} tokens, {}\n",
             tokenizer->describe(), load * 1e3, megabytes / encode, megabytes / decode, ids.size(),
             decoded == text ? "round trip equal" : "round trip differs");
}

}  // namespace
}  // namespace lowbit

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: {} FOLDER_OR_FILE TEXT [RUNS]\n", argv[0]);
    return 2;
  }
  try {
    const auto runs = argc > 3 ? lowbit::parse_int(argv[3]).value_or(0) : 15;
    if (runs < 1 || runs > 10000) lowbit::throw_error("RUNS must be from 1 to 10000");
    lowbit::measure(argv[1], argv[2], static_cast<int>(runs));
  } catch (const lowbit::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
