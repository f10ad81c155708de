// What is done to the weights of a whole model before a quantizer chooses codes of single tensors
// (models/rotation.h, pruning.h, awq.h), in this order.
#pragma once

#include <string>
#include <string_view>

namespace lowbit {

// Blocks of feed-forward matrices that are zero (models/pruning.h).
struct BlockSparsity {
  double level = 0;   // share of the blocks, below 1; 0: none
  int32_t block = 0;  // rows and columns of one
  constexpr bool operator==(const BlockSparsity&) const = default;
};

struct Preparation {
  bool rotate = false;  // SpinQuant: the residual stream and what heads keep are turned
  BlockSparsity prune = {};
  bool awq = false;  // scales move to the columns that read large inputs: needs calibration

  constexpr bool any() const { return *this != Preparation{}; }
  constexpr bool operator==(const Preparation&) const = default;
};

// "spinquant+bsr-0.9-64+awq"; "" where nothing is done. parse_preparation(name(p)) == p.
std::string name(const Preparation& preparation);

// "bsr-0.9-64": blocks of 64 x 64, nine of ten zero. Error for one that is out of range.
BlockSparsity parse_block_sparsity(std::string_view text);

// Error with suggestions for an unknown name.
Preparation parse_preparation(std::string_view text);

}  // namespace lowbit
