#include "cuda/chain.h"

#include <utility>
#include <vector>

#include "cuda/limits.h"
#include "cuda/runtime.h"
#include "cuda/tiles_args.h"
#include "cuda/workspace.h"

namespace lowbit::cuda {
namespace {

struct Pending {
  bool holds_back = false;
  LaunchChain launch = nullptr;
  std::vector<LinearArgs> linears = {};
};
thread_local Pending pending;

constexpr int32_t kMailAlign = 32;  // places

// Addresses from `first` up to `last`.
struct Range {
  uintptr_t first, last;
};
bool overlap(const Range& a, const Range& b) { return a.first < b.last && b.first < a.last; }

int32_t width_of_y(const LinearArgs& l) { return l.epilogue == Epilogue::kSiluMul ? l.n / 2 : l.n; }
Range x_of(const LinearArgs& l) {
  const auto first = reinterpret_cast<uintptr_t>(l.x.data);
  const auto numbers = static_cast<uintptr_t>((l.m - 1) * l.x.ld + l.k);
  return {first, first + (numbers * l.x.bits + 7) / 8};
}
Range y_of(const LinearArgs& l) {
  const auto first = reinterpret_cast<uintptr_t>(l.y);
  return {first, first + static_cast<uintptr_t>((l.m - 1) * l.ldy + width_of_y(l)) * sizeof(float)};
}
// Whether the same CTA makes every number that both write.
bool same_rows(const ChainedLinear& a, const ChainedLinear& b) {
  const LinearArgs &l = a.tile.linear, &r = b.tile.linear;
  return l.y == r.y && l.ldy == r.ldy && l.n == r.n && !l.w.paired && !r.w.paired;
}

// Lets `op` have x from the mail, if it can.
bool receive(ChainedLinear& op, ChainedLinear& writer, int32_t& places) {
  const LinearArgs &l = op.tile.linear, &from = writer.tile.linear;
  const bool rows = l.x.data == from.y && l.k <= width_of_y(from) && l.m == from.m &&
                    (l.m == 1 || l.x.ld == from.ldy);
  if (!op.tile.plain_x || !rows) return false;
  if (writer.y_place < 0) {
    writer.y_row = (width_of_y(from) + kMailAlign - 1) / kMailAlign * kMailAlign;
    if (places + writer.y_row * from.m > kMailPlaces) return false;
    writer.y_place = places;
    places += writer.y_row * from.m;
  }
  op.x_place = writer.y_place;
  op.x_row = writer.y_row;
  return true;
}

}  // namespace

void begin_chains() { pending = {.holds_back = true}; }

void end_chains(Stream stream) {
  end_chain(stream);
  pending.holds_back = false;
}

bool add_to_chain(LaunchChain launch, const LinearArgs& linear, Stream stream) {
  if (!pending.holds_back) return false;
  if (pending.launch != launch || pending.linears.size() == ChainArgs::kMost) end_chain(stream);
  pending.launch = launch;
  pending.linears.push_back(linear);
  return true;
}

void end_chain(Stream stream) {
  if (pending.linears.empty()) return;
  const std::vector<LinearArgs> linears = std::move(pending.linears);
  pending.linears.clear();
  pending.launch(linears, stream);
}

bool reads(const LinearArgs& l, const LinearArgs& writer) { return overlap(x_of(l), y_of(writer)); }

void plan_waits(std::span<ChainedLinear> ops, int ctas) {
  int32_t places = static_cast<int32_t>(ops.size()) * kMailAlign;
  size_t since = 0;  // the ops before this one have been waited for
  for (size_t i = 0; i < ops.size(); ++i) {
    ChainedLinear& op = ops[i];
    op.scales_place = static_cast<int32_t>(i) * kMailAlign;
    op.y_place = -1;
    ChainedLinear* writer = nullptr;  // of x, the last one
    for (size_t j = since; j < i; ++j) {
      if (reads(op.tile.linear, ops[j].tile.linear)) writer = &ops[j];
    }
    bool apart = true;  // from what the ops before read and write
    for (size_t j = since; j < i; ++j) {
      const bool finished =
          writer && (writer == &ops[j] || (writer > &ops[j] && writer->tile.shape.tiles >= ctas));
      const LinearArgs &l = op.tile.linear, &other = ops[j].tile.linear;
      const bool read = ops[j].wait != Wait::kMail && !finished && reads(other, l);
      const bool written = !same_rows(op, ops[j]) && overlap(y_of(l), y_of(other));
      apart = apart && !read && !written;
    }
    // Tokens are prepared in one place for all ops.
    const bool in_turn = !op.tile.prepared.x || i == 0 || (writer && writer == &ops[i - 1]);
    op.wait = !apart || !in_turn             ? Wait::kAll
              : !writer                      ? Wait::kNothing
              : receive(op, *writer, places) ? Wait::kMail
                                             : Wait::kAll;
    if (op.wait == Wait::kAll) since = i;
  }
}

void plan_meetings(ChainArgs& chain) {
  static const struct Memory {
    uint64_t* barrier = static_cast<uint64_t*>(filled_workspace(3 * sizeof(uint64_t), 0));
    float* places = static_cast<float*>(filled_workspace(2 * kMailPlaces * sizeof(float), 0xff));
  } memory;
  chain.barrier = memory.barrier;
  chain.staged = memory.barrier + 1;
  chain.mail = {memory.places, reinterpret_cast<uint32_t*>(memory.barrier + 2)};
}

void plan_chain(ChainArgs& chain) {
  plan_meetings(chain);
  const std::span ops(chain.ops, static_cast<size_t>(chain.count));
  plan_waits(ops, sm_count());
  for (const ChainedLinear& op : ops) chain.posts |= op.y_place >= 0 || op.tile.prepared.x;
}

}  // namespace lowbit::cuda
