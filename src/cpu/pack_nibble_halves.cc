#include "cpu/pack_nibble_halves.h"

#include <cstring>

#include "base/thread_pool.h"
#include "cpu/bodies.h"
#include "formats/codec.h"

namespace lowbit::cpu {
namespace {

constexpr int64_t kRunBytes = kRun / 2;

uint32_t nibble(const std::byte* bytes, int64_t i) { return load_code(bytes, 4, i); }

void put(std::byte* bytes, int64_t low, uint32_t code, uint32_t next) {
  bytes[low] = static_cast<std::byte>(code | (next << 4));
}

// Where code i of a run lies, as a nibble index: 2 j is the low half of byte j.
int64_t place(int64_t i) { return i < kRunBytes ? 2 * i : 2 * (i - kRunBytes) + 1; }

void pack_run(const std::byte* from, std::byte* to) {
  for (int64_t j = 0; j < kRunBytes; ++j) put(to, j, nibble(from, j), nibble(from, j + kRunBytes));
}

void unpack_run(const std::byte* from, std::byte* to) {
  for (int64_t j = 0; j < kRunBytes; ++j) {
    put(to, j, nibble(from, place(2 * j)), nibble(from, place(2 * j + 1)));
  }
}

// Applies `run` to every whole run of every row and copies the rest.
void convert(int64_t n, int64_t k, const std::byte* from, std::byte* to,
             void (*run)(const std::byte*, std::byte*)) {
  const int64_t stride = (k + 1) / 2, whole = k / kRun * kRunBytes;
  thread_pool().for_ranges(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const std::byte* in = from + row * stride;
      std::byte* out = to + row * stride;
      for (int64_t at = 0; at < whole; at += kRunBytes) run(in + at, out + at);
      std::memcpy(out + whole, in + whole, static_cast<size_t>(stride - whole));
    }
  });
}

void pack(const QTensor& t, std::byte* out) {
  convert(t.n, t.k, t.codes.data.data(), out, pack_run);
}

void unpack(const Format&, int64_t n, int64_t k, const std::byte* packed, std::byte* out) {
  convert(n, k, packed, out, unpack_run);
}

bool accepts(const Format& f) { return f.bits == 4 && !f.sparse24; }

}  // namespace

Packer nibble_halves_packer() {
  return {.layout = LayoutId::kNibbleHalves, .accepts = accepts, .pack = pack, .unpack = unpack};
}

}  // namespace lowbit::cpu
