// GPTQ as AutoGPTQ and GPTQModel write it. W is [n, k], value = (q - z) s.
//   qweight [k bits / 32, n] I32   codes along k, lowest bits first, through the words of a column
//   qzeros  [groups, n bits / 32]  the same along n; checkpoint_format gptq stores z - 1 (AutoGPTQ
//                                  adds the 1 and keeps `bits` bits), gptq_v2 stores z
//   scales  [groups, n]
//   g_idx   [k] I32                the group of each column; i / group_size unless desc_act
#include "base/check.h"
#include "base/text.h"
#include "load/packed_parts.h"

namespace lowbit {
namespace {

class GptqReader final : public QuantizedReader {
 public:
  explicit GptqReader(const QuantizedFiles& files) : files_(files) {
    const Hyperparams& config = files.config;
    bits_ = static_cast<int>(config.integer("bits", 1, 32));
    if (bits_ != 2 && bits_ != 3 && bits_ != 4 && bits_ != 8) {
      config.fail("bits", fmt::format("is {}; supported: 2, 3, 4, 8", bits_));
    }
    group_ = config.integer_or("group_size", -1, -1, INT32_MAX);
    if (group_ == 0) config.fail("group_size", "is 0, must be -1 (a whole row) or above 0");
    symmetric_ = config.boolean_or("sym", true);
    const std::string format = config.text_or("checkpoint_format", "gptq");
    if (format != "gptq" && format != "gptq_v2") {
      config.fail("checkpoint_format",
                  fmt::format("is `{}`; supported: gptq, gptq_v2. Convert it with GPTQModel, or "
                              "pass the original weights",
                              printable(format)));
    }
    zero_offset_ = format == "gptq" ? 1 : 0;
    if (config.boolean_or("is_marlin_format", false)) {
      config.fail("is_marlin_format", "weights in the order of the Marlin kernel are not read");
    }
    if (config.has("dynamic")) {
      config.fail("dynamic", "settings that differ between modules are not supported");
    }
  }

  QTensor outline(const std::string& module, int64_t n, int64_t k) const override {
    const Weight w = read(module, n, k);
    return {w.format, n, k};
  }

  QTensor tensor(const std::string& module, int64_t n, int64_t k) const override {
    const Weight w = read(module, n, k);
    const int64_t words = k * bits_ / 32;
    // The column of words of one row, then its codes.
    const auto load_row = [&](int64_t row, std::span<uint32_t> codes) {
      std::vector<uint32_t> column(static_cast<size_t>(words));
      for (int64_t i = 0; i < words; ++i) {
        column[static_cast<size_t>(i)] = element<uint32_t>(*w.codes, i * n + row);
      }
      load_codes(reinterpret_cast<const std::byte*>(column.data()), bits_, codes);
    };
    if (w.columns.in_order) return planes(w, n, k, load_row);
    const auto zero_of = [&](int64_t row, int64_t g) { return zero(*w.zeros, g, row, n); };
    const auto scale_of = [&](int64_t row, int64_t g) {
      return float_element(*w.scales, g * n + row);
    };
    QTensor tensor = decode_groups(w.columns, n, k, load_row, zero_of, scale_of);
    release_pages(w.codes->data);
    return tensor;
  }

  std::vector<std::string> remarks(const std::set<std::string>& modules) const override {
    int64_t decoded = 0;
    for (const std::string& module : modules) {
      const PackedParts parts(files_, module);
      const StoredTensor* columns = parts.find("g_idx");
      if (!columns || columns->shape.size() != 1) continue;
      const int64_t k = columns->shape[0];
      decoded += !read_column_groups(parts, "g_idx", k, group_size(k), groups(k)).in_order;
    }
    return decoded_remark(decoded);
  }

 private:
  struct Weight {
    const StoredTensor *codes, *zeros, *scales;
    ColumnGroups columns;
    Format format;
  };

  int64_t group_size(int64_t k) const { return group_ < 0 ? std::max<int64_t>(k, 1) : group_; }
  int64_t groups(int64_t k) const { return (k + group_size(k) - 1) / group_size(k); }

  uint32_t zero(const StoredTensor& zeros, int64_t group, int64_t row, int64_t n) const {
    const std::byte* packed = zeros.data.data.data() + group * (n * bits_ / 8);
    return (load_code(packed, bits_, row) + zero_offset_) & ((1u << bits_) - 1u);
  }

  Weight read(const std::string& module, int64_t n, int64_t k) const {
    const PackedParts parts(files_, module);
    if (k * bits_ % 32 != 0 || n * bits_ % 32 != 0) {
      parts.fail("qweight",
                 fmt::format("[{}, {}] in {} bits does not fill 32-bit words", n, k, bits_));
    }
    parts.refuse({"weight"}, "gptq");
    const int64_t groups = this->groups(k);
    Weight w{&parts.get("qweight", {"I32"}, {k * bits_ / 32, n}),
             &parts.get("qzeros", {"I32"}, {groups, n * bits_ / 32}),
             &parts.get("scales", kFloatTypes, {groups, n}),
             read_column_groups(parts, "g_idx", k, group_size(k), groups),
             format_of(FormatId::kF32)};
    if (!w.columns.in_order) return w;
    const std::string block = group_ < 0 ? "row" : group_word(group_size(k), k);
    if (block.empty()) {
      files_.config.fail("group_size",
                         fmt::format("is {}; supported: multiples of 8, and -1", group_));
    }
    bool middle = symmetric_;  // z = 2^(bits-1) throughout, as `sym` promises
    for (int64_t g = 0; g < groups && middle; ++g) {
      for (int64_t row = 0; row < n && middle; ++row) {
        middle = zero(*w.zeros, g, row, n) == 1u << (bits_ - 1);
      }
    }
    w.format = parse_format(fmt::format("int{}-{}-{}-{}", bits_, block, middle ? "sym" : "asym",
                                        scale_word(*w.scales)));
    return w;
  }

  template <class LoadRow>
  QTensor planes(const Weight& w, int64_t n, int64_t k, const LoadRow& load_row) const {
    const QTensorBuilder out = build_qtensor(w.format, n, k);
    const uint32_t flip = w.format.zero == Zero::kNone ? 1u << (bits_ - 1) : 0;
    fill_codes(out, [&](int64_t row, std::span<uint32_t> codes) {
      load_row(row, codes);
      for (uint32_t& code : codes) code ^= flip;  // q - 2^(bits-1) in two's complement
    });
    const auto group = [&](int64_t b) { return group_of_block(w.format, b, group_size(k)); };
    fill_blocks(out, Plane::kScales, *w.scales,
                [&](int64_t row, int64_t b) { return group(b) * n + row; });
    if (w.format.zero == Zero::kInt) {
      fill_zeros(out, [&](int64_t row, int64_t b) { return zero(*w.zeros, group(b), row, n); });
    }
    release_pages(w.codes->data);
    return out.tensor;
  }

  QuantizedFiles files_;
  int bits_ = 0;
  int64_t group_ = -1;
  bool symmetric_ = true;
  uint32_t zero_offset_ = 1;
};

}  // namespace

std::unique_ptr<QuantizedReader> open_gptq(const QuantizedFiles& files) {
  return std::make_unique<GptqReader>(files);
}

}  // namespace lowbit
