#include "cuda/workspace.h"

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

}  // namespace

// On a stream of its own: the legacy one would have to wait for a capture.
void* filled_workspace(size_t bytes, int byte) {
  const OutsideCapture outside;
  void* memory = nullptr;
  cudaStream_t stream = nullptr;
  LB_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  LB_CUDA(cudaMallocAsync(&memory, bytes, stream));
  LB_CUDA(cudaMemsetAsync(memory, byte, bytes, stream));
  LB_CUDA(cudaStreamSynchronize(stream));
  LB_CUDA(cudaStreamDestroy(stream));
  return memory;
}

float* attention_workspace(size_t bytes) {
  static void* memory = nullptr;
  static size_t size = 0;
  if (size < bytes) memory = filled_workspace(bytes, 0), size = bytes;
  return static_cast<float*>(memory);
}

}  // namespace lowbit::cuda
