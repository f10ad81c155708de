// Linears of up to eight tokens, or of a batch (batch.cuh), that follow each other in a captured
// step with no other op between them but, of one token, its attention: held back, so that one
// launch makes them all, until another op or the end of the capture needs what they write.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "cuda/tiles_args.h"

namespace lowbit::cuda {

using HeldOp = std::variant<LinearArgs, TokenAttention>;
// Ops that one launch can make.
struct ChainKind {
  void (*launch)(std::span<const HeldOp>, Stream) = nullptr;
  bool takes_attention = false;  // between Linears, the first op being one
  bool operator==(const ChainKind&) const = default;
};

// From here on, on this thread, Linears may be held back.
void begin_chains();
// Launches what is held back, and holds nothing back any more.
void end_chains(Stream stream);

// True: `linear` is held back, and launched along with those before it. False: outside of a
// capture.
bool add_to_chain(const ChainKind& kind, const LinearArgs& linear, Stream stream);
// The same; false too where what is held back cannot make it.
bool add_to_chain(const TokenAttention& attention);
// Launches what is held back; every other op calls it first.
void end_chain(Stream stream);

// Whether x of the first lies where the second writes y.
bool reads(const LinearArgs& l, const LinearArgs& writer);
// How each op of a chain of so many CTAs waits for those before it, by what they read and write,
// and where its numbers are posted; `ops` has the rest of it.
void plan_waits(std::span<ChainedOp> ops, std::span<const TokenAttention> attentions, int ctas);
// The memory that CTAs use to wait for each other.
void plan_meetings(ChainArgs& chain);
// plan_waits() and plan_meetings() of a chain that posts its numbers.
void plan_chain(ChainArgs& chain, std::span<const TokenAttention> attentions = {});

}  // namespace lowbit::cuda
