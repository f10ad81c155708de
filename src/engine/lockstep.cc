#include "engine/lockstep.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "engine/stepper.h"
#include "formats/codec.h"

namespace lowbit {
namespace {

// Outputs of one op, decoded: what the oracle wrote.
struct Recorded {
  std::string op;
  std::vector<std::vector<std::byte>> raw;  // as stored, dense [rows, cols]
};

size_t row_size(const OutBuffer& out) {
  return static_cast<size_t>(row_bytes(format_of(out.format), out.cols));
}

// Copies a strided device buffer to dense host rows, or back.
class RowCopier {
 public:
  explicit RowCopier(const Backend& backend) : backend_(backend) {}
  std::vector<std::byte> out(const OutBuffer& from) const {
    std::vector<std::byte> dense(static_cast<size_t>(from.rows) * row_size(from));
    for (int64_t r = 0; r < from.rows; ++r) {
      backend_.copy_out(&dense[r * row_size(from)], at(from, r), row_size(from), nullptr);
    }
    return dense;
  }
  void in(const std::vector<std::byte>& dense, const OutBuffer& to) const {
    for (int64_t r = 0; r < to.rows; ++r) {
      backend_.copy_in(at(to, r), &dense[r * row_size(to)], row_size(to), nullptr);
    }
  }

 private:
  static std::byte* at(const OutBuffer& buffer, int64_t row) {
    return static_cast<std::byte*>(buffer.data) +
           row * row_bytes(format_of(buffer.format), buffer.ld);
  }
  const Backend& backend_;
};

class Recorder final : public Trace {
 public:
  explicit Recorder(const Backend& backend) : copy_(backend) {}
  void begin(const OpTag&) override {}
  void end(const OpTag& tag, std::string_view, const OpCost& cost) override {
    Recorded entry{tag.text(), {}};
    for (const OutBuffer& out : cost.outputs) entry.raw.push_back(copy_.out(out));
    entries_.push_back(std::move(entry));
  }
  std::vector<Recorded> take() { return std::exchange(entries_, {}); }

 private:
  RowCopier copy_;
  std::vector<Recorded> entries_;
};

// Rounding differs by summation order only: a few f32 roundings at the scale of the row, plus one
// step of the output's own format.
double tolerance(const std::vector<float>& expected, int64_t row_begin, int64_t cols, float value,
                 FormatId format) {
  double squares = 0;
  for (int64_t c = 0; c < cols; ++c)
    squares += double{expected[row_begin + c]} * expected[row_begin + c];
  const double rms = std::sqrt(squares / static_cast<double>(cols));
  const double step = format == FormatId::kBF16 ? 0x1p-8 : format == FormatId::kF16 ? 0x1p-11 : 0;
  return 2e-5 * (std::abs(value) + rms) + step * std::abs(value) + 1e-30;
}

class Comparer final : public Trace {
 public:
  Comparer(const Backend& backend, LockstepResult* result) : copy_(backend), result_(result) {}
  void expect(std::vector<Recorded> expected) {
    expected_ = std::move(expected);
    next_ = 0;
  }
  void begin(const OpTag&) override {}
  void end(const OpTag& tag, std::string_view kernel, const OpCost& cost) override {
    LB_CHECK(next_ < expected_.size() && expected_[next_].op == tag.text(), "{}", tag.text());
    const Recorded& expected = expected_[next_++];
    LB_CHECK(expected.raw.size() == cost.outputs.size());
    for (size_t i = 0; i < cost.outputs.size(); ++i) {
      const OutBuffer& out = cost.outputs[i];
      if (!result_->difference) compare(tag, kernel, out, expected.raw[i]);
      copy_.in(expected.raw[i], out);
    }
    ++result_->ops;
  }

 private:
  void compare(const OpTag& tag, std::string_view kernel, const OutBuffer& out,
               const std::vector<std::byte>& expected_raw) {
    const std::vector<std::byte> actual_raw = copy_.out(out);
    const size_t count = static_cast<size_t>(out.rows * out.cols);
    std::vector<float> expected(count), actual(count);
    decode_plain(out.format, expected_raw.data(), static_cast<int64_t>(count), expected.data());
    decode_plain(out.format, actual_raw.data(), static_cast<int64_t>(count), actual.data());
    for (size_t i = 0; i < count; ++i) {
      const auto row = static_cast<int64_t>(i) / out.cols;
      const double allowed = tolerance(expected, row * out.cols, out.cols, expected[i], out.format);
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

  RowCopier copy_;
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
