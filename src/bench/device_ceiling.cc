#include "bench/device_ceiling.h"

#include <algorithm>

#include "base/check.h"
#include "base/timer.h"
#include "bench/stats.h"

namespace lowbit {
namespace {

constexpr int64_t kLargest = int64_t{4} << 30;
constexpr double kPassBytes = 4e9;     // a timed pass reads about so much
constexpr double kPassSeconds = 1e-3;  // or takes so long: launches and marks cost microseconds
constexpr int64_t kUnit = 1024;

// Seconds that the stream takes for what `enqueue` leaves there.
template <class Enqueue>
double seconds_of(const DeviceApi& api, Stream stream, const Enqueue& enqueue) {
  constexpr double kEnqueued = 50e-6;  // before the clock starts: launching is not in its time
  Mark begin(api), end(api);
  api.hold(kEnqueued, stream);
  begin.record(stream);
  enqueue();
  end.record(stream);
  return begin.seconds_until(end);
}

Ceiling read_device(const Backend& backend, int64_t bytes, double seconds) {
  const DeviceApi& api = *backend.device;
  const Stream stream = stream_of(backend);
  const auto free = static_cast<int64_t>(api.memory().free);
  const int64_t size = std::max(std::min({bytes, kLargest, free / 4}) / kUnit, int64_t{1}) * kUnit;
  const DeviceBytes buffer = backend.allocate(static_cast<size_t>(size));
  const double wanted = kPassBytes / static_cast<double>(size);
  const auto repeats = static_cast<int32_t>(std::clamp(wanted, 1.0, 1e6));
  Ceiling ceiling{0, size};
  for (const DeviceRead read : api.reads) {
    std::vector<double> rates;
    const Timer total;
    while (rates.size() < 4 || total.seconds() < seconds / static_cast<double>(api.reads.size())) {
      bool can = true;
      const double pass = seconds_of(api, stream, [&] {
        can = read(buffer.data, static_cast<size_t>(size), repeats, stream);
      });
      if (!can) break;
      rates.push_back(static_cast<double>(size) * repeats / pass);
    }
    if (rates.empty()) continue;
    const double best = *std::max_element(rates.begin(), rates.end());
    if (best <= ceiling.bytes_per_second) continue;
    ceiling.bytes_per_second = best;
    ceiling.median = median(rates);
  }
  LB_CHECK(ceiling.bytes_per_second > 0, "{} reads nothing", backend.name);
  return ceiling;
}

double compute_device(const Backend& backend, Products products, double seconds) {
  const DeviceApi& api = *backend.device;
  const Stream stream = stream_of(backend);
  double best = 0;
  for (const DeviceBurst& burst : api.bursts) {
    if (burst.products != products) continue;
    int32_t rounds = 64;
    double operations = 0;
    const auto pass = [&] {
      return seconds_of(api, stream, [&] { operations = burst.run(rounds, stream); });
    };
    double taken = pass();
    if (operations == 0) continue;
    rounds = static_cast<int32_t>(std::clamp(rounds * kPassSeconds / taken, 64.0, 1e6));
    const Timer total;
    for (int i = 0; i < 4 || total.seconds() < seconds; ++i) {
      taken = pass();
      best = std::max(best, operations / taken);
    }
  }
  return best;
}

}  // namespace

Ceiling read_ceiling(const Backend& backend, int64_t bytes, double seconds) {
  LB_CHECK(bytes > 0, "{}", bytes);
  return backend.device ? read_device(backend, bytes, seconds) : read_ceiling(bytes, seconds);
}

double compute_ceiling(const Backend& backend, Products products, double seconds) {
  return backend.device ? compute_device(backend, products, seconds)
                        : compute_ceiling(products, seconds);
}

std::vector<Products> products_of(const Backend& backend) {
  if (!backend.device) return {Products::kFloat, Products::kInteger};
  std::vector<Products> products;
  for (const DeviceBurst& burst : backend.device->bursts) {
    if (std::find(products.begin(), products.end(), burst.products) == products.end()) {
      products.push_back(burst.products);
    }
  }
  return products;
}

}  // namespace lowbit
