#include "cuda/chain.h"

#include <utility>
#include <vector>

#include "cuda/runtime.h"
#include "cuda/tiles_args.h"
#include "cuda/workspace.h"

namespace lowbit::cuda {
namespace {

struct Pending {
  bool holds_back = false;
  ChainKind kind = {};
  std::vector<LinearArgs> linears = {};
};
thread_local Pending pending;

}  // namespace

void begin_chains() { pending = {.holds_back = true}; }

void end_chains(Stream stream) {
  end_chain(stream);
  pending.holds_back = false;
}

bool add_to_chain(const ChainKind& kind, const LinearArgs& linear, Stream stream) {
  if (!pending.holds_back) return false;
  if (!(pending.kind == kind) || pending.linears.size() == ChainArgs::kMost) end_chain(stream);
  pending.kind = kind;
  pending.linears.push_back(linear);
  return true;
}

void end_chain(Stream stream) {
  if (pending.linears.empty()) return;
  const std::vector<LinearArgs> linears = std::move(pending.linears);
  pending.linears.clear();
  if (linears.size() > 1) return pending.kind.several(linears, stream);
  const bool holds_back = std::exchange(pending.holds_back, false);
  pending.kind.alone(linears[0], tile_shape(linears[0].w, linears[0].n, linears[0].k), stream);
  pending.holds_back = holds_back;
}

uint64_t* chain_barrier() {
  static auto* const counter = static_cast<uint64_t*>(zeroed_workspace(sizeof(uint64_t)));
  return counter;
}

}  // namespace lowbit::cuda
