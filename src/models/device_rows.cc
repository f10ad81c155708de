#include "models/device_rows.h"

#include <cstring>
#include <vector>

#include "base/check.h"

namespace lowbit {
namespace {

Bytes bytes_of(const DeviceBytes& memory) {
  return {{static_cast<const std::byte*>(memory.data), memory.size}, memory.owner};
}

std::byte* writable(const Bytes& bytes) { return const_cast<std::byte*>(bytes.data.data()); }

// One row of a plane, `times` times.
void repeat(const Backend& backend, std::byte* to, const Bytes& row, int64_t times) {
  const size_t size = row.data.size();
  std::vector<std::byte> all(size * static_cast<size_t>(times));
  backend.copy_out(all.data(), row.data.data(), size, nullptr);
  for (size_t at = size; at < all.size(); at += size) std::memcpy(&all[at], all.data(), size);
  backend.copy_in(to, all.data(), all.size(), nullptr);
  backend.synchronize(nullptr);
}

}  // namespace

QTensor copy_to_device(const Backend& backend, const QTensor& host) {
  QTensor device{host.format, host.n, host.k};
  for (const Plane plane : kPlanes) {
    if (!host.plane(plane).data.empty()) {
      device.plane(plane) = bytes_of(backend.upload(host.plane(plane)));
    }
  }
  return device;
}

QTensor copy_to_host(const Backend& backend, const QTensor& device) {
  const QTensorBuilder host = build_qtensor(device.format, device.n, device.k);
  for (const Plane plane : kPlanes) {
    const Bytes& bytes = device.plane(plane);
    if (bytes.data.empty()) continue;
    backend.copy_out(host.plane(plane), bytes.data.data(), bytes.data.size(), nullptr);
  }
  return host.tensor;
}

QTensor turn_rows(const Backend& backend, const QTensor& device, int64_t by) {
  LB_CHECK(!device.format.quantized() || device.format.block.n <= 1);
  if (by % device.n == 0) return device;
  QTensor turned{device.format, device.n, device.k};
  for (const Plane plane : kPlanes) {
    const Bytes& from = device.plane(plane);
    const PlaneShape shape = plane_shape(device.format, plane, device.n, device.k);
    if (shape.rows != device.n) {
      turned.plane(plane) = from;  // shared by all rows
      continue;
    }
    const DeviceBytes to = backend.allocate(shape.bytes());
    const auto head = static_cast<size_t>(by % device.n * shape.row_bytes);
    backend.copy(to.data, from.data.data() + head, shape.bytes() - head);
    backend.copy(static_cast<std::byte*>(to.data) + (shape.bytes() - head), from.data.data(), head);
    turned.plane(plane) = bytes_of(to);
  }
  return turned;
}

QTensor stack_rows(const Backend& backend, std::span<const QTensor> parts) {
  QTensor stacked = stacked_outline(parts);
  if (parts.size() == 1) return parts[0];
  const Format& format = parts[0].format;
  LB_CHECK(!format.quantized() || format.block.n <= 1);
  for (const Plane plane : kPlanes) {
    const PlaneShape whole = plane_shape(stacked.format, plane, stacked.n, stacked.k);
    if (whole.bytes() == 0) continue;
    stacked.plane(plane) = bytes_of(backend.allocate(whole.bytes()));
    std::byte* to = writable(stacked.plane(plane));
    for (const QTensor& part : parts) {
      const Bytes& from = part.plane(plane);
      if (from.data.empty()) continue;
      const bool repeated = plane_shape(format, plane, part.n, part.k).rows != part.n;
      if (repeated) {
        repeat(backend, to, from, part.n);
      } else {
        backend.copy(to, from.data.data(), from.data.size());
      }
      to += part.n * whole.row_bytes;
    }
  }
  return stacked;
}

}  // namespace lowbit
