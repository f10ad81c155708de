// What a machine can do at most, level by level: measured once, stored with its date, used by
// `lowbit roofline` and by every bench case.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/ceiling.h"
#include "bench/record.h"
#include "bench/work.h"
#include "ops/backend.h"

namespace lowbit {

// A cache, or the memory behind all of them.
struct Level {
  std::string name;   // "L2", "memory"
  int64_t bytes = 0;  // of all its instances that the threads use; 0: the memory
  double bytes_per_second = 0;
  bool operator==(const Level&) const = default;
};

// All of them.
struct Ceilings {
  std::vector<Level> levels;                  // smallest first, the memory last
  double float_flops = 0, integer_flops = 0;  // operations per second
  std::string measured;                       // UTC; "" if they were given and not measured
  std::vector<std::string> unstable = {};     // what disturbed the measurement
  double float8_flops = 0;                    // 0: the machine has no such products
  std::string gpu = {};                       // whose they are; "": the CPU's
  bool operator==(const Ceilings&) const = default;

  // The smallest level that holds a working set of so many bytes.
  const Level& level_of(double bytes) const;
  double& flops(Products products) { return this->*of(products); }
  double flops(Products products) const { return this->*of(products); }

 private:
  static double Ceilings::*of(Products products) {
    return products == Products::kInteger  ? &Ceilings::integer_flops
           : products == Products::kFloat8 ? &Ceilings::float8_flops
                                           : &Ceilings::float_flops;
  }
};

// The least time that the multiply-adds of `work` take, one kind after the other.
double compute_seconds(const Work& work, const Ceilings& ceilings);

// The data caches of `root` (/sys/devices/system/cpu), as `threads` threads on different cores see
// them, smallest first and without speeds; then the memory.
std::vector<Level> levels_of_host(const std::string& root, int threads);

// "" or how far the median pass of a level fell below the best one: on a machine that is left alone
// all passes are about as fast.
std::string spread_of(const std::string& level, const Ceiling& ceiling);

// Measures every level over a buffer of half its size (the memory: four times the last cache and
// at least 256 MiB); a device's cache over a quarter of its size, its memory over 4 GiB. `on_phase`
// hears what is measured. Takes about two seconds.
// What disturbed it (other processes, the hypervisor, heat, passes that differ) is in `unstable`.
Ceilings measure_ceilings(const Backend& backend,
                          const std::function<void(std::string_view)>& on_phase);

// As one record, kind "roofline", with the fingerprint of the machine and of its GPU if they are
// the GPU's; and back.
Record ceilings_record(const Ceilings& ceilings, const Fingerprint& machine);
Ceilings ceilings_of(const Record& record);

// Where results are kept: $XDG_CACHE_HOME/lowbit/roofline.jsonl, else below ~/.cache; "" without
// either.
std::string ceilings_path();

// The last stored result of this machine with as many threads, or of its GPU if the fingerprint
// names one, if there is one: of those that nothing disturbed, or if there are none of all.
std::optional<Ceilings> stored_ceilings(const std::string& path, const Fingerprint& machine);

// The same from ceilings_path(), nothing where the file cannot be read: `lowbit roofline` says what
// is wrong with it.
std::optional<Ceilings> known_ceilings(const Fingerprint& machine);

// Appends; creates the folder. Error: it cannot be written.
void store_ceilings(const std::string& path, const Record& record);

}  // namespace lowbit
