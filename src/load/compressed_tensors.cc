// compressed-tensors (llm-compressor, Red Hat, Neural Magic). What a module holds tells its format,
// so folders whose groups of modules differ need no matching of names:
//   pack-quantized    weight_packed [n, words] I32, `bits` a code, lowest first, q + 2^(bits-1);
//                     weight_zero_point the same along n [words, groups]; weight_scale
//   int-, float-, naive-quantized   weight [n, k] of I8 or F8_E4M3, weight_scale, perhaps
//                     weight_zero_point; mxfp8: weight_scale of U8, e8m0 for 32 columns
//   nvfp4-pack-quantized   weight_packed [n, k / 2] U8, even columns in the low halves,
//   weight_scale
//                     [n, k / 16] F8_E4M3; value = q s / weight_global_scale
//   mxfp4-pack-quantized   the same with weight_scale [n, k / 32] U8, e8m0
//   weight_g_idx      as GPTQ's g_idx
#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/text.h"
#include "load/packed_parts.h"

namespace lowbit {
namespace {

constexpr std::string_view kFormatNames[] = {
    "pack-quantized",       "int-quantized",        "float-quantized", "naive-quantized",
    "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized", "mixed-precision"};

void check_format_name(const Hyperparams& config) {
  const std::string format = config.text_or("format", "mixed-precision");
  if (std::find(std::begin(kFormatNames), std::end(kFormatNames), format) !=
      std::end(kFormatNames)) {
    return;
  }
  const std::vector<std::string> known(std::begin(kFormatNames), std::end(kFormatNames));
  config.fail("format",
              fmt::format("is `{}`; supported: {}", printable(format), join(known, ", ")));
}

class CompressedTensorsReader final : public QuantizedReader {
 public:
  explicit CompressedTensorsReader(const QuantizedFiles& files) : files_(files) {
    const Hyperparams& config = files.config;
    check_format_name(config);
    // Both change what the stored numbers mean.
    if (const auto sparsity = config.child("sparsity_config");
        sparsity && sparsity->text_or("format", "dense") != "dense") {
      sparsity->fail("format", "compressed sparse weights are not read; supported: dense");
    }
    if (const auto transform = config.child("transform_config");
        transform && !transform->keys().empty()) {
      config.fail("transform_config", "models whose weights were rotated are not supported");
    }
    const auto groups = config.child("config_groups");
    for (const std::string& name : groups ? groups->keys() : std::vector<std::string>()) {
      const auto group = groups->child(name);
      if (!group) continue;
      check_format_name(*group);
      rounds_activations_ |= group->has("input_activations");
      if (const auto weights = group->child("weights")) read_weights(*weights);
    }
  }

  QTensor outline(const std::string& module, int64_t n, int64_t k) const override {
    const PackedParts parts(files_, module);
    const StoredTensor* packed = parts.find("weight_packed");
    if (packed && packed->type == "U8") return {fp4_format(parts, n, k), n, k};
    if (packed) return {read_words(parts, n, k).format, n, k};
    if (is_mxfp8(parts)) return {mxfp8_format(parts, n, k), n, k};
    const ScaleGrid grid = read_scale_grid(parts, "weight_scale", n, k, blocks_);
    const StoredTensor* zeros = read_zero_points(parts, "weight_zero_point", grid);
    refuse_column_groups(parts, grid, k);
    parts.refuse({"weight_global_scale"}, "codes with one level of scales");
    return {byte_format(parts, "weight", grid, zeros, n, k), n, k};
  }

  QTensor tensor(const std::string& module, int64_t n, int64_t k) const override {
    const PackedParts parts(files_, module);
    const StoredTensor* packed = parts.find("weight_packed");
    if (packed && packed->type != "U8") return words_tensor(parts, n, k);
    const Format format = outline(module, n, k).format;
    if (packed) return fp4_tensor(parts, format, n, k);
    if (is_mxfp8(parts)) {
      QTensor tensor{format, n, k};
      tensor.codes = parts.find("weight")->data;
      tensor.scales = parts.find("weight_scale")->data;
      return tensor;
    }
    const ScaleGrid grid = read_scale_grid(parts, "weight_scale", n, k, blocks_);
    const StoredTensor* zeros = read_zero_points(parts, "weight_zero_point", grid);
    return byte_tensor(*parts.find("weight"), format, grid, zeros, n, k);
  }

  std::vector<std::string> remarks(const std::set<std::string>& modules) const override {
    int64_t decoded = 0;
    for (const std::string& module : modules) {
      const PackedParts parts(files_, module);
      const StoredTensor *columns = parts.find("weight_g_idx"),
                         *scales = parts.find("weight_scale");
      if (!columns || columns->shape.size() != 1 || !scales || scales->shape.size() != 2) continue;
      const int64_t k = columns->shape[0], groups = scales->shape[1];
      if (k < 1 || groups < 1 || k % groups != 0) continue;
      decoded += !read_column_groups(parts, "weight_g_idx", k, k / groups, groups).in_order;
    }
    std::vector<std::string> remarks = decoded_remark(decoded);
    if (rounds_activations_) {
      remarks.push_back(
          "the config asks for rounded activations; here only --format W+A rounds them");
    }
    if (files_.config.has("kv_cache_scheme")) {
      remarks.push_back("the config's kv_cache_scheme is not used; --kv-format chooses");
    }
    return remarks;
  }

 private:
  struct Words {
    const StoredTensor *codes, *zeros;  // zeros: null where codes are symmetric
    ScaleGrid grid;
    int bits;
    ColumnGroups columns;
    Format format;
  };

  void read_weights(const Hyperparams& weights) {
    const auto bits = static_cast<size_t>(weights.integer_or("num_bits", 8, 1, 32));
    if (bits < has_bits_.size()) has_bits_[bits] = true;
    const std::vector<int64_t> block = weights.integers_or("block_structure", 1, INT32_MAX);
    if (block.empty()) return;
    if (block != std::vector<int64_t>{128, 128}) {
      weights.fail("block_structure", "only blocks of [128, 128] are supported");
    }
    blocks_ = true;
  }

  // Zero points of 0 mean nothing; the tool writes them for symmetric codes too.
  static void refuse_others(const PackedParts& parts,
                            std::initializer_list<std::string_view> others,
                            std::string_view format) {
    parts.refuse(others, format);
    const StoredTensor* zeros = parts.find("weight_zero_point");
    if (zeros && !all_zero(*zeros)) parts.refuse({"weight_zero_point"}, format);
  }

  static bool is_mxfp8(const PackedParts& parts) {
    const StoredTensor* scale = parts.find("weight_scale");
    return scale && scale->type == "U8";
  }
  static Format mxfp8_format(const PackedParts& parts, int64_t n, int64_t k) {
    refuse_others(parts, {"weight_global_scale", "weight_g_idx"}, "mxfp8");
    parts.get("weight", {"F8_E4M3"}, {n, k});
    parts.get("weight_scale", {"U8"}, {n, (k + 31) / 32});
    return format_of(FormatId::kMxFp8);
  }

  static Format fp4_format(const PackedParts& parts, int64_t n, int64_t k) {
    if (k % 2 != 0) parts.fail("weight_packed", fmt::format("K = {} is odd", k));
    parts.get("weight_packed", {"U8"}, {n, k / 2});
    if (parts.get("weight_scale", {"U8", "F8_E4M3"}).type == "U8") {
      refuse_others(parts, {"weight", "weight_global_scale", "weight_g_idx"}, "mxfp4");
      parts.get("weight_scale", {"U8"}, {n, (k + 31) / 32});
      return format_of(FormatId::kMxFp4);
    }
    refuse_others(parts, {"weight", "weight_g_idx"}, "nvfp4");
    parts.get("weight_scale", {"F8_E4M3"}, {n, (k + 15) / 16});
    if (const double outer = parts.number("weight_global_scale"); !(outer > 0 && outer < 1e38)) {
      parts.fail("weight_global_scale", fmt::format("is {}, must be above 0", outer));
    }
    return format_of(FormatId::kNvFp4);
  }
  static QTensor fp4_tensor(const PackedParts& parts, const Format& format, int64_t n, int64_t k) {
    QTensor tensor{format, n, k};
    tensor.codes = parts.find("weight_packed")->data;
    tensor.scales = parts.find("weight_scale")->data;
    if (format.outer == Outer::kNone) return tensor;
    const float outer = 1 / static_cast<float>(parts.number("weight_global_scale"));
    std::byte* to = nullptr;
    tensor.outer = allocate_bytes(sizeof outer, &to);
    std::memcpy(to, &outer, sizeof outer);
    return tensor;
  }

  static void refuse_column_groups(const PackedParts& parts, const ScaleGrid& grid, int64_t k) {
    if (!parts.has("weight_g_idx") || grid.group == 0) return;
    if (!read_column_groups(parts, "weight_g_idx", k, grid.group, grid.columns).in_order) {
      parts.fail("weight_g_idx",
                 "groups that are not runs of columns are read for pack-quantized "
                 "weights only");
    }
  }

  Words read_words(const PackedParts& parts, int64_t n, int64_t k) const {
    parts.refuse({"weight", "weight_global_scale"}, "pack-quantized");
    const StoredTensor& codes = parts.get("weight_packed", {"I32"});
    int bits = 2;
    const auto fits = [&] {
      return has_bits_[static_cast<size_t>(bits)] &&
             codes.shape == std::vector<int64_t>{n, (k * bits + 31) / 32};
    };
    while (bits < 9 && !fits()) ++bits;
    if (bits == 9) {
      parts.fail("weight_packed",
                 fmt::format("has shape {}, which is no [{}, {}] in 2 to 8 bits as "
                             "config_groups have them",
                             shape_text(codes.shape), n, k));
    }
    if (parts.has("weight_shape")) {
      const StoredTensor& shape = parts.get("weight_shape", {"I64"}, {2});
      if (element<int64_t>(shape, 0) != n || element<int64_t>(shape, 1) != k) {
        parts.fail("weight_shape",
                   fmt::format("is [{}, {}], the model's hyperparameters ask for {}",
                               element<int64_t>(shape, 0), element<int64_t>(shape, 1),
                               shape_text({n, k})));
      }
    }
    const ScaleGrid grid = read_scale_grid(parts, "weight_scale", n, k, false);
    Words w{&codes, nullptr, grid, bits, {}, format_of(FormatId::kF32)};
    if (parts.has("weight_zero_point")) {
      if (grid.words.starts_with("tensor")) {
        parts.fail("weight_zero_point", "zero points for a whole tensor are not supported");
      }
      w.zeros = &parts.get("weight_zero_point", {"I32"}, {(n * bits + 31) / 32, grid.columns});
    }
    w.columns = read_column_groups(parts, "weight_g_idx", k, grid.group, grid.columns);
    if (!w.columns.in_order) return w;
    if (grid.words.starts_with("tensor") && bits != 8) {
      parts.fail("weight_scale",
                 fmt::format("one scale for a tensor of {} bits is not supported", bits));
    }
    w.format = parse_format(fmt::format("int{}-{}-{}", bits, w.zeros ? "asym" : "sym", grid.words));
    return w;
  }

  // Zero of a row and a group: through the words of a column, q + 2^(bits-1) as the codes.
  static uint32_t zero(const Words& w, int64_t row, int64_t group) {
    if (!w.zeros) return 1u << (w.bits - 1);
    uint32_t value = 0;
    for (int bit = 0; bit < w.bits; ++bit) {
      const int64_t at = row * w.bits + bit;
      const auto word = element<uint32_t>(*w.zeros, at / 32 * w.grid.columns + group);
      value |= (word >> at % 32 & 1u) << bit;
    }
    return value;
  }

  QTensor words_tensor(const PackedParts& parts, int64_t n, int64_t k) const {
    const Words w = read_words(parts, n, k);
    const auto load_row = [&](int64_t row, std::span<uint32_t> codes) {
      load_codes(w.codes->data.data.data() + row * (w.codes->shape[1] * 4), w.bits, codes);
    };
    const auto zero_of = [&](int64_t row, int64_t group) { return zero(w, row, group); };
    const auto scale_of = [&](int64_t row, int64_t group) {
      return float_element(*w.grid.scales, row * w.grid.columns + group);
    };
    if (!w.columns.in_order) return decode_groups(w.columns, n, k, load_row, zero_of, scale_of);
    const QTensorBuilder out = build_qtensor(w.format, n, k);
    const uint32_t flip = w.zeros ? 0 : 1u << (w.bits - 1);
    fill_codes(out, [&](int64_t row, std::span<uint32_t> codes) {
      load_row(row, codes);
      for (uint32_t& code : codes) code ^= flip;
    });
    fill_blocks(out, Plane::kScales, *w.grid.scales,
                [&](int64_t row, int64_t b) { return w.grid.index(w.format, row, b); });
    if (w.zeros) {
      fill_zeros(out, [&](int64_t row, int64_t b) {
        return zero(w, row, group_of_block(w.format, b, w.grid.group));
      });
    }
    release_pages(w.codes->data);
    return out.tensor;
  }

  QuantizedFiles files_;
  std::array<bool, 9> has_bits_{};
  bool blocks_ = false;
  bool rounds_activations_ = false;
};

}  // namespace

std::unique_ptr<QuantizedReader> open_compressed_tensors(const QuantizedFiles& files) {
  return std::make_unique<CompressedTensorsReader>(files);
}

}  // namespace lowbit
