#include "cuda/workspace.h"

#include <vector>

#include "cuda/runtime.h"

namespace lowbit::cuda {
namespace {

// Lets this thread allocate while a stream of its own is being captured.
class OutsideCapture {
 public:
  OutsideCapture() { LB_CUDA(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  ~OutsideCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  OutsideCapture(const OutsideCapture&) = delete;
  OutsideCapture& operator=(const OutsideCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

Buffer zeroed(size_t bytes) {
  const OutsideCapture outside;
  Buffer buffer(bytes);
  cudaStream_t stream = nullptr;  // not the legacy one, which a capture would have to wait for
  LB_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  LB_CUDA(cudaMemsetAsync(buffer.data(), 0, bytes, stream));
  LB_CUDA(cudaStreamSynchronize(stream));
  LB_CUDA(cudaStreamDestroy(stream));
  return buffer;
}

}  // namespace

float* attention_workspace(size_t bytes) {
  // Never freed: the driver may be gone before objects of static lifetime are.
  static auto& buffers = *new std::vector<Buffer>;
  if (buffers.empty() || buffers.back().bytes() < bytes) buffers.push_back(zeroed(bytes));
  return buffers.back().as<float>();
}

void* zeroed_workspace(size_t bytes) { return (new Buffer(zeroed(bytes)))->data(); }

}  // namespace lowbit::cuda
