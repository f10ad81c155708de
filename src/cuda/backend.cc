// Memory, ops and captured steps of the cuda backend. Calls that take no stream use the device's
// default one; the engine's own stream waits for it and it for that stream.
#include "cuda/backend.h"

#include <cstring>

#include "cuda/attention_prompt.h"
#include "cuda/attention_token.h"
#include "cuda/chain.h"
#include "cuda/device.h"
#include "cuda/device_api.h"
#include "cuda/linear_rows.h"
#include "cuda/ops.h"
#include "cuda/runtime.h"

namespace lowbit {
namespace {

cudaStream_t of(Stream stream) { return static_cast<cudaStream_t>(stream); }

DeviceInfo info() {
  std::string why;
  const std::vector<CudaDevice> devices = cuda_devices(&why);
  if (devices.empty()) throw_error("device `cuda`: {}", why);
  return {.name = devices[0].name,
          .sm = devices[0].sm,
          .threads = devices[0].multiprocessors,
          .memory_bytes = devices[0].memory_bytes,
          .cache_bytes = devices[0].l2_bytes};
}

DeviceBytes allocate(size_t bytes) {
  auto buffer = std::make_shared<Buffer>(bytes);
  if (bytes != 0) LB_CUDA(cudaMemset(buffer->data(), 0, bytes));
  return {buffer->data(), bytes, buffer};
}

DeviceBytes upload(const Bytes& bytes) {
  auto buffer = std::make_shared<Buffer>(bytes.data.size());
  if (!bytes.data.empty()) {
    LB_CUDA(cudaMemcpy(buffer->data(), bytes.data.data(), bytes.data.size(), cudaMemcpyDefault));
  }
  return {buffer->data(), bytes.data.size(), buffer};
}

void copy_in(void* device, const void* host, size_t bytes, Stream stream) {
  LB_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, of(stream)));
}

void copy_out(void* host, const void* device, size_t bytes, Stream stream) {
  LB_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, of(stream)));
  LB_CUDA(cudaStreamSynchronize(of(stream)));
}

void copy(void* to, const void* from, size_t bytes) {
  LB_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToDevice));
}

void synchronize(Stream stream) { LB_CUDA(cudaStreamSynchronize(of(stream))); }

Stream stream() {
  static const cudaStream_t stream = [] {
    cudaStream_t made = nullptr;
    LB_CUDA(cudaStreamCreate(&made));
    return made;
  }();
  return stream;
}

// ---- captured steps -----------------------------------------------------------------------------

void begin_capture(Stream stream) {
  cuda::begin_chains();
  LB_CUDA(cudaStreamBeginCapture(of(stream), cudaStreamCaptureModeThreadLocal));
}

void* end_capture(Stream stream) {
  cuda::end_chains(stream);
  cudaGraph_t graph = nullptr;
  LB_CUDA(cudaStreamEndCapture(of(stream), &graph));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t code = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  if (code != cudaSuccess) throw_cuda_error(code, "cudaGraphInstantiate");
  return executable;
}

void launch(void* graph, Stream stream) {
  LB_CUDA(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), of(stream)));
}

void destroy(void* graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

// ---- the host beside a running stream -----------------------------------------------------------

DeviceBytes host_memory(size_t bytes) {
  void* data = nullptr;
  LB_CUDA(cudaHostAlloc(&data, bytes, cudaHostAllocDefault));
  // An error at the end is the process ending.
  std::shared_ptr<const void> owner(data,
                                    [](const void* p) { cudaFreeHost(const_cast<void*>(p)); });
  std::memset(data, 0, bytes);
  return {data, bytes, std::move(owner)};
}

cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

void* make_event() {
  cudaEvent_t event = nullptr;
  LB_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return event;
}

void record_event(void* event, Stream stream) {
  LB_CUDA(cudaEventRecord(event_of(event), of(stream)));
}

void wait_event(void* event) { LB_CUDA(cudaEventSynchronize(event_of(event))); }

void destroy_event(void* event) { cudaEventDestroy(event_of(event)); }

constexpr GraphApi kGraphs = {.begin_capture = begin_capture,
                              .end_capture = end_capture,
                              .launch = launch,
                              .destroy = destroy,
                              .host_memory = host_memory,
                              .make_event = make_event,
                              .record_event = record_event,
                              .wait_event = wait_event,
                              .destroy_event = destroy_event};

// ---- ops ----------------------------------------------------------------------------------------

// An op that needs what the Linears before it write.
template <auto kOp, class Args>
void after_chain(const Args& args, Stream stream) {
  cuda::end_chain(stream);
  kOp(args, stream);
}

void rope_attention(const RopeAttentionArgs& args, Stream stream) {
  if (cuda::attend_token(args.rope, args.attention, stream)) return;
  cuda::end_chain(stream);
  cuda::rope_attention(args.rope, args.attention, stream);
}

// Two bf16 numbers for each, or in prompts one.
double u_attention(int32_t tokens) { return tokens < cuda::kPromptTokens ? 0x1p-17 : 0x1p-9; }

}  // namespace

const Backend& cuda_backend() {
  static const Backend backend = {.name = "cuda",
                                  .info = info,
                                  .allocate = allocate,
                                  .upload = upload,
                                  .copy_in = copy_in,
                                  .copy_out = copy_out,
                                  .synchronize = synchronize,
                                  .copy = copy,
                                  .op = {.embed = after_chain<cuda::embed>,
                                         .quantize = after_chain<cuda::quantize>,
                                         .rmsnorm = after_chain<cuda::rmsnorm>,
                                         .rotary_table = after_chain<cuda::rotary_table>,
                                         .rope_append = after_chain<cuda::rope_append>,
                                         .attention = after_chain<cuda::attention>,
                                         .silu_mul = after_chain<cuda::silu_mul>,
                                         .gather_rows = after_chain<cuda::gather_rows>,
                                         .sample = after_chain<cuda::sample>,
                                         .advance = after_chain<cuda::advance>,
                                         .rope_attention = rope_attention},
                                  .step_tokens = 2048,
                                  .activation = FormatId::kF32,
                                  .linear_kernels = cuda::linear_rows(),
                                  .packers = cuda::packers(),
                                  .graph = &kGraphs,
                                  .stream = stream,
                                  .device = &cuda::device_api(),
                                  .u_attention = u_attention};
  return backend;
}

}  // namespace lowbit
