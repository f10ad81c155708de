// AWQ as AutoAWQ writes it for its GEMM kernel. W is [n, k], value = (q - z) s.
//   qweight [k, n / 8] I32        eight rows of W in a word: nibble j is row kOrder[j] of them
//   qzeros  [groups, n / 8] I32   the same
//   scales  [groups, n]
#include <array>

#include "base/check.h"
#include "base/text.h"
#include "load/packed_parts.h"

namespace lowbit {
namespace {

// The nibble that holds row i of eight: the inverse of 0, 2, 4, 6, 1, 3, 5, 7.
constexpr std::array<int, 8> kNibble = {0, 4, 1, 5, 2, 6, 3, 7};

uint32_t nibble(const StoredTensor& words, int64_t word_row, int64_t row, int64_t n) {
  const auto word = element<uint32_t>(words, word_row * (n / 8) + row / 8);
  return word >> 4 * kNibble[static_cast<size_t>(row % 8)] & 0xf;
}

class AwqReader final : public QuantizedReader {
 public:
  explicit AwqReader(const QuantizedFiles& files) : files_(files) {
    const Hyperparams& config = files.config;
    if (const int64_t bits = config.integer("bits", 1, 32); bits != 4) {
      config.fail("bits", fmt::format("is {}; AWQ weights have 4", bits));
    }
    const std::string version = config.text_or("version", "gemm");
    if (version != "gemm" && version != "GEMM") {
      config.fail("version", fmt::format("is `{}`; supported: gemm. Convert it with AutoAWQ, or "
                                         "pass the original weights",
                                         printable(version)));
    }
    group_ = config.integer_or("group_size", 128, -1, INT32_MAX);
    if (group_ == 0) config.fail("group_size", "is 0, must be -1 (a whole row) or above 0");
  }

  QTensor outline(const std::string& module, int64_t n, int64_t k) const override {
    const PackedParts parts(files_, module);
    if (n % 8 != 0) parts.fail("qweight", fmt::format("{} rows are no multiple of 8", n));
    parts.refuse({"weight"}, "awq");
    const int64_t group = group_size(k), groups = (k + group - 1) / group;
    parts.get("qweight", {"I32"}, {k, n / 8});
    parts.get("qzeros", {"I32"}, {groups, n / 8});
    const StoredTensor& scales = parts.get("scales", kFloatTypes, {groups, n});
    const std::string block = group_ < 0 ? "row" : group_word(group, k);
    if (block.empty()) {
      files_.config.fail("group_size",
                         fmt::format("is {}; supported: multiples of 8, and -1", group_));
    }
    return {parse_format(fmt::format("int4-{}-asym-{}", block, scale_word(scales))), n, k};
  }

  QTensor tensor(const std::string& module, int64_t n, int64_t k) const override {
    const QTensorBuilder out = build_qtensor(outline(module, n, k).format, n, k);
    const Format& format = out.tensor.format;
    const PackedParts parts(files_, module);
    const StoredTensor &codes = *parts.find("qweight"), &zeros = *parts.find("qzeros");
    fill_codes(out, [&](int64_t row, std::span<uint32_t> to) {
      for (size_t i = 0; i < to.size(); ++i) {
        to[i] = nibble(codes, static_cast<int64_t>(i), row, n);
      }
    });
    const auto group = [&](int64_t b) { return group_of_block(format, b, group_size(k)); };
    fill_blocks(out, Plane::kScales, *parts.find("scales"),
                [&](int64_t row, int64_t b) { return group(b) * n + row; });
    fill_zeros(out, [&](int64_t row, int64_t b) { return nibble(zeros, group(b), row, n); });
    release_pages(codes.data);
    return out.tensor;
  }

  std::vector<std::string> remarks(const std::set<std::string>&) const override { return {}; }

 private:
  int64_t group_size(int64_t k) const { return group_ < 0 ? k : group_; }

  QuantizedFiles files_;
  int64_t group_ = 128;
};

}  // namespace

std::unique_ptr<QuantizedReader> open_awq(const QuantizedFiles& files) {
  return std::make_unique<AwqReader>(files);
}

}  // namespace lowbit
