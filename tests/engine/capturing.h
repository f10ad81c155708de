// The ref backend with captured steps: ops between begin_capture() and end_capture() are kept with
// their arguments and not run; launch() runs them. Its Linears normalise x where they are asked to.
#pragma once

#include <functional>
#include <vector>

#include "base/check.h"
#include "ref/backend.h"

namespace lowbit::fakes {

struct CapturedOps {
  std::vector<std::function<void()>> ops;
};

struct Captures {
  CapturedOps* current = nullptr;
  int32_t captured = 0, launched = 0, destroyed = 0;
};
inline Captures& captures() {
  static Captures all;
  return all;
}

template <class Body>
void now_or_captured(const Body& body) {
  if (captures().current) {
    captures().current->ops.push_back(body);
  } else {
    body();
  }
}

template <class Args, void (*OpTable::*kOp)(const Args&, Stream)>
void captured_op(const Args& args, Stream) {
  now_or_captured([args] { (ref_backend().op.*kOp)(args, nullptr); });
}

inline void captured_rope_attention(const RopeAttentionArgs& args, Stream) {
  captured_op<RopeAppendArgs, &OpTable::rope_append>(args.rope, nullptr);
  captured_op<AttentionArgs, &OpTable::attention>(args.attention, nullptr);
}

inline void captured_linear(const LinearArgs& args, Stream) {
  now_or_captured([args] {
    LinearArgs a = args;
    std::vector<float> normed;
    if (a.norm_weight) {
      normed.resize(static_cast<size_t>(a.m) * a.k);
      a.x = {normed.data(), nullptr, a.k, FormatId::kF32};
      ref_backend().op.rmsnorm(
          {a.m, a.k, static_cast<const float*>(args.x.data), a.norm_weight, a.norm_eps, a.x},
          nullptr);
    }
    ref_backend().linear_kernels[0].launch(a, nullptr);
  });
}

inline const Backend& capturing_backend() {
  static const GraphApi api = {
      .begin_capture = [](Stream) { captures().current = new CapturedOps; },
      .end_capture = [](Stream) -> void* {
        ++captures().captured;
        return std::exchange(captures().current, nullptr);
      },
      .launch =
          [](void* graph, Stream) {
            ++captures().launched;
            for (const auto& op : static_cast<CapturedOps*>(graph)->ops) op();
          },
      .destroy =
          [](void* graph) {
            ++captures().destroyed;
            delete static_cast<CapturedOps*>(graph);
          },
      .host_memory = [](size_t bytes) { return ref_backend().allocate(bytes); },
      .make_event = []() -> void* { return new int; },
      .record_event = [](void*, Stream) {},
      .wait_event = [](void*) {},
      .destroy_event = [](void* event) { delete static_cast<int*>(event); }};
  static const LinearKernel kernel = [] {
    LinearKernel k = ref_backend().linear_kernels[0];
    k.name = "capturing.linear";
    k.fused_norm = true;
    k.launch = captured_linear;
    return k;
  }();
  static const Backend backend = [] {
    Backend b = ref_backend();
    b.name = "capturing";
    b.op = {.embed = captured_op<EmbedArgs, &OpTable::embed>,
            .quantize = captured_op<QuantizeArgs, &OpTable::quantize>,
            .rmsnorm = captured_op<RmsNormArgs, &OpTable::rmsnorm>,
            .rotary_table = captured_op<RotaryTableArgs, &OpTable::rotary_table>,
            .rope_append = captured_op<RopeAppendArgs, &OpTable::rope_append>,
            .attention = captured_op<AttentionArgs, &OpTable::attention>,
            .silu_mul = captured_op<SiluMulArgs, &OpTable::silu_mul>,
            .gather_rows = captured_op<GatherRowsArgs, &OpTable::gather_rows>,
            .sample = captured_op<SampleArgs, &OpTable::sample>,
            .advance = captured_op<AdvanceArgs, &OpTable::advance>,
            .rope_attention = captured_rope_attention};
    b.linear_kernels = std::span(&kernel, 1);
    b.graph = &api;
    return b;
  }();
  return backend;
}

}  // namespace lowbit::fakes
