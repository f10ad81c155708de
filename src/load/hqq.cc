// HQQ as transformers saves it. W [n, k] is cut into groups of g columns, R = n k / g of them, one
// row each of a matrix [R, g]; value = (q - zero) scale, one pair a group.
//   W_q    [ceil(R / c), g]   c groups in an element: U8 with c = 8 / bits, the groups r, r + R /
//   c,
//                             ... from the high bits down; 3 bits: I32 with c = 10
//   scale, zero [R, 1]        bits, group_size, axis ...: settings of the module, as tensors
#include "base/check.h"
#include "base/text.h"
#include "load/packed_parts.h"

namespace lowbit {
namespace {

class HqqReader final : public QuantizedReader {
 public:
  explicit HqqReader(const QuantizedFiles& files) : files_(files) {
    const auto config = files.config.child("quant_config");
    const auto weights = config ? config->child("weight_quant_params") : std::nullopt;
    if (!weights) return;  // modules may differ; each says what it is
    bits_ = weights->integer_or("nbits", 0, 0, 32);
    group_ = weights->integer_or("group_size", 0, 0, INT32_MAX);
    axis_ = weights->integer_or("axis", axis_, 0, 1);
  }

  QTensor outline(const std::string& module, int64_t n, int64_t k) const override {
    return {read(PackedParts(files_, module), n, k).format, n, k};
  }

  QTensor tensor(const std::string& module, int64_t n, int64_t k) const override {
    const PackedParts parts(files_, module);
    const Groups g = read(parts, n, k);
    const QTensorBuilder out = build_qtensor(g.format, n, k);
    const StoredTensor& packed = *parts.find("W_q");
    const int64_t per_row = k / g.size, step = packed.shape[0];
    const uint32_t mask = (1u << g.bits) - 1u;
    fill_codes(out, [&](int64_t row, std::span<uint32_t> codes) {
      for (int64_t b = 0; b < per_row; ++b) {
        const int64_t group = row * per_row + b;
        const auto shift = static_cast<int>(g.packed - 1 - group / step) * g.bits;
        for (int64_t i = 0; i < g.size; ++i) {
          const int64_t at = group % step * g.size + i;
          const uint32_t word =
              g.bits == 3 ? element<uint32_t>(packed, at) : uint32_t{element<uint8_t>(packed, at)};
          codes[static_cast<size_t>(b * g.size + i)] = word >> shift & mask;
        }
      }
    });
    const auto index = [&](int64_t row, int64_t b) {
      return row * per_row + group_of_block(g.format, b, g.size);
    };
    fill_blocks(out, Plane::kScales, *parts.find("scale"), index);
    fill_blocks(out, Plane::kZeros, *parts.find("zero"), index);
    release_pages(packed.data);
    return out.tensor;
  }

  std::vector<std::string> remarks(const std::set<std::string>&) const override { return {}; }

 private:
  struct Groups {
    int bits;
    int64_t packed;  // groups in an element of W_q
    int64_t size;    // columns of a group
    Format format;
  };

  static int64_t setting(const PackedParts& parts, std::string_view part, int64_t fallback) {
    return parts.has(part) ? static_cast<int64_t>(parts.number(part)) : fallback;
  }

  Groups read(const PackedParts& parts, int64_t n, int64_t k) const {
    const int64_t bits = setting(parts, "nbits", bits_);
    if (bits != 1 && bits != 2 && bits != 3 && bits != 4 && bits != 8) {
      parts.fail("W_q", fmt::format("nbits is {}; supported: 1, 2, 3, 4, 8", bits));
    }
    if (setting(parts, "axis", axis_) != 1) {
      parts.fail("W_q",
                 "axis is 0: groups lie along the rows, and no format here holds that; "
                 "quantize the original weights with axis = 1");
    }
    for (const char* meta : {"quant_scale", "quant_zero"}) {
      if (setting(parts, meta, 0) != 0) {
        parts.fail(meta, "scales or zeros that are quantized themselves are not supported");
      }
    }
    int64_t size = setting(parts, "group_size", group_);
    const bool rows = size <= 0;  // channel-wise
    if (rows) size = k;
    if (k % size != 0) {
      parts.fail("W_q", fmt::format("groups of {} do not divide K = {}", size, k));
    }
    const int64_t packed = bits == 3 ? 10 : 8 / bits, groups = n * (k / size);
    if (bits != 3 && groups % packed != 0) {
      parts.fail("W_q", fmt::format("{} groups cannot be packed by {}", groups, packed));
    }
    parts.refuse({"weight"}, "hqq");
    parts.get("W_q", {bits == 3 ? "I32" : "U8"}, {(groups + packed - 1) / packed, size});
    const StoredTensor& scale = parts.get("scale", kFloatTypes, {groups, 1});
    parts.get("zero", {scale.type}, {groups, 1});
    const std::string block = rows ? "row" : group_word(size, k);
    if (block.empty()) {
      parts.fail("W_q", fmt::format("groups of {}; supported: multiples of 8", size));
    }
    return {static_cast<int>(bits), packed, size,
            parse_format(fmt::format("int{}-{}-rzero-{}", bits, block, scale_word(scale)))};
  }

  QuantizedFiles files_;
  int64_t bits_ = 0, group_ = 0, axis_ = 1;
};

}  // namespace

std::unique_ptr<QuantizedReader> open_hqq(const QuantizedFiles& files) {
  return std::make_unique<HqqReader>(files);
}

}  // namespace lowbit
