#include "models/weights.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "formats/codec.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

const Packer* find_packer(const Backend& backend, LayoutId layout, const Format& format) {
  for (const Packer& packer : backend.packers) {
    if (packer.layout == layout && packer.accepts(format)) return &packer;
  }
  return nullptr;
}

std::string all_reasons(const LinearPlan& plan) {
  std::string text;
  for (const Rejected& rejected : plan.rejected) {
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", rejected.kernel, rejected.reason);
  }
  return text;
}

}  // namespace

QTensor WeightLoader::read(const std::string& tensor, int64_t n, int64_t k) {
  if (std::find(used_.begin(), used_.end(), tensor) == used_.end()) {
    used_.push_back(tensor);
    parameters_ += n * k;
  }
  return plan_only_ ? checkpoint_.outline(tensor, n, k) : checkpoint_.tensor(tensor, n, k);
}

QTensor WeightLoader::quantize(const QTensor& source, const Format& target,
                               const std::string& tensor) const {
  if (plan_only_) return {target, source.n, source.k};
  return quantizer_.run(source, target, {tensor});
}

QTensor WeightLoader::stack(std::span<const QTensor> parts) const {
  if (!plan_only_ || parts.size() == 1) return stack_rows(parts);
  std::vector<int64_t> rows;
  int64_t n = 0;
  for (const QTensor& part : parts) {
    rows.push_back(part.n);
    n += part.n;
  }
  return {stacked_format(parts[0].format, rows), n, parts[0].k};
}

Format WeightLoader::activations() const {
  if (format_ && format_->activations) return *format_->activations;
  return format_of(backend_.activation);
}

void WeightLoader::plan(Linear* linear, const Format& format, bool has_bias) const {
  LinearSpec spec{format, activations(), linear->n, linear->k, has_bias, m_max_};
  linear->plan = plan_linear(spec, backend_.linear_kernels, device_);
  linear->resident = format;
  if (!linear->plan.buckets.empty()) return;
  // No kernel multiplies these codes here: keep them decoded, and let every report say so.
  std::vector<Rejected> rejected = std::move(linear->plan.rejected);
  spec.w = format_of(FormatId::kBF16);
  linear->plan = plan_linear(spec, backend_.linear_kernels, device_);
  linear->resident = spec.w;
  if (linear->plan.buckets.empty()) {
    throw_error("{}: no {} kernel multiplies {} with {} activations: {}", linear->name,
                backend_.name, name(format), name(spec.a), all_reasons(linear->plan));
  }
  linear->plan.rejected.insert(linear->plan.rejected.begin(), rejected.begin(), rejected.end());
}

void WeightLoader::pack(Linear* linear, const QTensor& canonical) const {
  linear->view = view(canonical);
  if (plan_only_) {
    const auto bytes = [&](Plane plane) {
      return plane_shape(canonical.format, plane, canonical.n, canonical.k).bytes();
    };
    linear->codes.size = bytes(Plane::kCodes);
    linear->scales.size = bytes(Plane::kScales);
    linear->zeros.size = bytes(Plane::kZeros);
    linear->meta.size = bytes(Plane::kMeta);
    linear->outer.size = bytes(Plane::kOuter);
    return;
  }
  if (linear->plan.layout == LayoutId::kCanonical) {
    linear->codes = backend_.upload(canonical.codes);
  } else {
    const Packer* packer = find_packer(backend_, linear->plan.layout, canonical.format);
    LB_CHECK(packer, "{} packs no {}", backend_.name, name(linear->plan.layout));
    std::byte* packed = nullptr;
    const Bytes codes = allocate_bytes(canonical.codes.data.size(), &packed);
    packer->pack(canonical, packed);
    linear->codes = backend_.upload(codes);
  }
  linear->scales = backend_.upload(canonical.scales);
  linear->zeros = backend_.upload(canonical.zeros);
  linear->meta = backend_.upload(canonical.meta);
  linear->outer = backend_.upload(canonical.outer);
  linear->view.codes = linear->codes.data;
  linear->view.scales = linear->scales.data;
  linear->view.zeros = linear->zeros.data;
  linear->view.meta = linear->meta.data;
  linear->view.outer = linear->outer.data;
}

Linear WeightLoader::linear(const std::string& name, std::span<const LinearPart> parts, int64_t k) {
  Linear result;
  result.name = name;
  if (format_ && format_->activations) result.activations = format_->activations->id;
  result.k = k;
  bool has_bias = false;
  std::vector<float> bias;
  std::vector<QTensor> tensors;
  for (const LinearPart& part : parts) {
    result.n += part.n;
    has_bias |= !part.bias.empty();
    QTensor stored = read(part.weight, part.n, k);
    tensors.push_back(format_ ? quantize(stored, format_->weights, part.weight) : stored);
    if (format_) release_pages(stored);
    bias.resize(static_cast<size_t>(result.n));
    if (!part.bias.empty()) read_floats(part.bias, std::span(bias).last(part.n));
  }
  // A matrix has one format: parts that the file stores in different types are widened to f32,
  // which loses nothing.
  const bool mixed = std::any_of(tensors.begin(), tensors.end(), [&](const QTensor& tensor) {
    return tensor.format != tensors[0].format;
  });
  for (QTensor& tensor : tensors) {
    if (mixed) tensor = quantize(tensor, format_of(FormatId::kF32), name);
  }
  QTensor canonical = stack(tensors);
  if (tensors.size() > 1) {
    for (const QTensor& tensor : tensors) release_pages(tensor);
  }
  tensors.clear();
  result.format = canonical.format;
  plan(&result, canonical.format, has_bias);
  if (result.resident != canonical.format) {
    canonical = quantize(canonical, result.resident, name);
  }
  pack(&result, canonical);
  if (has_bias) result.bias = upload_floats(bias);
  memory_.linears += result.bytes();
  memory_.per_step += result.bytes();
  return result;
}

DeviceBytes WeightLoader::vector(const std::string& tensor, int64_t k) {
  std::vector<float> values(static_cast<size_t>(k));
  read_floats(tensor, values);
  memory_.per_step += values.size() * sizeof(float);
  return upload_floats(values);
}

DeviceBytes WeightLoader::table(const std::string& tensor, int64_t n, int64_t k,
                                WeightView* table_view) {
  const QTensor stored = read(tensor, n, k);
  const QTensor plain =
      stored.format.quantized() ? quantize(stored, format_of(FormatId::kBF16), tensor) : stored;
  *table_view = view(plain);
  DeviceBytes bytes = plan_only_ ? DeviceBytes{nullptr, tensor_bytes(plain.format, n, k), {}}
                                 : backend_.upload(plain.codes);
  table_view->codes = bytes.data;
  memory_.embedding += bytes.size;
  return bytes;
}

void WeightLoader::read_floats(const std::string& tensor, std::span<float> values) {
  const QTensor stored = read(tensor, 1, static_cast<int64_t>(values.size()));
  if (plan_only_) return;
  decode_row(stored, 0, values.data());
  if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
    throw_error("tensor {}: holds a NaN or infinite number; the file is damaged", tensor);
  }
}

DeviceBytes WeightLoader::upload_floats(std::span<const float> values) {
  std::byte* copy = nullptr;
  const Bytes bytes = allocate_bytes(values.size_bytes(), &copy);
  encode_plain(FormatId::kF32, values.data(), static_cast<int64_t>(values.size()), copy);
  memory_.other += values.size_bytes();
  if (plan_only_) return {nullptr, values.size_bytes(), {}};
  return backend_.upload(bytes);
}

std::vector<std::string> WeightLoader::unused() const {
  std::vector<std::string> unused;
  for (std::string& name : checkpoint_.tensor_names()) {
    if (std::find(used_.begin(), used_.end(), name) == used_.end())
      unused.push_back(std::move(name));
  }
  return unused;
}

void linear(Exec& x, const OpTag& tag, const Linear& w, const Act& in, int32_t m, LinearOut out) {
  const LinearKernel& kernel = w.plan.pick(m);
  const LinearArgs args{.m = m,
                        .n = static_cast<int32_t>(w.n),
                        .k = static_cast<int32_t>(w.k),
                        .x = in,
                        .w = w.view,
                        .bias = static_cast<const float*>(w.bias.data),
                        .y = out.y,
                        .ldy = w.n,
                        .epilogue = out.epilogue,
                        .workspace = x.workspace};
  run(x, tag, kernel.name, kernel.launch, args);
}

}  // namespace lowbit
