#include "load/container.h"

#include <map>

#include "base/check.h"
#include "base/text.h"
#include "load/quantized.h"

namespace lowbit {
namespace {

// Type of the numbers of a plane, and their bytes.
struct PlaneType {
  std::string_view dtype;
  int64_t bytes;
};

PlaneType plane_type(const Format& f, Plane plane) {
  const bool like_scale =
      plane == Plane::kScales || (plane == Plane::kZeros && f.zero != Zero::kInt);
  const Scale scale = like_scale                                           ? f.scale
                      : plane == Plane::kOuter && f.outer == Outer::kSuper ? Scale::kF16
                      : plane == Plane::kOuter                             ? Scale::kF32
                                                                           : Scale::kNone;
  switch (scale) {
    case Scale::kF32:
      return {"F32", 4};
    case Scale::kF16:
      return {"F16", 2};
    case Scale::kBF16:
      return {"BF16", 2};
    default:
      return {"U8", 1};
  }
}

std::string plane_name(const std::string& tensor, Plane plane) {
  return fmt::format("{}_{}", tensor, name(plane));
}

}  // namespace

std::vector<SafetensorsEntry> plane_entries(const std::string& tensor, const Format& format,
                                            int64_t n, int64_t k) {
  std::vector<SafetensorsEntry> entries;
  for (const Plane plane : kPlanes) {
    const PlaneShape shape = plane_shape(format, plane, n, k);
    if (shape.rows == 0) continue;
    const PlaneType type = plane_type(format, plane);
    entries.push_back({plane_name(tensor, plane),
                       std::string(type.dtype),
                       {shape.rows, shape.row_bytes / type.bytes},
                       static_cast<int64_t>(shape.bytes())});
  }
  return entries;
}

namespace {

// What to do about a folder whose config.json and tensors disagree.
constexpr const char* kChanged =
    "; the config or the files were changed: put quantization_config.formats back as it was, or "
    "quantize the original model again";

class ContainerReader final : public QuantizedReader {
 public:
  explicit ContainerReader(const QuantizedFiles& files) : files_(files) {
    const int64_t version = files.config.integer("version", 0, INT64_MAX);
    if (version != kContainerVersion) {
      files.config.fail("version",
                        fmt::format("is {}; this program reads version {} of the lowbit container: "
                                    "use the lowbit that wrote it, or quantize the model again",
                                    version, kContainerVersion));
    }
    const auto formats = files.config.child("formats");
    if (!formats) files.config.fail("formats", "must give each quantized tensor its format");
    for (const std::string& tensor : formats->keys()) {
      const std::string text = formats->text(tensor);
      try {
        formats_[tensor] = parse_format(text);
      } catch (const Error& error) {
        formats->fail(tensor, error.what());
      }
      const std::string codes = plane_name(tensor, Plane::kCodes);
      if (!files.tensors.contains(codes)) {
        formats->fail(tensor, "the files hold no tensor " + printable(codes, 200) + kChanged);
      }
    }
  }

  QTensor outline(const std::string& module, int64_t n, int64_t k) const override {
    return {tensor(module, n, k).format, n, k};
  }

  QTensor tensor(const std::string& module, int64_t n, int64_t k) const override {
    const std::string name = module + "weight";
    const auto format = formats_.find(name);
    if (format == formats_.end()) files_.config.fail("formats", "lacks " + printable(name, 200));
    QTensor result{format->second, n, k};
    if (const std::string reason = cannot_take(result.format, n, k); !reason.empty()) {
      files_.config.fail("formats",
                         fmt::format("{}: [{}, {}] cannot be {}: {}", printable(name, 200), n, k,
                                     lowbit::name(result.format), reason));
    }
    if (files_.tensors.contains(name)) refuse(name, result.format);
    for (const Plane plane : kPlanes) {
      if (plane_shape(result.format, plane, n, k).rows > 0) {
        result.plane(plane) = read_plane(name, result, plane);
      } else if (files_.tensors.contains(plane_name(name, plane))) {
        refuse(plane_name(name, plane), result.format);
      }
    }
    return result;
  }

  std::vector<std::string> remarks(const std::set<std::string>&) const override { return {}; }

 private:
  // A tensor that `format` leaves out: reading on would give other numbers than were stored.
  [[noreturn]] void refuse(const std::string& tensor, const Format& format) const {
    throw_error("{}: {}: is not used by {}, the format that config.json names for this weight{}",
                files_.tensors.at(tensor).file, printable(tensor, 200), lowbit::name(format),
                kChanged);
  }

  // Views the file. Error: absent, or another type or shape than the format asks for.
  Bytes read_plane(const std::string& name, const QTensor& t, Plane plane) const {
    const PlaneShape shape = plane_shape(t.format, plane, t.n, t.k);
    const PlaneType type = plane_type(t.format, plane);
    const std::string part = plane_name(name, plane);
    const auto at = files_.tensors.find(part);
    if (at == files_.tensors.end()) {
      throw_error("{}: {}: is missing; {} needs it", files_.folder.path(), printable(part, 200),
                  lowbit::name(t.format));
    }
    const StoredTensor& stored = at->second;
    const std::vector<int64_t> expected = {shape.rows, shape.row_bytes / type.bytes};
    if (stored.type != type.dtype || stored.shape != expected) {
      throw_error("{}: {}: is {} {}; {} of [{}, {}] needs {} {}", stored.file, printable(part, 200),
                  printable(stored.type), shape_text(stored.shape), lowbit::name(t.format), t.n,
                  t.k, type.dtype, shape_text(expected));
    }
    return stored.data;
  }

  QuantizedFiles files_;
  std::map<std::string, Format> formats_;
};

}  // namespace

std::unique_ptr<QuantizedReader> open_container(const QuantizedFiles& files) {
  return std::make_unique<ContainerReader>(files);
}

}  // namespace lowbit
