#include "models/weights.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "formats/codec.h"
#include "models/device_rows.h"
#include "quantize/quantizer.h"

namespace lowbit {
namespace {

const Packer* find_packer(const Backend& backend, LayoutId layout, const Format& format) {
  for (const Packer& packer : backend.packers) {
    if (packer.layout == layout && packer.accepts(format)) return &packer;
  }
  return nullptr;
}

constexpr auto bytes_of = [](const auto& tensor) { return tensor.bytes(); };

std::string all_reasons(const LinearPlan& plan) {
  std::string text;
  for (const Rejected& rejected : plan.rejected) {
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", rejected.kernel, rejected.reason);
  }
  return text;
}

}  // namespace

void WeightLoader::take_weights(std::string_view what, size_t bytes) const {
  if (options_.memory_trace) options_.memory_trace->took(MemoryPart::kWeights, what, bytes);
}

const Format& final_format(const TensorUse& use) {
  return use.choice.format && use.skipped.empty() ? *use.choice.format : use.stored;
}

std::vector<std::string> skipped_layers(const std::vector<TensorUse>& uses) {
  std::vector<std::string> layers;
  for (const TensorUse& use : uses) {
    if (use.skipped.empty()) continue;
    layers.push_back(
        fmt::format("{} ({} [{}, {}]): {}", use.layer, use.tensor, use.n, use.k, use.skipped));
  }
  return layers;
}

std::vector<std::string> decoded_layers(const std::vector<TensorUse>& uses) {
  std::map<std::string, int> counts;
  for (const TensorUse& use : uses) {
    if (!use.choice.format || !use.skipped.empty() || !use.stored.quantized()) continue;
    if (*use.choice.format == use.stored) continue;
    ++counts[fmt::format("{} decoded, then {}", name(use.stored), name(*use.choice.format))];
  }
  std::vector<std::string> lines;
  for (const auto& [text, count] : counts) {
    lines.push_back(fmt::format("{} tensor{}: {}", count, count == 1 ? "" : "s", text));
  }
  return lines;
}

void WeightLoader::add_use(const TensorUse& use, const Format& stored) {
  const auto same = [&](const TensorUse& other) { return other.tensor == use.tensor; };
  if (std::none_of(uses_.begin(), uses_.end(), same)) parameters_ += use.n * use.k;
  uses_.push_back(use);
  uses_.back().stored = stored;
}

QTensor WeightLoader::read(const TensorUse& use) {
  const bool kept = use.tensor == table_name_ && use.n == table_.n && use.k == table_.k;
  const auto get = [&] {
    QTensor found = kept                 ? table_
                    : options_.plan_only ? checkpoint_.outline(use.tensor, use.n, use.k)
                                         : checkpoint_.tensor(use.tensor, use.n, use.k);
    if (options_.load_trace) read_pages(found);
    return found;
  };
  QTensor tensor = traced(options_.load_trace, LoadPhase::kRead, use.tensor, get, bytes_of);
  add_use(use, tensor.format);
  return tensor;
}

WeightLoader::Loaded WeightLoader::read_as_chosen(TensorUse use) {
  use.choice = options_.policy.choose(use.layer, use.tensor);
  const std::optional<TurnedRows> rows = checkpoint_.turned_rows(use.tensor, use.n);
  if (!rows || options_.plan_only || options_.inputs) return choose_codes(std::move(use));
  const auto found = shared_.find(rows->shared);
  if (found != shared_.end() && found->second.choice.format == use.choice.format &&
      found->second.choice.quantizer == use.choice.quantizer) {
    const Shared& shared = found->second;
    add_use(use, checkpoint_.outline(use.tensor, use.n, use.k).format);
    const int64_t by = (rows->first + use.n - shared.first) % use.n;
    const auto turn = [&] {
      if (backend_.copy) return turn_rows(backend_, shared.tensor, by);
      std::vector<int64_t> order(static_cast<size_t>(use.n));
      std::iota(order.begin(), order.end(), by);
      for (int64_t& row : order) row %= use.n;
      return permute_rows(shared.tensor, order);
    };
    QTensor turned = traced(options_.load_trace, LoadPhase::kRead, use.tensor, turn, bytes_of);
    HeldMemory held(note(MemoryPart::kTemporary, use.tensor), turned.bytes());
    return {std::move(turned), std::move(held), backend_.copy != nullptr};
  }
  const std::string tensor = use.tensor;
  const LayerChoice choice = use.choice;
  Loaded loaded = choose_codes(std::move(use));
  // Blocks of rows would fall apart; what was skipped has another format than its choice.
  if (loaded.tensor.format.block.n <= 1 && uses_.back().skipped.empty()) {
    if (backend_.copy) {
      const auto pack = [&] { return copy_to_device(backend_, loaded.tensor); };
      loaded.tensor = traced(options_.load_trace, LoadPhase::kPack, tensor, pack, bytes_of);
      loaded.on_device = true;
    }
    HeldMemory held(note(MemoryPart::kTemporary, tensor), loaded.tensor.bytes());
    shared_.insert_or_assign(rows->shared,
                             Shared{loaded.tensor, rows->first, choice, std::move(held)});
  }
  return loaded;
}

WeightLoader::Loaded WeightLoader::choose_codes(TensorUse use) {
  QTensor tensor = read(use);
  HeldMemory held(note(MemoryPart::kTemporary, use.tensor), tensor.bytes());
  const std::optional<Format>& format = use.choice.format;
  if (!format || *format == tensor.format) return {std::move(tensor), std::move(held)};
  std::string reason = cannot_take(*format, use.n, use.k);
  if (use.role == TensorRole::kTable && format->has_table()) {
    reason = "tokens are not looked up in learned numbers; name another format for the embedding";
  }
  if (!reason.empty()) {
    uses_.back().skipped = std::move(reason);
    return {std::move(tensor), std::move(held)};
  }
  check_quantizer(*use.choice.quantizer, *format, fmt::format("{} ({})", use.layer, use.tensor),
                  options_.inputs != nullptr);
  QTensor quantized = quantize(tensor, use.choice, use.tensor);
  HeldMemory held_quantized(note(MemoryPart::kTemporary, use.tensor), quantized.bytes());
  release_pages(tensor);
  return {std::move(quantized), std::move(held_quantized)};
}

QTensor WeightLoader::quantize(const QTensor& source, const LayerChoice& to,
                               const std::string& tensor) const {
  if (options_.plan_only) return {*to.format, source.n, source.k};
  const bool ask = options_.inputs && to.quantizer->needs != Needs::kNothing;
  const auto run = [&] {
    return to.quantizer->run(
        source, *to.format, {tensor, ask ? options_.inputs->find(tensor) : nullptr, to.iterations});
  };
  return traced(options_.load_trace, LoadPhase::kQuantize, tensor, run, bytes_of);
}

WeightLoader::Loaded WeightLoader::stack(const std::string& name, std::vector<Loaded> parts) const {
  if (parts.size() == 1) return std::move(parts[0]);
  std::vector<QTensor> tensors;
  const bool on_device =
      std::any_of(parts.begin(), parts.end(), [](const Loaded& part) { return part.on_device; });
  for (const Loaded& part : parts) {
    const bool moves = on_device && !part.on_device;
    tensors.push_back(moves ? copy_to_device(backend_, part.tensor) : part.tensor);
  }
  if (options_.plan_only) return {stacked_outline(tensors), HeldMemory()};
  const auto stack = [&] {
    return on_device ? stack_rows(backend_, tensors) : stack_rows(tensors);
  };
  QTensor stacked = traced(options_.load_trace, LoadPhase::kPack, name, stack, bytes_of);
  HeldMemory held(note(MemoryPart::kTemporary, name), stacked.bytes());
  for (const Loaded& part : parts) release_pages(part.tensor);
  return {std::move(stacked), std::move(held), on_device};
}

InputFormat WeightLoader::input(std::string_view layer) const {
  const LayerChoice choice = options_.policy.choose(layer);
  const Format own = format_of(backend_.activation);
  const Format asked = choice.activations.value_or(own);
  return {.prefill = asked, .decode = choice.prefill_only ? own : asked};
}

bool WeightLoader::plan_as(Linear* linear, const Format& resident, bool has_bias) const {
  LinearSpec spec{resident, linear->input.prefill,   linear->n, linear->k,
                  has_bias, options_.max_step_tokens};
  if (spec.m_max == 0) spec.m_max = backend_.step_tokens;
  linear->resident = resident;
  linear->plan = plan_linear(spec, backend_.linear_kernels, device_);
  if (linear->plan.buckets.empty()) return false;
  if (linear->input.decode == linear->input.prefill) return true;
  spec.a = linear->input.decode;
  LinearPlan& decode = linear->decode_plan;
  decode = plan_linear(spec, backend_.linear_kernels, device_);
  if (!decode.buckets.empty() && decode.layout == linear->plan.layout) return true;
  linear->plan.rejected = std::move(decode.rejected);
  if (!decode.buckets.empty()) {
    linear->plan.rejected.push_back(
        {decode.buckets[0].kernel->name,
         fmt::format("is for {} in layout {}, others are for {} in {}", lowbit::name(spec.a),
                     lowbit::name(decode.layout), lowbit::name(linear->input.prefill),
                     lowbit::name(linear->plan.layout))});
  }
  return false;
}

void WeightLoader::plan(Linear* linear, const Format& format, bool has_bias) const {
  linear->input = input(linear->name);
  if (plan_as(linear, format, has_bias)) return;
  // No kernel multiplies these codes here: keep them decoded, and let every report say so.
  std::vector<Rejected> rejected = std::move(linear->plan.rejected);
  if (!plan_as(linear, format_of(FormatId::kBF16), has_bias)) {
    throw_error("{}: no {} kernel multiplies {} with {} activations: {}", linear->name,
                backend_.name, name(format), name(linear->input.prefill),
                all_reasons(linear->plan));
  }
  linear->plan.rejected.insert(linear->plan.rejected.begin(), rejected.begin(), rejected.end());
}

bool WeightLoader::can_pair(const Linear& w) const {
  constexpr int64_t kRows = 16;  // of which eight are the gate's and eight the up's
  return options_.plan == StepPlan::kGraph && w.n % kRows == 0 &&
         w.input.prefill == format_of(FormatId::kF32) && w.input.decode == w.input.prefill &&
         std::all_of(w.plan.buckets.begin(), w.plan.buckets.end(),
                     [](const auto& bucket) { return bucket.kernel->fused_silu; });
}

DeviceTensor WeightLoader::upload(const QTensor& canonical, const Packer* packer,
                                  bool paired) const {
  DeviceTensor device{view(canonical)};
  if (packer) {
    if (!options_.plan_only) return packer->pack(canonical, paired);
    device.planes[0].size = packer->bytes(canonical.format, canonical.n, canonical.k);
    return device;
  }
  for (size_t i = 0; i < kPlanes.size(); ++i) {
    if (options_.plan_only) {
      device.planes[i].size =
          plane_shape(canonical.format, kPlanes[i], canonical.n, canonical.k).bytes();
    } else {
      device.planes[i] = backend_.upload(canonical.plane(kPlanes[i]));
    }
  }
  const auto data = [&](Plane plane) { return device.planes[static_cast<size_t>(plane)].data; };
  device.view.codes = data(Plane::kCodes);
  device.view.scales = data(Plane::kScales);
  device.view.zeros = data(Plane::kZeros);
  device.view.meta = data(Plane::kMeta);
  device.view.outer = data(Plane::kOuter);
  return device;
}

Linear WeightLoader::load(const std::string& name, std::span<const LinearPart> parts, int64_t k,
                          bool gated) {
  bool has_bias = false;
  std::vector<float> bias;
  std::vector<Loaded> loaded;
  for (const LinearPart& part : parts) {
    has_bias |= !part.bias.empty();
    loaded.push_back(
        read_as_chosen({part.weight, part.n, k, TensorRole::kLinear, name, {}, {}, ""}));
    const std::vector<float> part_bias = part.bias.empty()
                                             ? std::vector<float>(static_cast<size_t>(part.n))
                                             : floats(part.bias, part.n);
    bias.insert(bias.end(), part_bias.begin(), part_bias.end());
  }
  // A matrix has one format: runs of parts that the file stores in one are a piece.
  Linear result;
  for (size_t begin = 0, end; begin < loaded.size(); begin = end) {
    const Format format = loaded[begin].tensor.format;
    std::vector<Loaded> run;
    int64_t n = 0;
    const auto fits = [&](size_t i) {  // a part with a table of its own stands alone
      return loaded[i].tensor.format == format && (i == begin || !format.has_table());
    };
    for (end = begin; end < loaded.size() && fits(end); ++end) {
      n += loaded[end].tensor.n;
      run.push_back({std::exchange(loaded[end].tensor, {format}), std::move(loaded[end].held),
                     loaded[end].on_device});
    }
    const auto piece_bias =
        std::span(bias).subspan(static_cast<size_t>(result.n), static_cast<size_t>(n));
    result.pieces.push_back(finish(name, std::move(run), has_bias ? piece_bias : std::span<float>(),
                                   gated && n == static_cast<int64_t>(bias.size())));
    result.n += n;
  }
  if (result.pieces.size() == 1) {
    Linear whole = std::move(result.pieces[0]);
    return whole;
  }
  result.name = name;
  result.input = input(name);
  result.k = k;
  return result;
}

Linear WeightLoader::finish(const std::string& name, std::vector<Loaded> parts,
                            std::span<const float> bias, bool gated) {
  Loaded whole = stack(name, std::move(parts));
  QTensor& canonical = whole.tensor;
  Linear result;
  result.name = name;
  result.activations = options_.policy.choose(name).activations;
  result.n = canonical.n;
  result.k = canonical.k;
  result.format = canonical.format;
  const Timer planning;
  plan(&result, canonical.format, !bias.empty());
  if (options_.load_trace) {
    options_.load_trace->spent(LoadPhase::kPlan, name, planning.seconds(), 0);
  }
  if (result.resident != canonical.format) {
    if (whole.on_device) canonical = copy_to_host(backend_, canonical);
    canonical = quantize(canonical, {.format = result.resident}, name);
    whole.held = HeldMemory(note(MemoryPart::kTemporary, name), canonical.bytes());
  }
  const Packer* packer = nullptr;
  const bool pairs = gated && can_pair(result);
  if (result.plan.layout != LayoutId::kCanonical) {
    packer = find_packer(backend_, result.plan.layout, canonical.format);
    LB_CHECK(packer, "{} packs no {}", backend_.name, lowbit::name(result.plan.layout));
  }
  const auto pack = [&] {
    return with_context(fmt::format("weights ({})", name), [&] {
      DeviceTensor packed = upload(canonical, packer, pairs);
      if (options_.load_trace) backend_.synchronize(nullptr);  // its time is its own
      return packed;
    });
  };
  result.weight = traced(options_.load_trace, LoadPhase::kPack, name, pack, bytes_of);
  whole.held.release();  // it is the weight now, or has been copied to it
  if (!bias.empty()) result.bias = upload_floats(bias);
  const bool shared = table_codes_ && result.weight.view.codes == table_codes_;
  if (!shared) take_weights(name, result.bytes());
  memory_.linears += result.bytes();
  memory_.per_step += result.bytes();
  return result;
}

DeviceBytes WeightLoader::vector(const std::string& tensor, int64_t k) {
  const std::vector<float> values = floats(tensor, k);
  memory_.per_step += values.size() * sizeof(float);
  return upload_floats(values);
}

DeviceTensor WeightLoader::table(const std::string& tensor, int64_t n, int64_t k) {
  Loaded loaded = read_as_chosen({tensor, n, k, TensorRole::kTable, "embedding", {}, {}, ""});
  const QTensor& values = loaded.tensor;
  if (values.format == uses_.back().stored) {
    table_name_ = tensor;
    table_ = values;
  }
  const auto pack = [&] { return upload(values, nullptr, false); };
  DeviceTensor table = traced(options_.load_trace, LoadPhase::kPack, tensor, pack, bytes_of);
  loaded.held.release();
  take_weights(tensor, table.bytes());
  table_codes_ = table.view.codes;
  memory_.embedding += table.bytes();
  return table;
}

std::vector<float> WeightLoader::floats(const std::string& tensor, int64_t k) {
  const TensorUse use{tensor, 1, k, TensorRole::kVector, "", {}, {}, ""};
  const QTensor stored = read(use);
  std::vector<float> values(static_cast<size_t>(k), 1.0f);
  if (options_.plan_only) return values;
  decode_row(stored, 0, values.data());
  if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
    throw_error("tensor {}: holds a NaN or infinite number; the file is damaged", tensor);
  }
  return values;
}

DeviceBytes WeightLoader::upload_floats(std::span<const float> values) {
  std::byte* copy = nullptr;
  const Bytes bytes = allocate_bytes(values.size_bytes(), &copy);
  encode_plain(FormatId::kF32, values.data(), static_cast<int64_t>(values.size()), copy);
  memory_.other += values.size_bytes();
  take_weights("norms and tables", values.size_bytes());
  if (options_.plan_only) return {nullptr, values.size_bytes(), {}};
  return backend_.upload(bytes);
}

std::vector<std::string> WeightLoader::unused() const {
  std::vector<std::string> unused;
  for (std::string& name : checkpoint_.tensor_names()) {
    const auto same = [&](const TensorUse& use) { return use.tensor == name; };
    if (std::none_of(uses_.begin(), uses_.end(), same)) unused.push_back(std::move(name));
  }
  return unused;
}

bool normalises(const Linear& w, int32_t m) {
  const auto does = [&](const Linear& piece) {
    return piece.plan_for(FormatId::kF32).pick(m).fused_norm;
  };
  return w.pieces.empty() ? does(w) : std::all_of(w.pieces.begin(), w.pieces.end(), does);
}

void linear(Exec& x, const OpTag& tag, const Linear& w, const LinearIn& in, int32_t m,
            LinearOut out) {
  const int64_t width = out.epilogue == Epilogue::kSiluMul ? w.n / 2 : w.n;
  int64_t column = 0;
  const auto launch = [&](const Linear& piece) {
    const LinearKernel& kernel = piece.plan_for(in.x.format).pick(m);
    const LinearArgs args{.m = m,
                          .n = static_cast<int32_t>(piece.n),
                          .k = static_cast<int32_t>(piece.k),
                          .x = in.x,
                          .w = piece.weight.view,
                          .bias = static_cast<const float*>(piece.bias.data),
                          .y = out.y + column,
                          .ldy = width,
                          .epilogue = out.epilogue,
                          .workspace = x.workspace,
                          .norm_weight = in.norm_weight,
                          .norm_eps = in.norm_eps};
    run(x, tag, kernel.name, kernel.launch, args);
    column += piece.n;
  };
  if (w.pieces.empty()) return launch(w);
  for (const Linear& piece : w.pieces) launch(piece);
}

}  // namespace lowbit
