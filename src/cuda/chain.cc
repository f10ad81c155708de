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
  ChainKind kind = {};
  std::vector<HeldOp> ops = {};
};
thread_local Pending pending;

constexpr int32_t kMailAlign = 32;  // places

// Numbers that an op reads as x or writes as y: [m, width], rows `ld` apart.
struct Numbers {
  const void* data;
  int64_t ld;
  int32_t m, width, bits;
};
bool overlap(const Numbers& a, const Numbers& b) {
  const auto first = [](const Numbers& n) { return reinterpret_cast<uintptr_t>(n.data); };
  const auto last = [&](const Numbers& n) {
    return first(n) + static_cast<uintptr_t>(((n.m - 1) * n.ld + n.width) * n.bits + 7) / 8;
  };
  return first(a) < last(b) && first(b) < last(a);
}

Numbers x_of(const LinearArgs& l) { return {l.x.data, l.x.ld, l.m, l.k, l.x.bits}; }
Numbers y_of(const LinearArgs& l) {
  return {l.y, l.ldy, l.m, l.epilogue == Epilogue::kSiluMul ? l.n / 2 : l.n, 32};
}
Numbers x_of(const TokenAttention& a) {
  const int32_t width = (a.heads + 2 * a.kv_heads) * a.head_dim;
  return {a.qkv, width, 1, width, 32};
}
Numbers y_of(const TokenAttention& a) {
  const int32_t width = a.heads * a.head_dim;
  return {a.out, width, 1, width, 32};
}

// What an op reads and writes, and what of it takes x from the mail or gives every CTA a part.
struct Role {
  Numbers x, y;
  const LinearArgs* linear;  // null of an attention
  bool receives, everybodys;
};
Role role_of(const ChainedOp& op, std::span<const TokenAttention> attentions, int ctas) {
  if (op.attention >= 0) {
    const TokenAttention& a = attentions[static_cast<size_t>(op.attention)];
    return {x_of(a), y_of(a), nullptr, true, false};
  }
  const LinearArgs& l = op.tile.linear;
  return {x_of(l), y_of(l), &l, op.tile.plain_x, op.tile.shape.tiles >= ctas};
}
// Whether the same CTA makes every number that both write.
bool same_rows(const Role& a, const Role& b) {
  if (a.y.data != b.y.data || a.y.ld != b.y.ld || !a.linear != !b.linear) return false;
  if (!a.linear) return a.y.width == b.y.width && a.x.width == b.x.width;  // of heads alike
  return a.linear->n == b.linear->n && !a.linear->w.paired && !b.linear->w.paired;
}

// Lets `op` have x from the mail, if it can.
bool receive(ChainedOp& op, const Numbers& x, ChainedOp& writer, const Numbers& y,
             int32_t& places) {
  const bool rows =
      x.data == y.data && x.width <= y.width && x.m == y.m && (x.m == 1 || x.ld == y.ld);
  if (!rows) return false;
  if (writer.y_place < 0) {
    writer.y_row = (y.width + kMailAlign - 1) / kMailAlign * kMailAlign;
    if (places + writer.y_row * y.m > kMailPlaces) return false;
    writer.y_place = places;
    places += writer.y_row * y.m;
  }
  op.x_place = writer.y_place;
  op.x_row = writer.y_row;
  return true;
}

// Whether all attentions of a chain may look up the same pages once.
bool same_pages(const TokenAttention& a, const TokenAttention& b) {
  return a.pos == b.pos && a.slot == b.slot && a.page_table == b.page_table &&
         a.max_pages == b.max_pages && a.log_page_tokens == b.log_page_tokens;
}

}  // namespace

void begin_chains() { pending = {.holds_back = true}; }

void end_chains(Stream stream) {
  end_chain(stream);
  pending.holds_back = false;
}

bool add_to_chain(const ChainKind& kind, const LinearArgs& linear, Stream stream) {
  if (!pending.holds_back) return false;
  if (pending.kind != kind || pending.ops.size() == ChainArgs::kMost) end_chain(stream);
  pending.kind = kind;
  pending.ops.push_back(linear);
  return true;
}

bool add_to_chain(const TokenAttention& attention) {
  if (pending.ops.empty() || !pending.kind.takes_attention) return false;
  if (pending.ops.size() == ChainArgs::kMost) return false;
  int count = 0;
  for (const HeldOp& op : pending.ops) {
    const auto* before = std::get_if<TokenAttention>(&op);
    if (!before) continue;
    if (!same_pages(*before, attention)) return false;
    ++count;
  }
  if (count == TokenAttentions::kMost) return false;
  pending.ops.push_back(attention);
  return true;
}

void end_chain(Stream stream) {
  if (pending.ops.empty()) return;
  const std::vector<HeldOp> ops = std::move(pending.ops);
  pending.ops.clear();
  pending.kind.launch(ops, stream);
}

bool reads(const LinearArgs& l, const LinearArgs& writer) { return overlap(x_of(l), y_of(writer)); }

void plan_waits(std::span<ChainedOp> ops, std::span<const TokenAttention> attentions, int ctas) {
  std::vector<Role> roles;
  for (const ChainedOp& op : ops) roles.push_back(role_of(op, attentions, ctas));
  std::vector<size_t> writers(ops.size());
  int32_t places = static_cast<int32_t>(ops.size()) * kMailAlign;
  size_t since = 0;  // the ops before this one have been waited for
  for (size_t i = 0; i < ops.size(); ++i) {
    ChainedOp& op = ops[i];
    const Role& role = roles[i];
    op.scales_place = static_cast<int32_t>(i) * kMailAlign;
    op.y_place = -1;
    size_t writer = i;  // of x, the last one; i: none
    for (size_t j = since; j < i; ++j) {
      if (overlap(role.x, roles[j].y)) writer = j;
    }
    writers[i] = writer;
    // Whether who has all of what op w writes knows that every CTA has read the x of op j.
    const auto proves = [&](size_t w, size_t j) {
      return w < i && (w == j || (w > j && roles[w].everybodys));
    };
    bool apart = true;  // from what the ops before read and write
    for (size_t j = since; j < i; ++j) {
      // A Linear has all of its x before it writes; all that an attention made took all of qkv.
      const bool of_attention = writer < i && !roles[writer].linear &&
                                ops[writer].wait == Wait::kMail && proves(writers[writer], j);
      const bool finished = role.linear && (proves(writer, j) || of_attention);
      const bool read = ops[j].wait != Wait::kMail && !finished && overlap(roles[j].x, role.y);
      const bool written = !same_rows(role, roles[j]) && overlap(role.y, roles[j].y);
      apart = apart && !read && !written;
    }
    // Tokens are prepared in one place for all ops.
    const bool in_turn = !op.tile.prepared.x || i == 0 || writer == i - 1;
    const auto by_mail = [&] {
      return role.receives && receive(op, role.x, ops[writer], roles[writer].y, places);
    };
    op.wait = !apart || !in_turn ? Wait::kAll
              : writer == i      ? Wait::kNothing
              : by_mail()        ? Wait::kMail
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

void plan_chain(ChainArgs& chain, std::span<const TokenAttention> attentions) {
  plan_meetings(chain);
  const std::span ops(chain.ops, static_cast<size_t>(chain.count));
  plan_waits(ops, attentions, sm_count());
  for (const ChainedOp& op : ops) chain.posts |= op.y_place >= 0 || op.tile.prepared.x;
}

}  // namespace lowbit::cuda
