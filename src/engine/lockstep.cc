#include "engine/lockstep.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "engine/stepper.h"
#include "formats/codec.h"
#include "ops/view.h"

namespace lowbit {
namespace {

// Outputs of one op: what the oracle wrote.
struct Recorded {
  std::string op;
  std::vector<QTensor> outputs;
};

// Copies what an op wrote on a device to a canonical tensor on the host, or back.
class Copier {
 public:
  explicit Copier(const Backend& backend) : backend_(backend) {}
  QTensor out(const OutBuffer& from) const {
    const QTensorBuilder host = build_qtensor(format_of(from.values), from.rows, from.cols);
    for_runs(host.tensor, from, [&](Plane plane, int64_t at, void* device, size_t bytes) {
      backend_.copy_out(host.plane(plane) + at, device, bytes, nullptr);
    });
    return host.tensor;
  }
  void in(const QTensor& host, const OutBuffer& to) const {
    for_runs(host, to, [&](Plane plane, int64_t at, void* device, size_t bytes) {
      backend_.copy_in(device, host.plane(plane).data.data() + at, bytes, nullptr);
    });
  }

 private:
  // body(plane, offset in the host's plane, device address, bytes) for what lies together on both.
  template <class Body>
  static void for_runs(const QTensor& host, const OutBuffer& buffer, const Body& body) {
    const Act& act = buffer.values;
    if (!host.format.quantized()) {
      const int64_t size = row_bytes(host.format, host.k), stride = row_bytes(host.format, act.ld);
      auto* row = static_cast<std::byte*>(act.data);
      for (int64_t r = 0; r < host.n; ++r, row += stride) {
        body(Plane::kCodes, r * size, row, static_cast<size_t>(size));
      }
      return;
    }
    body(Plane::kCodes, 0, act.data, host.codes.data.size());
    body(Plane::kScales, 0, act.scales, host.scales.data.size());
    body(Plane::kZeros, 0, act.zeros, host.zeros.data.size());
    body(Plane::kOuter, 0, act.outer, host.outer.data.size());
  }
  const Backend& backend_;
};

class Recorder final : public Trace {
 public:
  explicit Recorder(const Backend& backend) : copy_(backend) {}
  void begin(const OpTag&) override {}
  void end(const OpTag& tag, std::string_view, const OpCost& cost) override {
    Recorded entry{tag.text(), {}};
    for (const OutBuffer& out : cost.outputs) entry.outputs.push_back(copy_.out(out));
    entries_.push_back(std::move(entry));
  }
  std::vector<Recorded> take() { return std::exchange(entries_, {}); }

 private:
  Copier copy_;
  std::vector<Recorded> entries_;
};

// One row that an op wrote: [begin, begin + cols) of `values`.
struct Row {
  const std::vector<float>& values;
  int64_t begin, cols;
};

// Rounding differs by summation order only: a few f32 roundings at the scale of the row, plus one
// step of the output's own format, plus `rounding` where the kernel rounds its input.
// Codes of formats with scales are chosen from equal numbers and must be equal.
double tolerance(const Row& row, float value, FormatId format, double rounding) {
  double squares = 0;
  for (int64_t c = row.begin; c < row.begin + row.cols; ++c) {
    squares += double{row.values[static_cast<size_t>(c)]} * row.values[static_cast<size_t>(c)];
  }
  const double rms = std::sqrt(squares / static_cast<double>(row.cols));
  const double step = format == FormatId::kBF16 ? 0x1p-8 : format == FormatId::kF16 ? 0x1p-11 : 0;
  return (2e-5 + rounding) * (std::abs(value) + rms) + step * std::abs(value) + 1e-30;
}

class Comparer final : public Trace {
 public:
  Comparer(const Backend& backend, LockstepResult* result)
      : copy_(backend), backend_(backend), result_(result) {}
  void expect(std::vector<Recorded> expected) {
    expected_ = std::move(expected);
    next_ = 0;
  }
  void begin(const OpTag&) override {}
  void end(const OpTag& tag, std::string_view kernel, const OpCost& cost) override {
    LB_CHECK(next_ < expected_.size() && expected_[next_].op == tag.text(), "{}", tag.text());
    const Recorded& expected = expected_[next_++];
    LB_CHECK(expected.outputs.size() == cost.outputs.size());
    for (size_t i = 0; i < cost.outputs.size(); ++i) {
      const OutBuffer& out = cost.outputs[i];
      if (!result_->difference) compare(tag, kernel, out, expected.outputs[i]);
      copy_.in(expected.outputs[i], out);
    }
    if (!result_->difference) ++result_->ops;
  }

 private:
  // Of the output, for its input's u_x: twice that, or, where u_x is of the largest |x| of a block,
  // which of a thousand numbers is up to 32 times their root mean square, as often; and twice its
  // u_w. Of an attention: a weight is off by as much as its score, which is of size 32 at most.
  double rounding_of(std::string_view kernel, int64_t rows) const {
    if (kernel == "attention") {
      return backend_.u_attention ? 32 * backend_.u_attention(static_cast<int32_t>(rows)) : 0;
    }
    for (const LinearKernel& row : backend_.linear_kernels) {
      if (row.name == kernel) return (row.x_block > 1 ? 32 : 2) * row.u_x + 2 * row.u_w;
    }
    return 0;
  }
  void compare(const OpTag& tag, std::string_view kernel, const OutBuffer& out,
               const QTensor& expected_codes) {
    const std::vector<float> expected = decode_rows(expected_codes),
                             actual = decode_rows(copy_.out(out));
    const size_t count = expected.size();
    const double rounding = rounding_of(kernel, out.rows);
    for (size_t i = 0; i < count; ++i) {
      const auto row = static_cast<int64_t>(i) / out.cols;
      const double allowed =
          tolerance({expected, row * out.cols, out.cols}, expected[i], out.values.format, rounding);
      const double error = std::abs(double{actual[i]} - expected[i]) / allowed;
      if (error <= 1) {
        result_->worst = std::max(result_->worst, error);
      } else if (!(expected[i] == actual[i])) {  // also catches NaN
        result_->difference = {
            tag.text(),  std::string(kernel), row,    static_cast<int64_t>(i) % out.cols,
            expected[i], actual[i],           allowed};
        return;
      }
    }
  }

  Copier copy_;
  const Backend& backend_;
  LockstepResult* result_;
  std::vector<Recorded> expected_;
  size_t next_ = 0;
};

}  // namespace

std::string LockstepDifference::text() const {
  return fmt::format(
      "{} ({}) differs at row {}, column {}: expected {:.9g}, got {:.9g}, allowed {:.3g}", op,
      kernel, row, col, expected, actual, tolerance);
}

LockstepResult lockstep(const Model& oracle, const Backend& oracle_backend, const Model& tested,
                        const Backend& tested_backend, std::span<const int32_t> tokens,
                        int32_t step) {
  const StepperOptions options{.max_context = static_cast<int32_t>(tokens.size()),
                               .max_step_tokens = step};
  Stepper first(oracle, oracle_backend, options), second(tested, tested_backend, options);
  LockstepResult result;
  Recorder recorder(oracle_backend);
  Comparer comparer(tested_backend, &result);
  first.set_trace(&recorder);
  second.set_trace(&comparer);
  while (!tokens.empty() && !result.difference) {
    const size_t count = std::min(tokens.size(), static_cast<size_t>(step));
    const Chunk chunk{0, tokens.first(count), 1};
    first.step(std::span(&chunk, 1));
    comparer.expect(recorder.take());
    second.step(std::span(&chunk, 1));
    tokens = tokens.subspan(count);
  }
  return result;
}

}  // namespace lowbit
