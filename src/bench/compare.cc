#include "bench/compare.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "base/check.h"
#include "base/text.h"
#include "bench/metrics.h"

namespace lowbit {
namespace {

using Json = nlohmann::ordered_json;

// Keys that say how well to measure, not what.
constexpr std::string_view kEffort[] = {"min_samples", "max_seconds",    "ci_width", "quality",
                                        "text",        "quality_tokens", "ctx"};

bool is_effort(const std::string& key) {
  return std::find(std::begin(kEffort), std::end(kEffort), key) != std::end(kEffort);
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Keys that a record has only where there is something to say. Of others, one that a record lacks
// (it is older, or another tool's) matches any value.
constexpr std::string_view kOnlyIfSaid[] = {"named", "calibration"};

// The keys that make two cases different ones.
std::vector<std::string> keys_apart(const Record& a, const Record& b) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : a.config.items()) {
    const bool optional =
        std::find(std::begin(kOnlyIfSaid), std::end(kOnlyIfSaid), key) != std::end(kOnlyIfSaid);
    const auto other = b.config.find(key);
    if (is_effort(key) || optional) continue;
    if (other != b.config.end() && *other != value) keys.push_back(key);
  }
  for (const std::string_view key : kOnlyIfSaid) {
    if (a.config_text(key.data()) != b.config_text(key.data())) keys.emplace_back(key);
  }
  return keys;
}

bool matches(const Record& a, const Record& b, const std::vector<std::string>& ignore) {
  const std::vector<std::string> keys = keys_apart(a, b);
  return a.kind == b.kind && std::all_of(keys.begin(), keys.end(), [&](const std::string& key) {
           return std::find(ignore.begin(), ignore.end(), key) != ignore.end();
         });
}

Verdict verdict_of(const Metric& metric, bool higher) {
  if (metric.better == Better::kNeither) return higher ? Verdict::kHigher : Verdict::kLower;
  return (metric.better == Better::kHigher) == higher ? Verdict::kBetter : Verdict::kWorse;
}

// Of two estimates without samples: means over tokens, with normal intervals.
Ratio ratio_of_estimates(const Estimate& a, const Estimate& b, double confidence) {
  Ratio result;
  if (a.n < 2 || b.n < 2) return result;
  const double z95 = normal_quantile(0.95);
  const double error = std::hypot(a.half_width(), b.half_width()) / z95;
  const double difference = b.median - a.median;
  result.known = true;
  result.p = error > 0 ? std::erfc(std::abs(difference) / error / std::sqrt(2.0))
                       : (difference == 0 ? 1 : 0);
  const double half = normal_quantile(confidence) * error;
  if (a.median > 0) {
    result.ratio = b.median / a.median;
    result.lo = (b.median - half) / a.median;
    result.hi = (b.median + half) / a.median;
  } else {  // no ratio to zero; 1 for equal, else only the direction is true
    const double sign = std::abs(difference) <= half ? 0 : difference > 0 ? 1 : -1;
    result.ratio = result.lo = result.hi = 1 + sign;
  }
  return result;
}

ComparedMetric compare_metric(const Metric& metric, const Value& a, const Value& b,
                              const CompareOptions& options) {
  ComparedMetric result{std::string(metric.tag), a.estimate, b.estimate, {}, Verdict::kUnknown};
  const auto positive = [](const std::vector<double>& samples) {
    return !samples.empty() && *std::min_element(samples.begin(), samples.end()) > 0;
  };
  if (metric.from == From::kCount) {
    const double x = a.estimate.median, y = b.estimate.median;
    const double ratio = x > 0 ? y / x : 1;
    result.ratio = {ratio, ratio, ratio, x == y ? 1.0 : 0.0, true};
    result.verdict = x == y ? Verdict::kSame : verdict_of(metric, y > x);
    return result;
  }
  if (positive(a.samples) && positive(b.samples)) {
    result.ratio = options.paired && a.samples.size() == b.samples.size()
                       ? ratio_of_pairs(a.samples, b.samples, options.confidence)
                       : ratio_of(a.samples, b.samples, options.confidence);
  } else {
    result.ratio = ratio_of_estimates(a.estimate, b.estimate, options.confidence);
  }
  if (!result.ratio.known) return result;
  result.verdict =
      !result.ratio.differs() ? Verdict::kSame : verdict_of(metric, result.ratio.lo > 1);
  return result;
}

std::string case_name(const Record& a, const Record& b) {
  const auto both = [](const std::string& x, const std::string& y) {
    return x == y || y.empty() ? x : x.empty() ? y : x + " : " + y;
  };
  const std::string model = both(a.config_text("model"), b.config_text("model"));
  const std::string format = both(a.format, b.format);
  return model.empty() ? format : model + " " + format;
}

class Comparer {
 public:
  explicit Comparer(const CompareOptions& options) : options_(options) {
    result_.confidence = options.confidence;
  }

  void pair(const Record& a, const Record& b) {
    const std::string name = case_name(a, b);
    for (const auto& [side, record] : {std::pair{"A", &a}, std::pair{"B", &b}}) {
      if (!record->unstable.empty() && !options_.paired) {  // what slows both of a pair cancels
        note(fmt::format("{}: unstable in {}: {}", name, side, join(record->unstable, "; ")));
      }
      if (record->status == Status::kOk) continue;
      note(fmt::format("{}: {} in {}: {}", name, lowbit::name(record->status), side,
                       record->reason));
    }
    if (a.status != Status::kOk || b.status != Status::kOk) return;
    ComparedCase& compared = result_.cases.emplace_back();
    compared.name = name;
    for (const Metric& metric : kMetrics) {
      const Value *x = a.find_value(metric.tag), *y = b.find_value(metric.tag);
      if (!x || !y || !wanted(metric)) continue;
      if (metric.about == About::kQuality && a.quality != b.quality) {
        note(name + ": quality was scored on different texts and is not compared");
        continue;
      }
      compared.metrics.push_back(compare_metric(metric, *x, *y, options_));
    }
    add_differences(a, b);
  }

  void note(std::string text) {
    auto& notes = result_.notes;
    if (std::find(notes.begin(), notes.end(), text) == notes.end()) {
      notes.push_back(std::move(text));
    }
  }

  Comparison take() { return std::move(result_); }

 private:
  bool wanted(const Metric& metric) const {
    if (options_.metrics.empty()) return metric.shown;
    return std::find(options_.metrics.begin(), options_.metrics.end(), metric.tag) !=
           options_.metrics.end();
  }

  void add_difference(const std::string& field, const Json& a, const Json& b) {
    if (a == b) return;
    const std::string x = text_of(a), y = text_of(b);
    for (Difference& known : result_.differences) {
      if (known.field == field && known.a == x && known.b == y) {
        ++known.cases;
        return;
      }
    }
    result_.differences.push_back({field, x, y, 1});
  }

  void add_differences(const Record& a, const Record& b) {
    const Json x = to_json(a.fingerprint), y = to_json(b.fingerprint);
    for (const auto& [key, value] : x.items()) {
      if (key == "mhz" || key == "load_average") {  // they always move a little
        const double p = value.get<double>(), q = y[key].get<double>();
        if (std::abs(p - q) <= (key == "mhz" ? 0.02 * std::max(p, q) : 0.5)) continue;
      }
      // Records of older versions do not say which weights they are of.
      const bool unknown = a.fingerprint.model_hash.empty() || b.fingerprint.model_hash.empty();
      if (key == "kernels" || (key == "model_hash" && unknown)) continue;
      add_difference(key, value, y[key]);
    }
    add_kernel_differences(a.fingerprint.kernels, b.fingerprint.kernels);
    std::set<std::string> keys;
    for (const auto& item : a.config.items()) keys.insert(item.key());
    for (const auto& item : b.config.items()) keys.insert(item.key());
    for (const std::string& key : keys) {
      add_difference("config." + key, a.config.value(key, Json()), b.config.value(key, Json()));
    }
  }

  void add_kernel_differences(const std::vector<KernelChoice>& a,
                              const std::vector<KernelChoice>& b) {
    const auto only = [](const std::vector<KernelChoice>& of,
                         const std::vector<KernelChoice>& not_in) {
      std::set<std::string> names;
      for (const KernelChoice& choice : of) {
        if (std::find(not_in.begin(), not_in.end(), choice) == not_in.end()) {
          names.insert(
              fmt::format("{} m={}-{} {}", choice.linear, choice.m_lo, choice.m_hi, choice.kernel));
        }
      }
      return join({names.begin(), names.end()}, ", ");
    };
    add_difference("kernels", only(a, b), only(b, a));
  }

  const CompareOptions& options_;
  Comparison result_;
};

void check(std::span<const Record> a, std::span<const Record> b, const CompareOptions& options) {
  if (!(0.5 <= options.confidence && options.confidence <= 0.9999)) {
    throw_error("confidence = {}: must be 0.5 to 0.9999", options.confidence);
  }
  std::vector<std::string> tags;
  for (const Metric& metric : kMetrics) tags.emplace_back(metric.tag);
  for (const std::string& tag : options.metrics) {
    if (std::find(tags.begin(), tags.end(), tag) == tags.end()) {
      throw_error("metric `{}`: unknown{} (`lowbit bench --help` lists them)", printable(tag),
                  suggestion(tag, tags));
    }
  }
  std::set<std::string> keys;
  for (const std::span<const Record> records : {a, b}) {
    for (const Record& record : records) {
      for (const auto& item : record.config.items()) keys.insert(item.key());
    }
  }
  for (const std::string& key : options.ignore) {
    if (keys.contains(key)) continue;
    throw_error("ignore = `{}`: no record has this key{}; they have {}", printable(key),
                suggestion(key, {keys.begin(), keys.end()}),
                join({keys.begin(), keys.end()}, ", "));
  }
}

// The keys that keep the most alike cases of two sets apart, to say why nothing matches.
std::string why_nothing_matches(std::span<const Record> a, std::span<const Record> b) {
  std::vector<std::string> fewest;
  for (const Record& x : a) {
    for (const Record& y : b) {
      const std::vector<std::string> keys = keys_apart(x, y);
      if (!keys.empty() && (fewest.empty() || keys.size() < fewest.size())) fewest = keys;
    }
  }
  if (fewest.empty()) return "they are of different kinds";
  return fmt::format("the closest two differ in {}; --ignore {} compares them all the same",
                     join(fewest, ", "), join(fewest, ","));
}

}  // namespace

std::string_view name(Verdict verdict) {
  constexpr std::string_view kNames[] = {"no difference", "better", "worse",
                                         "higher",        "lower",  "too few samples"};
  return kNames[static_cast<size_t>(verdict)];
}

Comparison compare(std::span<const Record> a, std::span<const Record> b,
                   const CompareOptions& options) {
  check(a, b, options);
  Comparer comparer(options);
  std::set<const Record*> used;
  bool any = false;
  for (size_t i = 0; i < a.size(); ++i) {
    // Of equal cases of A only the last is looked at, and it meets the last of B.
    const auto repeats = [&](const Record& record) { return matches(a[i], record, {}); };
    if (std::any_of(a.begin() + static_cast<std::ptrdiff_t>(i) + 1, a.end(), repeats)) {
      comparer.note(case_name(a[i], a[i]) + ": repeated in A; the last one counts");
      continue;
    }
    const Record* partner = nullptr;
    for (const Record& record : b) {
      if (!matches(a[i], record, options.ignore)) continue;
      if (partner && matches(*partner, record, {})) {
        comparer.note(case_name(record, record) + ": repeated in B; the last one counts");
      } else if (partner) {
        throw_error("{}: matches {} and {} of B; ignore fewer keys", case_name(a[i], a[i]),
                    case_name(*partner, *partner), case_name(record, record));
      }
      partner = &record;
      used.insert(&record);
    }
    if (!partner) {
      comparer.note(case_name(a[i], a[i]) + ": only in A");
      continue;
    }
    any = true;
    comparer.pair(a[i], *partner);
  }
  if (!any) throw_error("no case of A matches one of B: {}", why_nothing_matches(a, b));
  for (const Record& record : b) {
    if (!used.contains(&record)) comparer.note(case_name(record, record) + ": only in B");
  }
  return comparer.take();
}

}  // namespace lowbit
