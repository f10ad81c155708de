// Weights and inputs that the tests of quantizers share.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/rng.h"
#include "formats/codec.h"
#include "quantize/quantizer.h"

namespace lowbit::samples {

QTensor tensor_of(const std::vector<float>& values, int64_t n, int64_t k);

// Box-Muller: Rng::gaussian has shorter tails, which flatter every format.
std::vector<float> gaussian(int64_t count, float deviation, uint64_t seed);
std::vector<float> student_t5(int64_t count, float deviation, uint64_t seed);  // heavy tails

double sqnr_db(const std::vector<float>& w, const std::vector<float>& q);

// Inputs [rows, k] whose neighbours are correlated and whose channels differ in size.
std::vector<float> correlated_inputs(int64_t rows, int64_t k, uint64_t seed);
// The quantizers that are ours; those that follow another tool keep its edge cases too, and are
// compared with its own results (formats/golden_test.cc).
std::vector<const Quantizer*> our_quantizers();
InputStats stats_of(const std::vector<float>& x, int64_t rows, int64_t k);
InputStats identity_stats(int64_t k);

// Squared norm of (w - q) x^T over all rows.
double output_error(const std::vector<float>& w, const std::vector<float>& q,
                    const InputStats& stats);

bool same_planes(const QTensor& a, const QTensor& b);

}  // namespace lowbit::samples
