#include "load/lowbit_container.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/text.h"
#include "load/json.h"

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
  return fmt::format("{}.{}", tensor, name(plane));
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

std::map<std::string, Format> read_container_formats(const std::string& path,
                                                     const nlohmann::json& config) {
  const std::string where = path + ": quantization_config";
  const auto version = config.find("version");
  if (version == config.end() || !version->is_number_integer()) {
    throw_error("{}: version: is {}, expected a number", where,
                version == config.end() ? "absent" : describe(*version));
  }
  if (*version != kContainerVersion) {
    throw_error(
        "{}: version {} of the lowbit container; this program reads version {}: use the "
        "lowbit that wrote it, or quantize the model again",
        where, version->dump(), kContainerVersion);
  }
  const auto formats = config.find("formats");
  if (formats == config.end() || !formats->is_object()) {
    throw_error("{}: formats: must be an object that gives each quantized tensor its format",
                where);
  }
  std::map<std::string, Format> result;
  for (const auto& [tensor, format] : formats->items()) {
    if (!format.is_string()) {
      throw_error("{}: formats: {}: is {}, expected the name of a format", where,
                  printable(tensor, 200), describe(format));
    }
    result[tensor] =
        with_context(fmt::format("{}: formats: {}", where, printable(tensor, 200)),
                     [&text = format] { return parse_format(text.get<std::string>()); });
  }
  return result;
}

QTensor container_tensor(const std::string& where, const StoredTensors& tensors,
                         const std::string& tensor, const Format& format, int64_t n, int64_t k) {
  if (const std::string reason = cannot_take(format, n, k); !reason.empty()) {
    throw_error("{}: {}: [{}, {}] cannot be {}: {}", where, printable(tensor, 200), n, k,
                name(format), reason);
  }
  QTensor result{format, n, k};
  for (const Plane plane : kPlanes) {
    const PlaneShape shape = plane_shape(format, plane, n, k);
    if (shape.rows == 0) continue;
    const PlaneType type = plane_type(format, plane);
    const std::string stored_name = plane_name(tensor, plane);
    const auto at = tensors.find(stored_name);
    if (at == tensors.end()) {
      throw_error("{}: {}: is missing; {} needs it", where, printable(stored_name, 200),
                  name(format));
    }
    const StoredTensor& stored = at->second;
    const std::vector<int64_t> expected = {shape.rows, shape.row_bytes / type.bytes};
    if (stored.type != type.dtype || stored.shape != expected) {
      throw_error("{}: {}: is {} {}; {} of [{}, {}] needs {} {}", stored.file,
                  printable(stored_name, 200), printable(stored.type), shape_text(stored.shape),
                  name(format), n, k, type.dtype, shape_text(expected));
    }
    result.plane(plane) = stored.data;
  }
  return result;
}

}  // namespace lowbit
